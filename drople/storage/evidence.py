"""Replay of a stored analysis: whether all that it says is what its model computes.

Every field is compared with the same field of a fresh analysis of the stored picture, classes and
settings, so that a field added to `Analysis` is compared without a line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from drople.analysis import Analysis, analyse
from drople.branches import FROZEN
from drople.class_texts import ClassTexts, describe_classes
from drople.errors import EvidenceError
from drople.models.backbone import Backbone, hash_weights, other_weights
from drople.models.prompted_clip import PromptedClip
from drople.paired_draws import BATCH, DrawBatch, rerun_paired
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import TokenDrop

TOLERANCE = 1e-4  # largest difference between machines that still counts as equal
LOOSER = {"attention": 1e-3, "text attention": 1e-3, "maps": 1e-3, "draws: maps": 1e-3}
# attention is kept in half precision; maps have no scale of their own: theirs is the largest value
QUANTITIES = {  # the field's name -> what the report calls it
    "blend": "importance",
    "shares": "signals",
    "totals": "signals",
    "probability": "p",
    "uniform": "u",
    "values": "maps",
}
RELATIVE = ("norms", "totals")  # values far above 1: the difference is a share of the value
Place = tuple[str, ...]


@dataclass(frozen=True)
class ReplayReport:
    """How far a recomputed analysis is from the stored one."""

    differences: dict[str, float]  # quantity -> largest absolute difference; inf: not to compare
    redrawn: int  # tokens this machine would have dropped or kept otherwise
    drawn: int  # decisions in all
    provenance: tuple[str, ...] = ()  # what of where it was made is said otherwise than here

    @property
    def differing(self) -> tuple[str, ...]:
        """The quantities that differ by more than TOLERANCE."""
        return tuple(
            name for name, gap in self.differences.items() if gap > LOOSER.get(name, TOLERANCE)
        )

    @property
    def equal(self) -> bool:
        """Whether nothing differs, and it was made as here."""
        return not self.differing and not self.provenance


def replay(
    stored: Analysis,
    model: Backbone | PromptedClip,
    *,
    draws: Sequence[DrawBatch] = (),
    prompts_name: str | None = None,
) -> ReplayReport:
    """Recomputes an analysis with the stored pixels and the stored drops.

    What is dropped is taken from the file, since on another machine a p that differs in its last
    digit could decide a draw the other way; `redrawn` counts where it would. That the stored drops
    are those of the stored p, and u that of the seed, is checked.

    Args:
        draws: those kept beside the analysis; see `load_draws`.
        prompts_name: what the prompts are called; None: not compared.

    Raises:
        EvidenceError: the model is not the one that made it, or its drops are not of that model.
    """
    check_model(stored, model)
    texts = describe_classes(model, stored.classes, stored.settings.template)
    named = str(stored.provenance.get("prompts", "")) if prompts_name is None else prompts_name
    fresh = analyse(
        model,
        Image.fromarray(stored.pixels),
        texts,
        stored.settings,
        prompts_name=named,
        decisions=_decisions(stored, model.backbone.device),
    )
    differences = _differences(stored, fresh)
    redrawn = drawn = 0
    for name in {*stored.images} & {*fresh.images}:
        for old, new in zip(stored.images[name].layers, fresh.images[name].layers, strict=False):
            if old.dropped is None or old.uniform is None or old.probability is None:
                continue
            if not np.array_equal(old.uniform < old.probability, old.dropped):
                differences["dropped"] = np.inf
            if new.probability is not None and new.probability.shape == old.uniform.shape:
                redrawn += int(((old.uniform < new.probability) != old.dropped).sum())
                drawn += int(old.eligible.sum())
    for batch in draws:
        for name, gap in _draw_differences(stored, model, texts, batch=batch).items():
            differences[name] = max(differences.get(name, 0.0), gap)
    return ReplayReport(differences, redrawn, drawn, _elsewhere(stored, fresh))


def check_model(stored: Analysis, model: Backbone | PromptedClip) -> None:
    """Checks that a model is the one that made an analysis.

    Raises:
        EvidenceError: it is not; the message names the weights.
    """
    known, backbone = stored.provenance, model.backbone
    if backbone.weights_hash != known.get("backbone_hash"):
        raise EvidenceError(
            "The analysis was "
            + other_weights(str(known.get("backbone")), str(known.get("backbone_hash")), backbone)
        )
    prompts = hash_weights(model.state_dict()) if isinstance(model, PromptedClip) else None
    if prompts != known.get("prompts_hash"):
        raise EvidenceError(
            f"The analysis was made with the prompts {known.get('prompts') or 'none'} "
            f"(weights {known.get('prompts_hash')}); those loaded have weights {prompts}."
        )


def _elsewhere(stored: Analysis, fresh: Analysis) -> tuple[str, ...]:
    """What the file says otherwise of model, versions, device, seed and question."""
    old, new = stored.provenance, fresh.provenance
    missing = {"question_hash"} - old.keys()  # files of before have none
    if not old.get("prompts"):  # from Python, where a name is no must
        missing.add("prompts")
    return tuple(
        f"{key} ({old.get(key)} in the file, {new.get(key)} here)"
        for key in dict.fromkeys([*old, *new])
        if key not in missing and old.get(key) != new.get(key)
    )


def _leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every scalar and array of nested values, with the names that lead to it."""
    if is_dataclass(value):
        for part in fields(value):
            yield from _leaves(getattr(value, part.name), (*place, part.name))
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, (*place, str(key)))
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from _leaves(part, (*place, str(i)))
    else:
        yield place, value


