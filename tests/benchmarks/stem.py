"""What folding its batch norms and channels-last weights do to the time of `mini`'s stem.

    python -m tests.benchmarks.stem

Prints milliseconds of the stem as stored and as used, for 1 and 16 pictures, in fp32 and bf16.
"""

from __future__ import annotations

import json
import time
from statistics import median

import torch
from safetensors.torch import load_file

from drople.models.backbone import CHECKPOINTS
from drople.models.stem import Stem, build_clip


def main() -> None:
    """Measures both in turns."""
    folder = CHECKPOINTS / "mini"
    config = json.loads((folder / "open_clip_config.json").read_text())
    weights = load_file(folder / "open_clip_model.safetensors")
    stems: list[Stem] = []
    for _ in range(2):
        clip = build_clip(config)
        clip.load_state_dict({name: value.float() for name, value in weights.items()})
        stems.append(clip.eval().requires_grad_(False).visual.conv1)
    stored, used = stems[0], stems[1].optimised()
    for count in (1, 16):
        pixels = torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        for precision in ("fp32", "bf16"):
            taken: dict[str, list[float]] = {"stored": [], "used": []}
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
            ):
                for turn in range(12):
                    for name, stem in (("stored", stored), ("used", used)):
                        began = time.perf_counter()
                        stem(pixels)
                        if turn > 1:
                            taken[name].append(1000 * (time.perf_counter() - began))
            first, second = median(taken["stored"]), median(taken["used"])
            print(
                f"{count:2d} pictures {precision}: as stored {first:6.1f} ms, "
                f"as used {second:6.1f} ms, ratio {first / second:.2f}"
            )


if __name__ == "__main__":
    main()
