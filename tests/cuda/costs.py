"""The ratios of docs/PERFORMANCE.md on a device, and their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from open_clip.tokenizer import SimpleTokenizer

from drople import AnalysisSettings, analyse
from drople.explain import explain
from drople.models.towers import image_features, last
from drople.paired_draws import run_paired
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import DropoutSettings, TokenDropout
from drople.training.config import METHODS, TrainConfig
from drople.training.loop import build_model, fit
from tests.benchmarks.analysis import CLASSES, PHRASES, Run, alternate
from tests.benchmarks.speed import DRAWS, pictures, usual_way
from tests.cuda.pairs import Pair, failed, inputs_of, photographs
from tests.cuda.training import task_of


def synced(run: Callable[[], object], device: str) -> Run:
    """A run that ends when the device has ended it."""

    def whole() -> None:
        run()
        if device != "cpu":
            torch.cuda.synchronize()

    return whole


def ratio_row(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], pair: Pair, repeats: int
) -> str:
    """Both warmed up, then in turns: the median of the ratios and both medians."""
    runs = [synced(one, pair.device) for one in (ours, theirs)]
    for one in runs:
        one()
    peak = None
    if pair.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        runs[0]()
        peak = torch.cuda.max_memory_allocated() / 2**20
    ratio, (a, b) = alternate(lambda: runs[0], lambda: runs[1], repeats)
    memory = "" if peak is None else f"{peak:.0f} MiB"
    return f"| {what}, {pair.name} | {ratio:.2f} | {1e3 * a:.1f} ms | {1e3 * b:.1f} ms | {memory} |"


def speed(pair: Pair, repeats: int) -> Iterator[str]:
    """The ratios of docs/PERFORMANCE.md on the device."""
    for part in (
        analysis_time, usual_time, draws_time, pairs_time, table_time, texts_time, training_time,
    ):  # fmt: skip
        try:
            yield part(pair, repeats)
        except Exception as error:
            row = failed(part.__name__, "", error)
            yield f"| **{part.__name__}, {pair.name}** | {row.difference} | | | |"


def analysis_time(pair: Pair, repeats: int) -> str:
    model, texts, picture = pair.other, pair.texts[1], photographs()[0]
    inputs = inputs_of(pair, model)[:1]

    @torch.no_grad()
    def plain() -> None:
        for _ in range(4):
            model.backbone.clip.encode_image(inputs)

    ours = partial(analyse, model, picture, texts)
    return ratio_row("analysis over four `encode_image`", ours, plain, pair, repeats)


def usual_time(pair: Pair, repeats: int) -> str:
    model, texts, picture = pair.other, pair.texts[1], photographs()[0]
    inputs = inputs_of(pair, model)[:1]

    def usual() -> None:
        usual_way(model, inputs.clone().requires_grad_(True), texts, len(CLASSES))

    ours = partial(analyse, model, picture, texts)
    what = "analysis over the same pictures made the usual way"
    return ratio_row(what, ours, usual, pair, max(repeats // 3, 1))


def draws_time(pair: Pair, repeats: int) -> str:
    model, settings = pair.other, DropoutSettings()
    batch = inputs_of(pair, model)[:1].expand(DRAWS, -1, -1, -1).contiguous()

    @torch.no_grad()
    def draw() -> None:
        dropout = TokenDropout.of(
            settings, SeededDraws(range(DRAWS), "image"), depth=settings.image_depth
        )
        layers = model.image_layers(
            batch, score=True, watched=settings.image_depth, dropout=dropout, readout_only=True
        )
        image_features(model.backbone.visual, last(layers))

    @torch.no_grad()
    def plain() -> None:
        model.backbone.clip.encode_image(batch)

    return ratio_row(
        f"{DRAWS} draws over one `encode_image` of {DRAWS}", draw, plain, pair, repeats
    )


def pairs_time(pair: Pair, repeats: int) -> str:
    """The overview's draws of IWTD and vanilla dropout, without maps."""
    model, texts, pixels = pair.other, pair.texts[1], pair.images[0]
    batch = inputs_of(pair, model)[:1].expand(2 * DRAWS, -1, -1, -1).contiguous()

    def draw() -> None:
        for _ in run_paired(
            model, pixels, texts, settings=AnalysisSettings(),
            pair=("iwtd", "vanilla"), seeds=range(DRAWS), map_classes=(),
        ):  # fmt: skip
            pass

    @torch.no_grad()
    def plain() -> None:
        model.backbone.clip.encode_image(batch)

    what = f"{DRAWS} draws of both dropouts over one `encode_image` of {2 * DRAWS}"
    return ratio_row(what, draw, plain, pair, repeats)


def table_time(pair: Pair, repeats: int) -> str:
    model, texts = pair.other, pair.texts[1]
    size = model.backbone.image_size
    batch = inputs_of(pair, model)[:1].expand(16, -1, -1, -1).contiguous()
    with pictures(32, size) as (folder, files):

        def table() -> None:
            for _ in explain(
                model, folder, files, classes=texts, settings=AnalysisSettings(), draws=0
            ):
                pass

        @torch.no_grad()
        def plain() -> None:
            for _ in range(2 * len(files) // len(batch)):
                model.backbone.clip.encode_image(batch)

        what = "`explain` of 32 files over two `encode_image` of them"
        return ratio_row(what, table, plain, pair, max(repeats // 3, 1))


def texts_time(pair: Pair, repeats: int) -> str:
    backbone = pair.other.backbone

    def ours() -> None:  # a tokenizer remembers words it has split, so each has a new one
        replace(backbone, tokenizer=SimpleTokenizer()).encode_text(PHRASES)

    @torch.no_grad()
    def theirs() -> None:
        ids = SimpleTokenizer()(PHRASES).to(backbone.device)
        for part in ids.split(256):
            backbone.clip.encode_text(part)

    what = "1,000 class names over open_clip's `encode_text`, both tokenising"
    return ratio_row(what, ours, theirs, pair, max(repeats // 3, 1))


def training_time(pair: Pair, repeats: int) -> str:
    """Steps of 16 images by turns, in bf16, as training runs unless told otherwise."""
    task = task_of(16)
    plans: list[TrainConfig] = [
        replace(METHODS[name], epochs=repeats + 2, augment="none")
        for name in ("drople", "drople-none")
    ]
    steps = [fit(build_model(pair.other.backbone, one), task, one) for one in plans]
    if pair.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    turns = [[report.seconds for report in turn] for turn in zip(*steps, strict=True)][2:]
    a, b = (median(column) for column in zip(*turns, strict=True))
    ratio = median(one / other for one, other in turns)
    memory = ""
    if pair.device != "cpu":
        memory = f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
    what = "training step of DroPLe over one without dropout"
    return f"| {what}, {pair.name} | {ratio:.2f} | {1e3 * a:.1f} ms | {1e3 * b:.1f} ms | {memory} |"
