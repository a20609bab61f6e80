"""The one colour scale of all conditions' class activation maps."""

from __future__ import annotations

from app.figures.theme import Scale, one_sided, symmetric
from drople.analysis import ClassMaps
from drople.gradcam import CAM_METHODS


def cam_scale(maps: ClassMaps, index: int) -> Scale:
    """One scale for every condition's map of one class."""
    method = CAM_METHODS[maps.method]
    arrays = [values[index] for values in maps.values.values()]
    meaning = f"{method.label} of the cosine with the class, at the input of block {maps.layer + 1}"
    if method.signed:
        return symmetric(arrays, meaning + "; orange for, blue against")
    if method.per_class:
        return one_sided(arrays, meaning)
    low = min(float(a.min()) for a in arrays)
    return Scale(low, max(float(a.max()) for a in arrays), method.label + "; its sign is arbitrary")
