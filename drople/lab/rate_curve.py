"""How prediction and feature fall as more tokens are dropped, for every strategy, over draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.analysis import AnalysisSettings
from drople.class_texts import ADAPTED, ClassTexts
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import read_image
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import STRATEGIES, TokenDropout, with_strategy
from drople.tokens.strategies import DropStrategy, Evidence, SideBySide, shift_to_rate

RATES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
COMPARED = ("vanilla", "iwtd", "self", "cls", "cross", "inverse")  # beside no dropout at all
NONE = "none"


@dataclass(frozen=True)
class AtRate:
    """A strategy's p shifted by one constant and clipped to [0, 1], so that their mean is `rate`.

    The mean is over the eligible tokens of a layer.
    """

    of: DropStrategy
    rate: float

    def probability(self, evidence: Evidence) -> Tensor:
        p = self.of.probability(evidence)
        rows = zip(p, evidence.eligible, strict=True)
        return torch.stack([shift_to_rate(row, eligible, self.rate) for row, eligible in rows])


@dataclass(frozen=True)
class Point:
    """One strategy at one rate, over n draws."""

    reached: np.ndarray  # (n,) share of the eligible tokens that was dropped, all layers together
    probability: np.ndarray  # (n,) of the class looked at
    cosine: np.ndarray  # (n,) of the class looked at
    kept: np.ndarray  # (n,) cosine of the feature with the undropped one
    flipped: np.ndarray  # (n,) 1 where the answer is not the undropped one, else 0

    @property
    def count(self) -> int:
        return len(self.reached)

    def joined(self, other: Point) -> Point:
        """These draws and others."""
        return Point(**{k: np.concatenate([v, vars(other)[k]]) for k, v in vars(self).items()})


@dataclass(frozen=True)
class RateCurves:
    """What the draws so far say; a point is there once its first draw is."""

    points: Mapping[tuple[str, float], Point] = field(default_factory=dict)

    def of(self, strategy: str) -> dict[float, Point]:
        """One strategy's points by rate, rising."""
        return {rate: p for (name, rate), p in sorted(self.points.items()) if name == strategy}

    def areas(self, strategy: str, quantity: str) -> np.ndarray:
        """Each draw's mean over the rates (n,), by trapezes; of the draws that have all rates."""
        points = self.of(strategy)
        if tuple(points) != RATES:
            return np.zeros(0)
        count = min(point.count for point in points.values())
        curves = np.stack([vars(point)[quantity][:count] for point in points.values()], axis=1)
        return np.asarray(np.trapezoid(curves, RATES, axis=1) / (RATES[-1] - RATES[0]))


@dataclass(frozen=True)
class _Undropped:
    feature: Tensor  # (E,), unit
    answer: int


def run_rates(
    model: PromptedClip,
    pixels: np.ndarray,
    classes: ClassTexts,
    settings: AnalysisSettings,
    *,
    target: int,
    draws: int,
) -> Iterator[tuple[int, RateCurves]]:
    """Yields how many draws are complete, and what is known, after each rate of each draw.

    Seeds count up from the settings' own. Within a draw all strategies and rates share one u, so
    a higher rate of one strategy drops the same tokens and more wherever its p are alike.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        target: index of the class looked at.
    """
    plain, undropped = _run(model, pixels, classes, settings, (NONE,), 0.0, 0, target, None)
    # Nothing is drawn without dropout, so every draw at rate 0 is this one.
    still = {
        name: Point(**{k: np.repeat(v, draws) for k, v in vars(plain[NONE]).items()})
        for name in (NONE, *COMPARED)
    }
    known = RateCurves({(name, RATES[0]): point for name, point in still.items()})
    known = RateCurves({**known.points, **{(NONE, rate): still[NONE] for rate in RATES}})
    yield 0, known
    for i in range(draws):
        for rate in RATES[1:]:
            seed = settings.seed + i
            found, _ = _run(
                model, pixels, classes, settings, COMPARED, rate, seed, target, undropped
            )
            points = dict(known.points)
            for name, point in found.items():
                before = points.get((name, rate))
                points[name, rate] = point if before is None else before.joined(point)
            known = RateCurves(points)
            yield i + (rate == RATES[-1]), known


def _run(
    model: PromptedClip,
    pixels: np.ndarray,
    classes: ClassTexts,
    settings: AnalysisSettings,
    names: Sequence[str],
    rate: float,
    seed: int,
    target: int,
    undropped: _Undropped | None,
) -> tuple[dict[str, Point], _Undropped]:
    """One draw of these strategies at one rate, as rows of one batch."""
    own = [STRATEGIES[name](with_strategy(settings.dropout, name)) for name in names]
    rows = tuple(
        one if name == NONE else AtRate(one, rate) for name, one in zip(names, own, strict=True)
    )
    depth = min(settings.dropout.image_depth, model.backbone.image_layer_count)
    dropout = TokenDropout(
        SideBySide(rows), SeededDraws([seed] * len(names), "image"), depth,
        settings.dropout.mode, settings.dropout.placement, settings.dropout.sigma,
    )  # fmt: skip
    dropped, eligible = torch.zeros(len(names)), torch.zeros(len(names))
    with torch.no_grad():
        batch = model.backbone.normalise(torch.from_numpy(pixels.copy())[None])
        batch = batch.expand(len(names), -1, -1, -1)  # (R, 3, S, S)
        for record in model.image_layers(
            batch, score=True, watched=depth, dropout=dropout, readout_only=True
        ):
            if record.drop is not None:
                may = record.layout.droppable.expand(len(names), -1)
                may = may if record.hidden is None else may & ~record.hidden
                dropped += record.drop.dropped.sum(dim=-1).cpu()
                eligible += may.sum(dim=-1).cpu()
        features = F.normalize(read_image(model.backbone.visual, record), dim=-1)  # (R, E)
        cosines = features @ classes.features[ADAPTED].T  # (R, K)
        said = (cosines * model.logit_scale.exp()).softmax(dim=-1)
        plain = undropped or _Undropped(features[0], int(cosines[0].argmax()))
        columns = {
            "reached": dropped / eligible.clamp_min(1),
            "probability": said[:, target],
            "cosine": cosines[:, target],
            "kept": features @ plain.feature,
            "flipped": (cosines.argmax(dim=-1) != plain.answer).float(),
        }
    values = {key: column.double().cpu().numpy() for key, column in columns.items()}
    found = {
        name: Point(**{key: column[row : row + 1] for key, column in values.items()})
        for row, name in enumerate(names)
    }
    return found, plain
