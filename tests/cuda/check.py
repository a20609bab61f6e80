"""What another device changes, as a table: python -m tests.cuda.check [--device cuda] [--out FILE].

Every quantity is computed on the CPU in fp32, and on the device in fp32 (TF32 off), bf16 and fp16
(autocast). What differs by more than is allowed is marked, and so is what fails; the exit code is
then 1. Analyses and the lab run in fp32 only, as in the app; training has no fp16.

Allowed in fp32: what `drople.replay` allows between machines, or a thousandth where a quantity has
a scale of its own. Allowed in bf16 and fp16: three times what bf16 changes on the CPU itself, plus
what fp32 is allowed. fp16 has three bits more, so it has to stay within the same bounds.

The models are `mini` and a ViT-B-16 with random weights, both with fresh prompts; the pictures are
two photographs that come with scikit-learn, and noise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import open_clip
import torch

from tests.cuda.costs import speed
from tests.cuda.pairs import MODELS, Pair
from tests.cuda.parity import parity


def about(device: str, commit: str | None) -> str:
    """The card, the versions and the commit, in one line."""
    card = "the CPU against itself, a dry run"
    if device != "cpu":
        driver = said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        card = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, driver {driver}"
    commit = commit or said("git", "rev-parse", "--short", "HEAD")
    return (
        f"{card}; torch {torch.__version__}, open_clip {open_clip.__version__}, "
        f"{torch.get_num_threads()} CPU threads; commit {commit}."
    )


def said(*command: str) -> str:
    """The first line a program prints; "unknown" where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip().splitlines()[0]


PARTS = ("ratios", "parity")


def lines(
    device: str, models: Sequence[str], *, parts: Sequence[str], repeats: int, commit: str | None
) -> Iterator[str]:
    """The whole report, line by line as it is found."""
    began = time.perf_counter()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    yield from (about(device, commit), "")
    pairs = [Pair(name, device) for name in models]
    bad = 0
    if "ratios" in parts:  # first: they want a machine with nothing else to do
        yield "| ratio | | ours | the other | most memory of ours |"
        yield "|---|---|---|---|---|"
        for pair in pairs:
            for line in speed(pair, repeats):
                bad += line.startswith("| **")
                yield line
        yield ""
    if "parity" in parts:
        yield "| quantity | precision | largest difference from the CPU in fp32 | allowed | ok |"
        yield "|---|---|---|---|---|"
        for pair in pairs:
            for row in parity(pair):
                bad += not row.ok
                yield str(row)
    yield from ("", f"{'All rows are as they should be' if not bad else f'{bad} rows are NOT'} "
                f"({time.perf_counter() - began:.0f} s).")  # fmt: skip


def main() -> None:
    """Prints the table, and exits with 1 where a row is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", choices=[*MODELS, "tiny"], default=list(MODELS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=9, help="of each measured run")
    parser.add_argument("--commit", help="where the checkout does not know it")
    parser.add_argument("--out", type=Path, help="file for the table")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("Skipped: there is no CUDA device here. A dry run is --device cpu.")
        return
    found = []
    for line in lines(
        given.device, given.models, parts=given.parts, repeats=given.repeats, commit=given.commit
    ):
        found.append(line)
        print(line, flush=True)
        if given.out:  # line by line: what was found stays where the machine is taken away
            given.out.write_text("\n".join(found) + "\n")
    sys.exit(0 if found[-1].startswith("All") else 1)


if __name__ == "__main__":
    main()
