"""Class activation maps: their mean over draws, and one colour scale for all conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.figures.theme import Scale, one_sided, symmetric
from drople.analysis import ClassMaps
from drople.gradcam import CAM_METHODS
from drople.paired_draws import DrawBatch


def cam_scale(maps: ClassMaps, index: int) -> Scale:
    """One scale for every condition's map of one class; what is not a number has no say."""
    method = CAM_METHODS[maps.method]
    arrays = [one[index][np.isfinite(one[index])] for one in maps.values.values()]
    meaning = f"{method.label} of the cosine with the class, at the input of block {maps.layer + 1}"
    if method.signed:
        return symmetric(arrays, meaning + "; orange for, blue against")
    if method.per_class:
        return one_sided(arrays, meaning)
    known = np.concatenate(arrays)
    low, high = float(known.min()), float(known.max())
    return Scale(low, high, method.label + "; its sign is arbitrary")


def mapped(draws: Sequence[DrawBatch]) -> int:
    """How many draws have maps; they are the first."""
    return sum(len(batch.seeds) for batch in draws if batch.maps is not None)


def mean_maps(draws: Sequence[DrawBatch]) -> dict[str, np.ndarray]:
    """Each strategy's mean map (C, G, G) over the draws that have maps; empty where none has.

    Patch by patch over the draws with a value there; NaN where none has one.
    """
    known = [batch.maps for batch in draws if batch.maps is not None]
    return {
        name: np.ma.masked_invalid(np.concatenate([maps[name] for maps in known]))
        .mean(axis=0)
        .filled(np.nan)
        for name in (known[0] if known else ())
    }
