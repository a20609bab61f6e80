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
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from drople import AnalysisSettings, PromptedClip, analyse, describe_classes, load_backbone
from drople.analysis import Analysis
from drople.attention_maps import attention_layers
from drople.branch import Branch
from drople.class_texts import ClassTexts
from drople.direct_path import explain_difference, run_branches
from drople.draws import SeededDraws, StreamDraws
from drople.dropout import OFFICIAL_CODE, STRATEGIES, DropoutSettings, TokenDrop, TokenDropout
from drople.evidence import TOLERANCE, load_analysis, replay, save_analysis
from drople.explain import explain
from drople.gradcam import class_maps
from drople.importance import SIGNALS
from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan
from drople.models.towers import LayerRecord, last, read_image
from drople.modes import mode_effect
from drople.rate_curve import run_rates
from drople.sanity import with_blocks_redrawn
from drople.sinks import find_sinks
from drople.strategies import Evidence
from drople.training.config import METHODS, TrainConfig
from drople.training.data import ImageSet, Task
from drople.training.loop import build_model, fit
from drople.training.objective import Objective
from drople.training.processes import ALONE
from drople.uncertainty import run_draws
from tests.benchmarks.analysis import CLASSES, PHRASES, Run, alternate, random_vit
from tests.benchmarks.speed import DRAWS, pictures, usual_way
from tests.tiny import Shown, tiny_clip, wrap

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
RELATIVE = 1e-3  # allowed in fp32 of what has a scale of its own
FACTOR = 3  # times what bf16 changes on the CPU
MODELS = ("mini", "ViT-B-16")
METHODS_CHECKED = ("drople", "drople-vanilla", "promptsrc", "mpl")
Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table of parity."""

    quantity: str
    precision: str
    difference: str
    allowed: str
    ok: bool

    def __str__(self) -> str:
        mark = "yes" if self.ok else "**NO**"
        return (
            f"| {self.quantity} | {self.precision} | {self.difference} | {self.allowed} | {mark} |"
        )


@dataclass(frozen=True)
class Pair:
    """The same weights on the CPU and on the device."""

    name: str
    device: str

    @cached_property
    def cpu(self) -> PromptedClip:
        return with_prompts(backbone_on(self.name, "cpu"))

    @cached_property
    def other(self) -> PromptedClip:
        return with_prompts(backbone_on(self.name, self.device))

    @cached_property
    def texts(self) -> tuple[ClassTexts, ClassTexts]:
        """The class list as the CPU and as the device read it."""
        return describe_classes(self.cpu, CLASSES), describe_classes(self.other, CLASSES)

    @cached_property
    def images(self) -> np.ndarray:
        """What the model sees of the pictures, (B, S, S, 3) uint8."""
        return np.stack([self.cpu.backbone.pixels(one) for one in photographs()])


def backbone_on(name: str, device: str) -> Backbone:
    """A backbone by the name the table gives it; "tiny" is the tests' own."""
    if name == "mini":
        return load_backbone("mini", device)
    backbone = wrap(tiny_clip()) if name == "tiny" else random_vit(name)
    backbone.clip.to(device)
    return backbone


