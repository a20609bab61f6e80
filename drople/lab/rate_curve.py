"""How prediction and feature fall as more tokens are dropped, for every strategy, over draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.analysis import AnalysisSettings
from drople.branches import ADAPTED
from drople.class_texts import ClassTexts
from drople.conditions import Conditions, rows_of
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import image_features
from drople.tokens.dropout import COMPARED
from drople.tokens.strategies import DropStrategy, Evidence, shift_to_rate

RATES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
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
        """Each draw's mean over the rates (n,) by the trapezoidal rule, of draws with all rates."""
        points = self.of(strategy)
        if tuple(points) != RATES:
            return np.zeros(0)
        count = min(point.count for point in points.values())
        curves = np.stack([vars(point)[quantity][:count] for point in points.values()], axis=1)
        return np.asarray(np.trapezoid(curves, RATES, axis=1) / (RATES[-1] - RATES[0]))


@dataclass(frozen=True)
class _Outcome:
    """What one batch of R rows comes to."""

    features: Tensor  # (R, E), unit
    cosines: Tensor  # (R, K)
    reached: Tensor  # (R,) share of the eligible tokens that was dropped


def run_rates(
    model: PromptedClip, pixels: np.ndarray, classes: ClassTexts, *,
    settings: AnalysisSettings, target: int, draws: int,
) -> Iterator[tuple[int, RateCurves]]:  # fmt: skip
    """Yields how many draws are complete, and the curves so far, after each rate of each draw.

    Seeds count up from the settings' own. Within a draw all strategies and rates share one u, so
    a higher rate of one strategy drops the same tokens and more wherever its p are alike.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        target: index of the class looked at.
    """
    picture = model.backbone.normalise(pixels[None])
    text, scale = classes.features[ADAPTED], float(model.logit_scale.detach().exp())
    rows = rows_of((NONE,), [settings.seed], settings.dropout)
    undropped = _outcome(Conditions.of(model, rows, settings.dropout), picture, text)
    (plain,) = _points(undropped, undropped, target=target, scale=scale)
    # Nothing is drawn without dropout, so every draw at rate 0 is this one.
    still = Point(**{k: np.repeat(v, draws) for k, v in vars(plain).items()})
    points = {(name, RATES[0]): still for name in COMPARED}
    points |= {(NONE, rate): still for rate in RATES}
    yield 0, RateCurves(points)
    for i in range(draws):
        for rate in RATES[1:]:
            rows = [
                replace(row, strategy=AtRate(row.strategy, rate))
                for row in rows_of(COMPARED, [settings.seed + i], settings.dropout)
            ]
            outcome = _outcome(Conditions.of(model, rows, settings.dropout), picture, text)
            drawn = _points(outcome, undropped, target=target, scale=scale)
            points = dict(points)
            for row, point in zip(rows, drawn, strict=True):
                key = (row.condition, rate)
                points[key] = points[key].joined(point) if key in points else point
            yield i + (rate == RATES[-1]), RateCurves(points)


@torch.no_grad()
def _outcome(conditions: Conditions, picture: Tensor, text: Tensor) -> _Outcome:
    """Runs rows on a picture (1, 3, S, S) and compares with class features (K, E)."""
    dropped, eligible = torch.zeros(2, len(conditions.rows))
    for record in conditions.layers(picture, readout_only=True):
        if record.drop is not None:
            dropped += record.drop.dropped.sum(dim=-1).cpu()
            eligible += record.eligible.sum(dim=-1).cpu()
    features = F.normalize(image_features(conditions.model.visual, record), dim=-1)
    return _Outcome(features, features @ text.T, dropped / eligible.clamp_min(1))


def _points(outcome: _Outcome, plain: _Outcome, *, target: int, scale: float) -> list[Point]:
    """Each row as one draw, against the one undropped row of `plain`."""
    cosines = outcome.cosines
    columns = {
        "reached": outcome.reached,
        "probability": (cosines * scale).softmax(dim=-1)[:, target],
        "cosine": cosines[:, target],
        "kept": outcome.features @ plain.features[0],
        "flipped": (cosines.argmax(dim=-1) != plain.cosines[0].argmax()).float(),
    }
    values = {key: column.double().cpu().numpy() for key, column in columns.items()}
    return [
        Point(**{key: column[row : row + 1] for key, column in values.items()})
        for row in range(len(cosines))
    ]
