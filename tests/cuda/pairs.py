"""The same weights on two devices, and how far apart what they compute is."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from drople import PromptedClip, describe_classes, load_backbone
from drople.class_texts import ClassTexts
from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan
from drople.storage.evidence import TOLERANCE
from tests.benchmarks.analysis import CLASSES, random_vit
from tests.tiny import tiny_clip, wrap

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
RELATIVE = 1e-3  # allowed in fp32 of what has a scale of its own
FACTOR = 3  # times what bf16 changes on the CPU
MODELS = ("mini", "ViT-B-16")
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


def inputs_of(pair: Pair, model: PromptedClip) -> Tensor:
    """The pictures, (B, 3, S, S), normalised."""
    return model.backbone.normalise(pair.images)


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Autocast of a precision; nothing for fp32."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(torch.device(device).type, kind)


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
