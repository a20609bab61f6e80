"""Rate curves in numbers: areas and points, and whether dropouts differ."""

from __future__ import annotations

import numpy as np

from app.figures.theme import CONDITION_NAMES
from app.lab.display.rate_curve import QUANTITIES, bounded, interval_of
from drople.lab.rate_curve import NONE, RateCurves
from drople.statistics.intervals import mean_interval
from drople.tokens.dropout import COMPARED

AREA_HEADERS = ("dropout", *(f"area: {name}" for name in QUANTITIES.values()))
POINT_HEADERS = (
    "dropout", "rate asked for", "tokens truly dropped", "draws", *QUANTITIES.values(),
)  # fmt: skip


def _mean(values: np.ndarray, interval: tuple[float, float] | None) -> str:
    if not values.size:
        return "–"
    around = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{values.mean():.3f}{around}"


def area_rows(curves: RateCurves) -> list[list[str]]:
    """The rows under `AREA_HEADERS`."""
    rows = []
    for name in (NONE, *COMPARED):
        areas = {quantity: curves.areas(name, quantity) for quantity in QUANTITIES}
        cells = [
            _mean(of, None if name == NONE else bounded(mean_interval(of), quantity))
            for quantity, of in areas.items()
        ]
        rows.append([CONDITION_NAMES[name], *cells])
    return rows


def point_rows(curves: RateCurves) -> list[list[str]]:
    """The rows under `POINT_HEADERS`; at rate 0 and without dropout there is nothing to draw."""
    rows = []
    for name in (NONE, *COMPARED):
        for rate, point in curves.of(name).items():
            if name == NONE and rate > 0:
                continue
            drawn = rate > 0
            cells = [
                _mean(vars(point)[key], interval_of(point, key) if drawn else None)
                for key in QUANTITIES
            ]
            share, count = f"{point.reached.mean():.3f}", f"{point.count}" if drawn else "–"
            rows.append([CONDITION_NAMES[name], f"{rate:.2f}", share, count, *cells])
    return rows


def rates_sentence(curves: RateCurves, name: str, draws: int, *, first_seed: int) -> str:
    """How IWTD compares with vanilla dropout over all rates, and how sure that is."""
    if not draws:
        return f"The first draw (seed {first_seed}), for {name}: the rates come one by one."
    many = f"{draws} draws (seeds {first_seed} to {first_seed + draws - 1})"
    said = f"{many if draws > 1 else f'One draw (seed {first_seed})'}, for {name}."
    difference = curves.areas("iwtd", "probability") - curves.areas("vanilla", "probability")
    interval = mean_interval(difference)
    if interval is None:
        return f"{said} One draw says nothing of how often."
    settled = interval[0] > 0 or interval[1] < 0
    return (
        f"{said} Over all rates IWTD gives the class {difference.mean():+.3f} more probability "
        f"than vanilla dropout ({interval[0]:+.3f} to {interval[1]:+.3f}, paired by draw): "
        + ("a difference on this picture." if settled else "these draws do not tell them apart.")
    )
