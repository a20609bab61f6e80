"""What the pictures cost beside the usual ways to make them: python -m tests.benchmarks.speed.

One run measures, with frozen weights and on the CPU, for `mini` and for a random ViT-B-16, and
prints ratios (targets in brackets):

- an analysis (frozen, adapted, vanilla, IWTD; maps of 10 classes and of 1) against the same
  pictures made the usual way: for each condition pytorch-grad-cam once a class, one forward for
  the attention and one for the prediction [at least 3 times faster; 1.5 times with 1 class];
- what tests.benchmarks.analysis does;
- 32 draws of IWTD against one plain `encode_image` of a batch of 32 [at most 1.0];
- the overview's 32 draws of IWTD and vanilla dropout against one `encode_image` of 64 [at most
  1.25 without maps];
- images a second of `drople.explain` (both branches, importance, no draws) against two plain
  `encode_image` of the same batches [at least 60 %];
- on `mini`, how time and memory grow with classes, layers and images.

Prompts are freshly initialised ones of DroPLe's plan: what they hold changes no time.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import open_clip
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional as F

from drople import AnalysisSettings, PromptedClip, analyse, describe_classes, load_backbone
from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts
from drople.conditions import Conditions, rows_of
from drople.explain import explain
from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan
from drople.models.towers import image_features, last
from drople.paired_draws import run_paired
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import DropoutSettings, TokenDropout, with_strategy
from tests.benchmarks.analysis import (
    CLASSES,
    Run,
    alternate,
    compare_analysis,
    compare_texts,
    random_vit,
)

DRAWS = 32
AT_ONCE = 8


class Condition(nn.Module):
    """One condition as pytorch-grad-cam wants a model: pixels to cosines (B, K)."""

    def __init__(self, model: Backbone | PromptedClip, text: Tensor, strategy: str | None):
        super().__init__()
        self.clip = model.backbone.clip
        self.source, self.text, self.strategy = model, text, strategy

    def forward(self, pixels: Tensor) -> Tensor:
        backbone = self.source if isinstance(self.source, Backbone) else self.source.backbone
        dropout = None
        if self.strategy:
            settings = with_strategy(DropoutSettings(), self.strategy)
            draws = SeededDraws([0] * len(pixels), "image")
            dropout = TokenDropout.of(settings, draws, depth=settings.image_depth)
        record = last(
            self.source.image_layers(pixels, score=self.strategy == "iwtd", dropout=dropout)
        )
        return F.normalize(image_features(backbone.visual, record), dim=-1) @ self.text.T


def usual_way(model: PromptedClip, pixels: Tensor, texts: ClassTexts, shown: int) -> None:
    """The pictures of an analysis, made one by one."""
    frozen, adapted = texts.features[FROZEN], texts.features[ADAPTED]
    conditions = [
        Condition(model.backbone, frozen, None),
        *(Condition(model, adapted, strategy) for strategy in (None, "vanilla", "iwtd")),
    ]
    site = model.backbone.visual.transformer.resblocks[-1].ln_1
    grid = model.backbone.image_size // model.backbone.visual.conv1.kernel_size[0]

    def patches(tokens: Tensor) -> Tensor:
        kept = tokens[:, 1 : 1 + grid * grid]
        return kept.reshape(len(tokens), grid, grid, -1).permute(0, 3, 1, 2)

    for condition in conditions:
        with GradCAM(model=condition, target_layers=[site], reshape_transform=patches) as cam:
            for index in range(shown):
                cam(input_tensor=pixels, targets=[ClassifierOutputTarget(index)])
        with torch.no_grad():
            condition(pixels)  # for the attention
            condition(pixels)  # for the prediction


def compare_usual(backbone: Backbone, repeats: int) -> None:
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64).requires_grad_(False)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    pixels = backbone.normalise(backbone.pixels(photo)[None])
    for count, target in ((10, 3.0), (1, 1.5)):
        texts = describe_classes(model, CLASSES[:count])

        def ours(texts: ClassTexts = texts) -> None:
            analyse(model, photo, texts)

        def usual(texts: ClassTexts = texts, count: int = count) -> None:
            usual_way(model, pixels.clone().requires_grad_(True), texts, count)

        ratio, seconds = compared(ours, usual, repeats)
        print(
            f"  analysis, {count:2d} classes: {1 / ratio:5.1f} times faster than the usual way "
            f"({seconds[0]:.2f} s; target {target})"
        )


def compare_draws(backbone: Backbone, repeats: int) -> None:
    """Draws of IWTD alone, eight in one call, as `explain` and the lab make them."""
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64).requires_grad_(False)
    settings = DropoutSettings()
    one = torch.randn(1, 3, backbone.image_size, backbone.image_size)
    batch = one.expand(DRAWS, -1, -1, -1).contiguous()

    def draw() -> None:
        for start in range(0, DRAWS, AT_ONCE):
            rows = rows_of(("iwtd",), range(start, start + AT_ONCE), settings)
            layers = Conditions.of(model, rows, settings).layers(one, readout_only=True)
            with torch.no_grad():
                image_features(backbone.visual, last(layers))

    def plain() -> None:
        with torch.no_grad():
            backbone.clip.encode_image(batch)

    ratio, _ = compared(draw, plain, repeats)
    print(f"  {DRAWS} draws over one encode_image of {DRAWS}: {ratio:.2f} (target 1.0)")


def compare_pairs(backbone: Backbone, repeats: int) -> None:
    """The overview's draws, those of the default pair, without maps and with those of the page."""
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64).requires_grad_(False)
    texts = describe_classes(model, CLASSES[:6])
    side = backbone.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    batch = backbone.normalise(pixels[None]).expand(2 * DRAWS, -1, -1, -1).contiguous()

    def plain() -> None:
        with torch.no_grad():
            backbone.clip.encode_image(batch)

    for said, mapped in (("", ()), (", maps of 6 classes for 16", range(6))):

        def draw(mapped: Sequence[int] = mapped) -> None:
            settings = AnalysisSettings(dropout=DropoutSettings(mode="hide", p_max=0.3))
            drawing = run_paired(
                model, pixels, texts, settings=settings,
                pair=("iwtd", "vanilla"), seeds=range(DRAWS), map_classes=mapped,
            )  # fmt: skip
            for _ in drawing:
                pass

        ratio, _ = compared(draw, plain, repeats)
        print(f"  {DRAWS} draws of both dropouts{said}, over one encode_image of {2 * DRAWS}: "
              f"{ratio:.2f} (target 1.25 without maps)")  # fmt: skip


