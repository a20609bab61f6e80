"""Many draws: mean and spread of a map, and what the draws say of the answer."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Picture, Scale, one_sided, symmetric
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.lab.uncertainty import DrawStatistics

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
