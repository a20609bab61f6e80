"""What two devices compute, quantity by quantity; each function yields rows of the table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople import AnalysisSettings, PromptedClip, analyse
from drople.analysis import Analysis
from drople.gradcam import class_maps
from drople.models.towers import LayerRecord
from drople.storage.analyses import load_analysis, save_analysis
from drople.storage.evidence import TOLERANCE, replay
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import (
    OFFICIAL_CODE,
    STRATEGIES,
    DropoutSettings,
    TokenDrop,
    TokenDropout,
)
from drople.tokens.importance import SIGNALS
from drople.tokens.strategies import Evidence
from tests.benchmarks.analysis import CLASSES
from tests.cuda.lab import lab
from tests.cuda.pairs import (
    FACTOR,
    PRECISIONS,
    RELATIVE,
    Pair,
    Row,
    Values,
    autocast,
    compared,
    failed,
    inputs_of,
    largest,
    photographs,
    relative,
)
from tests.cuda.training import fitting, training


def features(pair: Pair) -> Iterator[Row]:
    """Unit features of both branches and both towers."""

    def compute(model: PromptedClip, precision: str) -> Values:
        with autocast(str(model.backbone.device), precision):
            found = {
                "frozen image": model.backbone.encode_image(inputs_of(pair, model)),
                "adapted image": model.encode_image(inputs_of(pair, model)),
                "frozen text": model.backbone.encode_text(CLASSES),
                "adapted text": model.encode_text(CLASSES),
            }
        return {name: F.normalize(value.float(), dim=-1) for name, value in found.items()}

    yield from compared("unit features,", pair, compute)


def scores(pair: Pair) -> Iterator[Row]:
    """Token scores and IWTD's p of the adapted branch without dropout, images and texts."""

    @torch.no_grad()
    def compute(model: PromptedClip, precision: str) -> Values:
        ids = model.backbone.tokenise(model.phrases(CLASSES))
        with autocast(str(model.backbone.device), precision):
            walks = [
                list(model.image_layers(inputs_of(pair, model), score=True)),
                list(model.text_layers(ids, score=True)),
            ]
        strategy = STRATEGIES["iwtd"](DropoutSettings())
        found: dict[str, list[Tensor]] = {}
        for record in (record for records in walks for record in records):
            count = record.layout.content.sum(dim=-1, keepdim=True)  # an even share is 1 / count
            evidence = evidence_of(record)
            for name in SIGNALS:
                share = evidence.scores().shares[name] * count
                found.setdefault(f"token scores {name} (even share 1)", []).append(share.flatten())
            p = strategy.probability(evidence).where(evidence.eligible, 0)
            found.setdefault("drop probabilities", []).append(p.flatten())
        return {name: torch.cat(parts).float() for name, parts in found.items()}

    yield from compared("", pair, compute, allowed=RELATIVE)


def evidence_of(record: LayerRecord) -> Evidence:
    layout, batch = record.layout, len(record.tokens)
    eligible = layout.droppable.expand(batch, -1)
    return Evidence(record.depth, record.importance, layout.content.expand(batch, -1), eligible)


def draws(pair: Pair) -> Iterator[Row]:
    """Eight draws of IWTD of one photograph: the same u, and who is dropped.

    A decision may differ only where the two p lie on either side of u, that is, where p differs by
    as much as it may. Where a row has differed once, its later layers are others and not compared.
    """
    seeds = range(8)

    @torch.no_grad()
    def walk(model: PromptedClip, precision: str) -> dict[int, TokenDrop]:
        settings = DropoutSettings()
        dropout = TokenDropout.of(settings, SeededDraws(seeds, "image"), depth=settings.image_depth)
        batch = inputs_of(pair, model)[:1].expand(len(seeds), -1, -1, -1)
        with autocast(str(model.backbone.device), precision):
            records = list(model.image_layers(batch, score=True, dropout=dropout))
        return {
            r.depth: TokenDrop(*(v.cpu() for v in vars(r.drop).values())) for r in records if r.drop
        }

    def against(want: dict[int, TokenDrop], found: dict[int, TokenDrop]) -> tuple[int, int, float]:
        """Decisions that differ, of how many, and how far p is apart."""
        alike = torch.ones(len(seeds), dtype=torch.bool)
        differ = total = 0
        widest = 0.0
        for depth, one in want.items():
            other = found[depth]
            unlike = (one.dropped != other.dropped)[alike]
            differ += int(unlike.sum())
            total += unlike.numel()
            if unlike.numel():
                widest = max(widest, largest(one.probability[alike], other.probability[alike]))
            alike &= (one.dropped == other.dropped).all(dim=-1)
        return differ, total, widest

    want = walk(pair.cpu, "fp32")
    bf16_p = against(want, walk(pair.cpu, "bf16"))[2]
    for precision in PRECISIONS:
        found = walk(pair.other, precision)
        gap = max(largest(one.uniform, found[depth].uniform) for depth, one in want.items())
        yield Row(f"draws u, {pair.name}", precision, f"{gap:g}", "0", gap == 0)
        differ, total, widest = against(want, found)
        limit = RELATIVE + (0 if precision == "fp32" else FACTOR * bf16_p)
        yield Row(
            f"decisions that differ, {pair.name}",
            precision,
            f"{differ} of {total}; p by {widest:.1e}",
            f"p by {limit:.1e}",
            widest <= limit,
        )


