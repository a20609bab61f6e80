"""Which tokens a dropout drops: hatched photographs, and how often over the layers."""

from __future__ import annotations

import numpy as np

from app.figures.patches import blank, enlarge, hatch, overlay
from app.figures.theme import Scale
from drople.analysis import Analysis

HOW_OFTEN = "layers in which a patch is dropped"


def dropped_panel(analysis: Analysis, condition: str, layer: int) -> np.ndarray:
    """The photograph: hatched what is dropped after one layer, grey what was hidden before."""
    one = analysis.images[condition].layers[layer]
    photo = blank(enlarge(analysis.pixels), one.hidden_patches())
    if one.dropped is None:
        return photo
    return hatch(photo, one.patches(one.dropped))


def stays_hidden(analysis: Analysis) -> bool:
    """Whether a dropped patch is gone for good."""
    return analysis.settings.dropout.mode == "hide"


def often_panel(analysis: Analysis, condition: str) -> np.ndarray:
    """In how many layers each patch is dropped."""
    layers = analysis.images[condition].layers
    gone = [one.patches(one.dropped) for one in layers if one.dropped is not None]
    counts = sum(gone, np.zeros(layers[0].patches(layers[0].blend).shape, dtype=int))
    return overlay(analysis.pixels, counts, often_scale(analysis), opacity=0.75)


def often_scale(analysis: Analysis) -> Scale:
    """0 to the number of layers that can drop a patch: one where it stays hidden."""
    some = analysis.images[dropping(analysis)[0]]
    acting = sum(one.dropped is not None for one in some.layers)
    return Scale(0, 1 if stays_hidden(analysis) else max(acting, 1), HOW_OFTEN)


def dropping(analysis: Analysis) -> list[str]:
    """The conditions in which tokens are dropped."""
    return [c for c in analysis.conditions if c not in ("frozen", "adapted")]
