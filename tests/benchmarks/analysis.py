"""What an analysis costs, in forwards of open_clip: python -m tests.benchmarks.analysis.

One run measures, with frozen weights and on the CPU, for `mini` and for a random ViT-B-16:

- a full analysis of one picture (ten classes, whose texts are known already; frozen, adapted,
  vanilla and IWTD; maps of all ten classes at the last block) against four calls of open_clip's
  `encode_image` on that picture;
- text features of ImageNet's thousand names, tokenising included and nothing cached, ours against
  open_clip's own tokenizer and `encode_text` in batches of 256.

Prompts are freshly initialised ones of DroPLe's plan: what they hold changes no time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

from drople import PromptedClip, analyse, describe_classes, load_backbone
from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan

CLASSES = ("cat", "dog", "car", "tree", "house", "boat", "bird", "flower", "horse", "chair")
PHRASES = [f"a photo of a {name}." for name in open_clip.IMAGENET_CLASSNAMES]
Run = Callable[[], None]
SLOWEST_ANALYSIS, SLOWEST_TEXT, WIDEST_GAP = 1.4, 1 / 6, 1e-5  # the targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="of each analysis")
    parser.add_argument("--text-repeats", type=int, default=3, help="of the thousand names")
    given = parser.parse_args()
    threads = f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    print(f"torch {torch.__version__}, open_clip {open_clip.__version__}, CPU, {threads}")
    for backbone in (load_backbone("mini"), random_vit("ViT-B-16")):
        print(f"\n{backbone.name}")
        compare_analysis(backbone, given.repeats)
        compare_texts(backbone, given.text_repeats)


def random_vit(name: str) -> Backbone:
    """An architecture of open_clip with random weights, so that nothing is downloaded."""
    torch.manual_seed(0)
    clip, _, preprocess = open_clip.create_model_and_transforms(name)
    return Backbone.of_clip(f"random {name}", clip, preprocess, SimpleTokenizer())


def compare_analysis(backbone: Backbone, repeats: int) -> None:
    """Prints the time of an analysis over that of four plain forwards."""
    torch.manual_seed(0)
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8))
    pixels = backbone.normalise(backbone.pixels(picture)[None])
    texts = describe_classes(model, CLASSES)

    def ours() -> None:
        analyse(model, picture, texts)

    @torch.no_grad()
    def theirs() -> None:
        for _ in range(4):
            backbone.clip.encode_image(pixels)

    for warm_up in (ours, theirs):
        warm_up()
    ratio, seconds = alternate(lambda: ours, lambda: theirs, repeats)
    say("analysis / four encode_image", ratio, SLOWEST_ANALYSIS, seconds)


def compare_texts(backbone: Backbone, repeats: int) -> None:
    """Prints the time of our text features over open_clip's, and how far they lie apart."""
    features: dict[str, torch.Tensor] = {}

    def ours() -> Run:
        cold = replace(backbone, tokenizer=SimpleTokenizer())  # it remembers words it has split

        def run() -> None:
            features["ours"] = cold.encode_text(PHRASES)

        return run

    def theirs() -> Run:
        cold = SimpleTokenizer()

        @torch.no_grad()
        def run() -> None:
            ids = cold(PHRASES)
            parts = [backbone.clip.encode_text(batch) for batch in ids.split(256)]
            features["theirs"] = torch.cat(parts)

        return run

    ratio, seconds = alternate(ours, theirs, repeats)
    say("thousand names / open_clip's", ratio, SLOWEST_TEXT, seconds)
    print(f"  which is {1 / ratio:.1f} times as fast")
    gap = float((features["ours"] - features["theirs"]).abs().max())
    print(f"  {'largest difference of features':34s} {gap:.1e}   target <= {WIDEST_GAP:.0e}")


def alternate(
    prepare_ours: Callable[[], Run], prepare_theirs: Callable[[], Run], repeats: int
) -> tuple[float, tuple[float, float]]:
    """Times two runs in turns, each newly prepared; the median of the ratios, and both medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for prepare, taken in zip((prepare_ours, prepare_theirs), times, strict=True):
            run = prepare()
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
    ratio = median(a / b for a, b in zip(*times, strict=True))
    return ratio, (median(times[0]), median(times[1]))


def say(what: str, ratio: float, target: float, seconds: tuple[float, float]) -> None:
    """Prints one ratio beside its target."""
    print(
        f"  {what:34s} {ratio:.2f}   target <= {target:.2f}   "
        f"({seconds[0]:.3f} s / {seconds[1]:.3f} s, medians)"
    )


if __name__ == "__main__":
    main()
