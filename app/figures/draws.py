"""Many draws: mean and spread of a map, and what the draws say of the answer."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale, one_sided, symmetric
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS
from drople.lab.uncertainty import DrawStatistics, Moments

CAM, KEPT = "Grad-CAM", "how often kept"


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
