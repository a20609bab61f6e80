"""Many draws: mean and spread of a map, and what the draws say of the answer."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Picture, Scale, one_sided, symmetric
from app.lab.display.tables import Table, table_of
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.lab.uncertainty import DrawStatistics
from drople.statistics.intervals import mean_interval, wilson_interval

CAM, KEPT = "Grad-CAM", "how often kept"


def _mean_scale(analysis: Analysis, what: str, means: list[np.ndarray]) -> Scale:
    if what == KEPT:
        return Scale(0, 1, "share of the acting layers in which a patch is kept, mean")
    method = CAM_METHODS[analysis.maps.method]
    meaning = f"mean {method.label} over the draws in which a patch has one"
    return (symmetric if method.signed else one_sided)(means, meaning)


def draws_sheet(analysis: Analysis, found: dict[str, DrawStatistics], what: str) -> Picture:
    """A column a dropout: the mean above, the spread below, each on one scale; RGBA."""
    moments = {name: one.cam if what == CAM else one.kept for name, one in found.items()}
    means, spreads = (
        [np.nan_to_num(values) for values in of]
        for of in zip(*((one.mean, one.sd) for one in moments.values()), strict=True)
    )
    mean_scale = _mean_scale(analysis, what, means)
    sd_scale = one_sided(spreads, f"sd of {what} over the draws")

    def panel(values: np.ndarray, scale: Scale) -> np.ndarray:
        return overlay(analysis.pixels, values, scale, marked=~np.isfinite(values))

    columns = [
        (name, CONDITION_NAMES[name], [panel(one.mean, mean_scale), panel(one.sd, sd_scale)])
        for name, one in moments.items()
    ]
    return Picture(sheet_of(columns), (mean_scale, sd_scale))


def draws_table(found: dict[str, DrawStatistics]) -> Table:
    """What the draws of each dropout say of the answer."""
    rows = []
    for name, one in found.items():
        interval, p = mean_interval(one.probabilities), one.probabilities
        low, high = wilson_interval(one.flips, one.count)
        known = interval is not None
        rows.append({
            "dropout": CONDITION_NAMES[name],
            "draws": f"{one.count}",
            "class looked at: mean": f"{p.mean():.3f}",
            "95 % interval": f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "–",
            "sd": f"{p.std(ddof=1):.3f}" if known else "–",
            "answers that flip": f"{one.flips} of {one.count}",
            "flip rate": f"{100 * one.flips / one.count:.0f} %",
            "95 % interval (Wilson)": f"{100 * low:.0f} to {100 * high:.0f} %" if known else "–",
        })  # fmt: skip
    return table_of(rows)


def draws_sentence(
    found: dict[str, DrawStatistics], classes: tuple[str, ...], target: int, *, first_seed: int
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
            f"{one.probabilities.mean():.3f} on average"
        )
    seeds = f"{some.count} draws (seeds {first_seed} to {first_seed + some.count - 1})"
    return f"{seeds}: " + "; ".join(parts) + "."
