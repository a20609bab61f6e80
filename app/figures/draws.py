"""Many draws: mean and spread of a map, and what the draws say of the answer."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale, one_sided, symmetric
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.lab.uncertainty import DrawStatistics, Moments
from drople.statistics.intervals import mean_interval, wilson_interval

CAM, KEPT = "Grad-CAM", "how often kept"
HEADERS = (
    "dropout", "draws", "class looked at: mean", "95 % interval", "sd", "answers that flip",
    "flip rate", "95 % interval (Wilson)",
)  # fmt: skip


def moments_of(one: DrawStatistics, what: str) -> Moments:
    """The running map of one kind."""
    return one.cam if what == CAM else one.kept


def draw_scales(analysis: Analysis, found: dict[str, DrawStatistics], what: str) -> list[Scale]:
    """The scale of the means and that of the spreads, each shared by all dropouts."""
    moments = [moments_of(one, what) for one in found.values()]
    means = [np.nan_to_num(one.mean) for one in moments]
    spread = one_sided([np.nan_to_num(one.sd) for one in moments], f"sd of {what} over the draws")
    if what == KEPT:
        return [Scale(0, 1, "share of the acting layers in which a patch is kept, mean"), spread]
    signed = CAM_METHODS[analysis.maps.method].signed
    meaning = (
        f"mean {CAM_METHODS[analysis.maps.method].label} over the draws in which a patch has one"
    )
    return [symmetric(means, meaning) if signed else one_sided(means, meaning), spread]


def draws_sheet(analysis: Analysis, found: dict[str, DrawStatistics], what: str) -> np.ndarray:
    """A column a dropout: the mean above, the spread below; RGBA."""
    scales = draw_scales(analysis, found, what)
    columns = []
    for name, one in found.items():
        moments = moments_of(one, what)
        pictures = [
            overlay(analysis.pixels, values, scale, opacity=0.7, marked=~np.isfinite(values))
            for values, scale in zip((moments.mean, moments.sd), scales, strict=True)
        ]
        columns.append((name, CONDITION_NAMES[name], pictures))
    return sheet_of(columns)


def draws_rows(found: dict[str, DrawStatistics]) -> list[list[str]]:
    """The rows under `HEADERS`."""
    return [_row(name, one) for name, one in found.items()]


def _row(name: str, one: DrawStatistics) -> list[str]:
    interval = mean_interval(one.probabilities)
    low, high = wilson_interval(one.flips, one.count)
    known = interval is not None
    return [
        CONDITION_NAMES[name],
        f"{one.count}",
        f"{one.probabilities.mean():.3f}",
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "–",
        f"{one.probabilities.std(ddof=1):.3f}" if known else "–",
        f"{one.flips} of {one.count}",
        f"{100 * one.flips / one.count:.0f} %",
        f"{100 * low:.0f} to {100 * high:.0f} %" if known else "–",
    ]


def draws_sentence(
    found: dict[str, DrawStatistics], classes: tuple[str, ...], target: int, first_seed: int
) -> str:
    """What the draws so far say; one draw is called one draw."""
    some = next(iter(found.values()))
    if some.count == 1:
        flips = [CONDITION_NAMES[name] for name, one in found.items() if one.flips]
        changed = f"{' and '.join(flips)} changes the answer" if flips else "the answer stays"
        return f"One draw (seed {first_seed}): {changed}. One draw says nothing of how often."
    parts = []
    for name, one in found.items():
        low, high = wilson_interval(one.flips, one.count)
        parts.append(
            f"{CONDITION_NAMES[name]} changes the answer in {one.flips} of them "
            f"({100 * low:.0f} to {100 * high:.0f} %) and gives {classes[target]} "
            f"{one.probabilities.mean():.2f} on average"
        )
    seeds = f"{some.count} draws (seeds {first_seed} to {first_seed + some.count - 1})"
    return f"{seeds}: " + "; ".join(parts) + "."