def compare_batches(backbone: Backbone, repeats: int) -> None:
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64).requires_grad_(False)
    texts = describe_classes(model, CLASSES)
    with pictures(32, backbone.image_size) as (folder, files):
        batch = torch.randn(16, 3, backbone.image_size, backbone.image_size)

        def table() -> None:
            for _ in explain(
                model, folder, files, classes=texts, settings=AnalysisSettings(), draws=0
            ):
                pass

        def plain() -> None:
            with torch.no_grad():
                for _ in range(2 * len(files) // 16):
                    backbone.clip.encode_image(batch)

        ratio, seconds = compared(table, plain, repeats)
    print(
        f"  explain: {len(files) / seconds[0]:.1f} images a second, {100 / ratio:.0f} % of two "
        "encode_image (target 60 %)"
    )


class pictures:  # noqa: N801  # a context, used like a function
    """A folder of so many pictures of noise."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __enter__(self) -> tuple[Path, list[Path]]:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        rng = np.random.default_rng(0)
        for i in range(self.count):
            pixels = rng.integers(0, 256, (self.size, self.size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:03d}.jpg")
        return folder, sorted(folder.iterdir())

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def growth(backbone: Backbone) -> Iterator[str]:
    """How an analysis grows; each line is a table's row."""
    model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64).requires_grad_(False)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    names, base = open_clip.IMAGENET_CLASSNAMES, 0.0
    for count in (1, 10, 100, 1000):
        began = time.perf_counter()
        texts = describe_classes(model, names[:count])
        cold = time.perf_counter() - began
        taken = timed(partial(analyse, model, photo, texts))
        base = base or taken
        yield f"| {count} classes | {cold:.2f} s | {taken / base:.2f} | {peak():.0f} MiB |"
    texts = describe_classes(model, CLASSES)
    for depth in (1, 3, 6, backbone.image_layer_count):
        settings = AnalysisSettings(dropout=DropoutSettings(image_depth=depth))
        taken = timed(partial(analyse, model, photo, texts, settings))
        yield f"| dropout in {depth} layers | | {taken / base:.2f} | {peak():.0f} MiB |"
    for count in (8, 32):
        with pictures(count, backbone.image_size) as (folder, files):
            taken = timed(
                lambda folder=folder, files=files: list(
                    explain(
                        model, folder, files, classes=texts, settings=AnalysisSettings(), draws=4
                    )
                ),
                repeats=1,
            )
        yield f"| explain, {count} images, 4 draws | | {taken / base:.2f} | {peak():.0f} MiB |"


def compared(ours: Run, theirs: Run, repeats: int) -> tuple[float, tuple[float, float]]:
    """Both in turns, ours once more before, to warm up: the median ratio, and both medians."""
    ours()
    return alternate(lambda: ours, lambda: theirs, repeats)


def timed(run: Callable[[], object], repeats: int = 3) -> float:
    """The median of a few runs, seconds."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return median(taken)


def peak() -> float:
    """Most memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["mini", "ViT-B-16"], help="one backbone; default: both")
    given = parser.parse_args()
    threads = f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    print(f"torch {torch.__version__}, open_clip {open_clip.__version__}, CPU, {threads}")
    for name in [given.only] if given.only else ["mini", "ViT-B-16"]:
        backbone = load_backbone(name) if name == "mini" else random_vit(name)
        print(f"\n{backbone.name}")
        if name == "mini":  # first: the usual way takes more memory than any row
            print("  | | text, cold | time | most memory |")
            for row in growth(backbone):
                print(f"  {row}")
        compare_analysis(backbone, given.repeats)
        compare_texts(backbone, given.repeats)
        compare_usual(backbone, given.repeats)
        compare_draws(backbone, given.repeats)
        compare_pairs(backbone, given.repeats)
        compare_batches(backbone, given.repeats)


if __name__ == "__main__":
    main()