def _side_by_side(stored: Any, fresh: Any) -> Iterator[tuple[Place, Any, Any]]:
    """Every field of either, with both values; `_ABSENT` where one has no such field."""
    old, new = dict(_leaves(stored)), dict(_leaves(fresh))
    for place in dict.fromkeys([*old, *new]):
        yield place, old.get(place, _ABSENT), new.get(place, _ABSENT)


_ABSENT = object()  # equals no value


def _differences(stored: Analysis, fresh: Analysis) -> dict[str, float]:
    """Quantity -> the largest difference of all fields that belong to it."""
    worst: dict[str, float] = {}
    for place, old, new in _side_by_side(stored, fresh):
        if place[0] == "provenance" or (place[0] == "lens" and stored.lens is None):
            continue  # the first schema has no lens
        if "dropped" in place and isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
            continue  # taken from the file; see `replay`
        name = _quantity(place)
        worst[name] = max(worst.get(name, 0.0), _gap(old, new, place))
    return worst


def _quantity(place: Place) -> str:
    """What the report calls the field at a place."""
    where, known = place[0], [part for part in place if not part.isdigit()]
    if where in ("images", "texts"):  # (images, condition, layers, number, field, ...)
        field = place[4] if place[2] == "layers" else place[2]
        name = QUANTITIES.get(field, field)
        if where == "texts":
            return f"text {name}"
        return f"image {name}" if name in ("importance", "signals") else name
    if where in ("predictions", "maps"):
        field = known[2] if where == "predictions" and len(known) > 2 else known[1]
        return QUANTITIES.get(field, field).replace("_", " ")
    return where


def _gap(old: Any, new: Any, place: Place) -> float:
    """How far two values are from each other; 0 where equal, inf where they cannot be compared."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if "maps" in place:
            scale = np.abs(np.nan_to_num(new)).max(initial=0.0) or 1.0
            return _largest(old, new) / float(scale)
        over = np.maximum(np.abs(new), 1) if set(RELATIVE) & {*place} else None
        return _largest(old, new, over)
    if isinstance(old, float) and isinstance(new, float) and "settings" not in place:
        return abs(old - new) / max(abs(new), 1e-12) * (TOLERANCE / 1e-6)  # a millionth of it
    return 0.0 if type(old) is type(new) and old == new else np.inf


def _largest(old: np.ndarray, new: np.ndarray, over: np.ndarray | None = None) -> float:
    """The largest difference of two arrays, as a share of `over`; NaN equals NaN."""
    if old.shape != new.shape or old.dtype.kind != new.dtype.kind:
        return np.inf
    if old.dtype.kind != "f":
        return 0.0 if np.array_equal(old, new) else np.inf
    a, b = old.astype(np.float64), new.astype(np.float64)
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
    return float((gap if over is None else gap / over).max(initial=0.0))


def _decisions(stored: Analysis, device: torch.device) -> dict[int, TokenDrop]:
    """The stored drops, layer by layer, a row each for the adapted branch and its strategies."""
    rows = [name for name in stored.conditions if name != FROZEN]

    def joined(parts: Sequence[np.ndarray | None], like: np.ndarray) -> Tensor:
        """A row (1, N) each, of zeros where there is none."""
        rows = [np.zeros_like(like) if part is None else part for part in parts]
        return torch.from_numpy(np.concatenate(rows)).float().to(device)

    drops = {}
    for depth, layers in enumerate(
        zip(*(stored.images[name].layers for name in rows), strict=True)
    ):
        if any(one.dropped is not None for one in layers):
            blend = layers[0].blend
            drops[depth] = TokenDrop(
                joined([one.probability for one in layers], blend),
                joined([one.uniform for one in layers], blend),
                joined([one.dropped for one in layers], blend).bool(),
            )
    return drops


def _draw_differences(
    stored: Analysis, model: Backbone | PromptedClip, texts: ClassTexts, *, batch: DrawBatch
) -> dict[str, float]:
    """Quantity -> the largest difference of a batch of draws, recomputed with its own drops."""
    differences: dict[str, float] = {}
    D, T = batch.dropped[batch.pair[0]].shape[1:]
    draws = SeededDraws(batch.seeds, "image")
    for depth in range(D):
        u = draws.uniform(depth, (len(batch.seeds), 1 + T))[:, 1:].numpy()  # (n, T), no [CLS]
        for name in batch.pair:
            p = batch.probability[name][:, depth]
            if not np.array_equal(u < p, batch.dropped[name][:, depth]):
                differences["draws: dropped"] = np.inf
    for start in range(0, len(batch.seeds), BATCH):
        part = batch.part(slice(start, start + BATCH))
        fresh = rerun_paired(
            model, stored.pixels, texts, settings=stored.settings, batch=part,
            map_classes=stored.maps.classes,
        )  # fmt: skip
        for place, old, new in _side_by_side(part, fresh):
            name = f"draws: {QUANTITIES.get(place[0], place[0])}".replace("_", " ")
            differences[name] = max(differences.get(name, 0.0), _gap(old, new, place))
    return differences
