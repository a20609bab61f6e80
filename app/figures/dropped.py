"""Which tokens a dropout drops: hatched photographs, and how often over the layers."""

from __future__ import annotations

import numpy as np

from app.figures.patches import blank, enlarge, hatch
from drople.analysis import Analysis


def dropped_panel(analysis: Analysis, condition: str, layer: int) -> np.ndarray:
    """The photograph: hatched what is dropped after one layer, grey what was hidden before."""
    one = analysis.images[condition].layers[layer]
    photo = blank(enlarge(analysis.pixels), one.hidden_patches())
    if one.dropped is None:
        return photo
    return hatch(photo, one.patches(one.dropped))