def cams(pair: Pair) -> Iterator[Row]:
    """Maps without dropout, as shares of the largest value; in every precision."""
    methods = ("gradcam", "gradcam++", "layercam")

    def compute(model: PromptedClip, precision: str) -> Values:
        text = F.normalize(model.encode_text(CLASSES).float(), dim=-1)
        with autocast(str(model.backbone.device), precision):
            with torch.no_grad():
                records = list(model.image_layers(inputs_of(pair, model)))
            return {
                f"{method}, {where} block": torch.from_numpy(
                    class_maps(
                        model.visual,
                        records,
                        text.expand(len(pair.images), -1, -1),
                        classes=[0, 3, 7],
                        layer=layer,
                        method=method,
                        prompts=model.prompts.image_steps(),
                    )
                )
                for method in methods
                for where, layer in (("last", None), ("third", 2))
            }

    yield from compared("maps,", pair, compute, gap=relative, allowed=RELATIVE)


ANALYSES = {
    "zeroed": AnalysisSettings(),
    "hidden": AnalysisSettings(
        dropout=DropoutSettings(mode="hide"), strategies=("vanilla", "iwtd", "inverse")
    ),
    "noise, released code": AnalysisSettings(dropout=OFFICIAL_CODE, drop_text=True),
    "no sinks, third block": AnalysisSettings(
        dropout=DropoutSettings(normalisation="no_sinks"), keep_attention=True, cam_layer=2
    ),
}


def analyses(pair: Pair) -> Iterator[Row]:
    """Whole analyses on both devices, each replayed on the other one."""
    picture = photographs()[0]
    for name, settings in ANALYSES.items():
        label = f"analysis ({name}), {pair.name}"
        try:
            cpu, other = (
                analyse(model, picture, CLASSES, settings) for model in (pair.cpu, pair.other)
            )
            alike = [c for c in cpu.conditions if same_drops(cpu, other, c)]
            gaps = {
                "probabilities": max(
                    largest(cpu.predictions[c].probabilities, other.predictions[c].probabilities)
                    for c in alike
                ),
                "maps": max(relative(cpu.maps.values[c], other.maps.values[c]) for c in alike),
            }
            for what, far in gaps.items():
                yield Row(
                    f"{label}: {what}, {len(alike)} of {len(cpu.conditions)} conditions dropped "
                    "alike",
                    "fp32", f"{far:.1e}", f"{RELATIVE:.1e}", far <= RELATIVE,
                )  # fmt: skip
            for where, stored, model in (
                ("the CPU's on the device", cpu, pair.other),
                ("the device's on the CPU", other, pair.cpu),
            ):
                yield replayed(f"{label}: replay of {where}", stored, model)
        except Exception as error:
            yield failed(label, "fp32", error)


def same_drops(one: Analysis, other: Analysis, condition: str) -> bool:
    """Whether a condition dropped the same tokens."""
    layers = zip(one.images[condition].layers, other.images[condition].layers, strict=True)
    return all(
        a.dropped is None or b.dropped is None or np.array_equal(a.dropped, b.dropped)
        for a, b in layers
    )


def replayed(label: str, stored: Analysis, model: PromptedClip) -> Row:
    """A stored analysis, saved, loaded and computed again."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "analysis.npz"
        save_analysis(file, stored)
        report = replay(load_analysis(file), model)
    worst = max(report.differences, key=lambda name: report.differences[name])
    said = f"{report.differences[worst]:.1e} ({worst}); {report.redrawn} of {report.drawn} redrawn"
    return Row(label, "fp32", said, f"{TOLERANCE:.1e}", not report.differing)


def as_torch_starts(pair: Pair) -> Iterator[Row]:
    """What a process sees that does not turn TF32 off: torch lets cuDNN's convolutions use it."""
    conv = torch.backends.cudnn.conv
    before, conv.fp32_precision = conv.fp32_precision, "tf32"
    try:
        want, found = (
            F.normalize(m.backbone.encode_image(inputs_of(pair, m)), dim=-1)
            for m in (pair.cpu, pair.other)
        )
        stored = analyse(pair.cpu, photographs()[0], CLASSES)
        fresh = replay(stored, pair.other)
        yield Row(
            f"unit features, frozen image, {pair.name}", "TF32 convolutions",
            f"{largest(want, found):.1e}", "not judged", True,
        )  # fmt: skip
        worst = max(fresh.differences.values())
        yield Row(
            f"replay of the CPU's on the device, {pair.name}", "TF32 convolutions",
            f"{worst:.1e}; {fresh.redrawn} of {fresh.drawn} redrawn", "not judged", True,
        )  # fmt: skip
    finally:
        conv.fp32_precision = before


PARITY = (features, scores, draws, cams, analyses, lab, training, fitting, as_torch_starts)


def parity(pair: Pair) -> Iterator[Row]:
    """Every row of one model; what raises is a row too."""
    for part in PARITY:
        try:
            yield from part(pair)
        except Exception as error:
            yield failed(f"{part.__name__}, {pair.name}", "", error)