def with_prompts(backbone: Backbone) -> PromptedClip:
    """Fresh prompts of DroPLe's plan, the same on every device."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PromptedClip(backbone, PromptPlan(), bridge_tokens=64)
    return model.requires_grad_(False)


def photographs() -> list[Image.Image]:
    """Two photographs, one of them mirrored too, and noise."""
    taken = [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")]
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    mirrored = taken[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return [*taken, mirrored, Image.fromarray(noise)]


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Autocast of a precision; nothing for fp32."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(torch.device(device).type, kind)


# --- how far two results are apart ------------------------------------------------------------


def largest(one: Any, other: Any) -> float:
    """The largest absolute difference of two tensors or arrays; NaN equals NaN."""
    a, b = (torch.as_tensor(part).detach().double().cpu() for part in (one, other))
    if a.shape != b.shape:
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)}")
    gap = (a - b).abs().where(~(a.isnan() & b.isnan()), 0.0).nan_to_num(nan=torch.inf)
    return float(gap.max()) if gap.numel() else 0.0


def relative(one: Any, other: Any) -> float:
    """The same, as a share of the largest value of `one`."""
    scale = torch.as_tensor(one).detach().double().cpu().nan_to_num().abs()
    most = float(scale.max()) if scale.numel() else 0.0
    return largest(one, other) / (most or 1.0)


def apart(one: Any, other: Any) -> float:
    """How far the numbers of two like results are apart: `relative` for each array in them."""
    if is_dataclass(one):
        return max(apart(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, Mapping):
        return max((apart(part, other[key]) for key, part in one.items()), default=0.0)
    if isinstance(one, tuple | list):
        return max((apart(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, np.ndarray | Tensor | float):
        return relative(one, other)
    if one != other:
        raise ValueError(f"{one!r} and {other!r}")
    return 0.0


def compared(
    quantity: str,
    pair: Pair,
    compute: Callable[[PromptedClip, str], Values],
    *,
    gap: Callable[[Any, Any], float] = largest,
    allowed: float = TOLERANCE,
    precisions: Sequence[str] = tuple(PRECISIONS),
) -> Iterator[Row]:
    """One row for each value and precision.

    Args:
        compute: from a model and a precision to named tensors.
    """
    want = compute(pair.cpu, "fp32")
    cpu_bf16 = compute(pair.cpu, "bf16") if set(precisions) - {"fp32"} else {}
    for precision in precisions:
        try:
            found = compute(pair.other, precision)
        except Exception as error:
            yield failed(f"{quantity}, {pair.name}", precision, error)
            continue
        for name, value in want.items():
            limit = allowed
            if precision != "fp32":
                limit += FACTOR * gap(value, cpu_bf16[name])
            far = gap(value, found[name])
            label = f"{quantity} {name}".strip()
            yield Row(
                f"{label}, {pair.name}", precision, f"{far:.1e}", f"{limit:.1e}", far <= limit
            )


def failed(quantity: str, precision: str, error: Exception) -> Row:
    """The row of what raised."""
    traceback.print_exception(error)
    said = f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")[:200]
    return Row(quantity, precision, said, "", False)


# --- parity -----------------------------------------------------------------------------------


def inputs_of(pair: Pair, model: PromptedClip) -> Tensor:
    """The pictures, (B, 3, S, S), normalised."""
    return model.backbone.normalise(torch.from_numpy(pair.images))


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
                share = getattr(evidence.scores(), name) * count
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
                        [0, 3, 7],
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
    return Row(label, "fp32", said, f"{TOLERANCE:.1e}", report.equal)


def lab(pair: Pair) -> Iterator[Row]:
    """What the lab and the command line compute besides analyses."""
    image = pair.images[0]
    settings = AnalysisSettings()

    def path(model: PromptedClip, texts: ClassTexts) -> object:
        return explain_difference(model, run_branches(model, image), texts, 0, 1)

    def many(model: PromptedClip, texts: ClassTexts) -> object:
        plain = Branch.of(model, texts).answers(image[None])
        found = last_of(
            run_draws(
                model, image, texts, settings,
                target=0, plain=int(plain.cosines[0].argmax()), most=2, width=0.1,
            )
        )  # fmt: skip
        return {name: (one.probabilities, one.cam.mean) for name, one in found.items()}

    def rates(model: PromptedClip, texts: ClassTexts) -> object:
        _, curves = next(
            islice(run_rates(model, image, texts, settings, target=0, draws=1), 1, None)
        )
        return {f"{k}": (p.cosine, p.kept) for k, p in curves.points.items()}

    def modes(model: PromptedClip, texts: ClassTexts) -> object:
        found = mode_effect(model, image, texts, settings, 0, "hide")
        return [one.probability for one in found]

    def sinks(model: PromptedClip, texts: ClassTexts) -> object:
        found = find_sinks(model, image)
        return {k: [(one.norms, one.received) for one in v] for k, v in found.items()}

    def attention(model: PromptedClip, texts: ClassTexts) -> object:
        found = attention_layers(model, image)
        return {k: [one.rollout for one in v] for k, v in found.items()}

    def redrawn(model: PromptedClip, texts: ClassTexts) -> object:
        # A little of the tower only: each layer drawn anew multiplies what rounding began.
        return Branch.of(with_blocks_redrawn(model, 1, seed=0), texts).answers(image[None])

    def attacked(model: PromptedClip, texts: ClassTexts) -> object:
        branch = Branch.of(model, texts)
        # Where a gradient is near zero its sign may differ, so the answers alone are compared.
        moved = branch.attacked(image, 0, 1 / 255)
        return float(np.abs(moved.astype(int) - image).max())

    def table(model: PromptedClip, texts: ClassTexts) -> object:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for i, one in enumerate(photographs()):
                one.save(folder / f"{i}.png")
            rows = explain(
                model, folder, sorted(folder.iterdir()), texts, settings, draws=2, batch=2
            )
            return [one for part in rows for one in part]

    views = {
        "direct path": path, "many draws": many, "rate curve": rates, "modes": modes,
        "sinks": sinks, "attention rollout": attention, "sanity check": redrawn,
        "attack": attacked, "explain a folder": table,
    }  # fmt: skip
    for name, view in views.items():
        label = f"{name}, {pair.name}"
        try:
            cpu, other = (
                view(model, texts)
                for model, texts in zip((pair.cpu, pair.other), pair.texts, strict=True)
            )
            far = apart(cpu, other)
            yield Row(label, "fp32", f"{far:.1e}", f"{RELATIVE:.1e}", far <= RELATIVE)
        except Exception as error:
            yield failed(label, "fp32", error)


def last_of(values: Iterator[Any]) -> Any:
    """The last of an iterator."""
    return [*values][-1]


def task_of(images: int = 8) -> Task:
    """Crops of the photographs and noise as a task of four classes."""
    rng = np.random.default_rng(1)
    sources = []
    for i in range(images):
        picture = photographs()[i % 4]
        left, top = (int(v) for v in rng.integers(0, 60, 2))
        sources.append(Shown(picture.crop((left, top, left + 240, top + 240))))
    keys = tuple(f"crop {i}" for i in range(images))
    found = ImageSet(sources, np.arange(images) % 4, np.zeros(images, int), keys)
    return Task("crops", CLASSES[:4], found, found, found)


def training(pair: Pair) -> Iterator[Row]:
    """Loss terms and gradients of one step of four methods; training has fp32 and bf16."""
    task = task_of()
    pixels = np.stack([pair.cpu.backbone.pixels(task.train.read(i)) for i in range(8)])

    for method in METHODS_CHECKED:

        def compute(model: PromptedClip, precision: str, method: str = method) -> Values:
            config = replace(METHODS[method], precision=precision)
            fresh = build_model(model.backbone, config)
            objective = Objective.of(fresh, task, config, None, ALONE)
            stream = StreamDraws(torch.Generator().manual_seed(3))
            seen = model.backbone.normalise(torch.from_numpy(pixels))
            terms = objective.terms(np.arange(8), seen, stream, lam=0.05)
            terms["total"].backward()
            gradients = {
                name: p.grad.flatten() for name, p in fresh.named_parameters() if p.grad is not None
            }
            worst = torch.cat([g / g.abs().max().clamp_min(1e-20) for g in gradients.values()])
            return {
                "loss terms": torch.stack([t.detach().float().cpu() for t in terms.values()]),
                f"gradients of {len(gradients)} tensors": worst,
            }

        yield from compared(
            f"{method}:", pair, compute, gap=relative, allowed=RELATIVE, precisions=["fp32", "bf16"]
        )


def fitting(pair: Pair) -> Iterator[Row]:
    """Two epochs of one step, the second one after a restart from the state on disk."""

    def run(model: PromptedClip) -> Tensor:
        config = replace(
            METHODS["promptsrc"], precision="fp32", epochs=2, batch=8, augment="patch", lr=1e-4
        )
        with tempfile.TemporaryDirectory() as name:
            where = {"state": Path(name) / "state", "cache": Path(name) / "cache"}
            first = next(fit(build_model(model.backbone, config), task_of(), config, **where))
            begun = fit(build_model(model.backbone, config), task_of(), config, **where)
            next(begun), next(begun)  # the state is written on the way to the second epoch
            begun.close()
            (second,) = fit(build_model(model.backbone, config), task_of(), config, **where)
        return torch.tensor([[*one.terms.values()] for one in (first, second)])

    far = relative(run(pair.cpu), run(pair.other))
    yield Row(
        f"fit, taken up again, {pair.name}", "fp32", f"{far:.1e}", f"{RELATIVE:.1e}",
        far <= RELATIVE,
    )  # fmt: skip


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


# --- time and memory --------------------------------------------------------------------------


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
        analysis_time, usual_time, draws_time, table_time, texts_time, training_time,
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
        read_image(model.backbone.visual, last(layers))

    @torch.no_grad()
    def plain() -> None:
        model.backbone.clip.encode_image(batch)

    return ratio_row(
        f"{DRAWS} draws over one `encode_image` of {DRAWS}", draw, plain, pair, repeats
    )


def table_time(pair: Pair, repeats: int) -> str:
    model, texts = pair.other, pair.texts[1]
    size = model.backbone.image_size
    batch = inputs_of(pair, model)[:1].expand(16, -1, -1, -1).contiguous()
    with pictures(32, size) as (folder, files):

        def table() -> None:
            for _ in explain(model, folder, files, texts, AnalysisSettings(), draws=0):
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


# --- the table --------------------------------------------------------------------------------


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


def lines(device: str, models: Sequence[str], repeats: int, commit: str | None) -> Iterator[str]:
    """The whole report, line by line as it is found."""
    began = time.perf_counter()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    yield from (about(device, commit), "")
    yield from ("| quantity | precision | largest difference from the CPU in fp32 | allowed | ok |",
                "|---|---|---|---|---|")  # fmt: skip
    pairs = [Pair(name, device) for name in models]
    bad = 0
    for pair in pairs:
        for row in parity(pair):
            bad += not row.ok
            yield str(row)
    yield from ("", "| ratio | | ours | the other | most memory of ours |", "|---|---|---|---|---|")
    for pair in pairs:
        for line in speed(pair, repeats):
            bad += line.startswith("| **")
            yield line
    yield from ("", f"{'All rows are as they should be' if not bad else f'{bad} rows are NOT'} "
                f"({time.perf_counter() - began:.0f} s).")  # fmt: skip


def main() -> None:
    """Prints the table, and exits with 1 where a row is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", choices=[*MODELS, "tiny"], default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=9, help="of each measured run")
    parser.add_argument("--commit", help="where the checkout does not know it")
    parser.add_argument("--out", type=Path, help="file for the table")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("Skipped: there is no CUDA device here. A dry run is --device cpu.")
        return
    found = []
    for line in lines(given.device, given.models, given.repeats, given.commit):
        found.append(line)
        print(line, flush=True)
        if given.out:  # line by line: what was found stays where the machine is taken away
            given.out.write_text("\n".join(found) + "\n")
    sys.exit(0 if found[-1].startswith("All") else 1)


if __name__ == "__main__":
    main()
