"""Patch maps to be judged, the baselines they must beat, and the order each puts patches in."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from drople.analysis import Analysis
from drople.branches import FROZEN
from drople.images import luma

IMPORTANCE = "importance"
CENTRE, EDGES, RANDOM = "centre", "edges", "random"


def judged_maps(analysis: Analysis, target: int) -> dict[str, np.ndarray]:
    """The maps (G, G) of an analysis: each condition's of a class, then the importance.

    NaN where a drop took a map's value away. Conditions without a map of this class are left out.
    """
    maps = {}
    for condition in analysis.conditions:
        map_ = target_map(analysis, condition, target)
        if map_ is not None:
            maps[condition] = np.where(analysis.maps.unavailable[condition], np.nan, map_)
    return {**maps, IMPORTANCE: importance_map(analysis)}


def importance_layers(analysis: Analysis) -> int:
    """How many first layers the importance is averaged over: where dropout acts, else all."""
    layers = len(analysis.images[FROZEN].layers)
    return min(analysis.settings.dropout.image_depth, layers) or layers


def importance_map(analysis: Analysis) -> np.ndarray:
    """Undropped importance blend (G, G), averaged over `importance_layers`."""
    trace = analysis.images[analysis.branch]
    layers = trace.layers[: importance_layers(analysis)]
    return np.asarray(np.mean([one.patches(one.blend) for one in layers], axis=0))


def baseline_maps(analysis: Analysis) -> dict[str, np.ndarray]:
    """What a map must beat that is no random order: the centre and the edges, (G, G) each."""
    grid = analysis.images[FROZEN].layers[0].grid
    assert grid is not None
    return {CENTRE: centre_gaussian(grid), EDGES: edge_strength(analysis.pixels, grid)}


def centre_gaussian(grid: tuple[int, int]) -> np.ndarray:
    """A Gaussian (G, G) on the picture's centre, its sd a quarter of each side."""
    rows, columns = (((np.arange(n) + 0.5) / n - 0.5) / 0.25 for n in grid)
    return np.asarray(np.exp(-(rows[:, None] ** 2 + columns**2) / 2))


def edge_strength(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Mean strength of Sobel's edges in each patch (G, G) of a picture (S, S, 3)."""
    grey = luma(pixels)
    strength = np.hypot(ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1))
    rows, columns = grid
    height, width = strength.shape
    cells = strength.reshape(rows, height // rows, columns, width // columns)
    return np.asarray(cells.mean(axis=(1, 3)))


def patch_order(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Patches (G*G,) from the highest value to the lowest; ties at random, NaN last.

    So a map that says the same everywhere is a random order.
    """
    flat = values.ravel()
    return np.lexsort((rng.random(flat.size), -np.where(np.isnan(flat), -np.inf, flat)))


def target_map(analysis: Analysis, condition: str, target: int) -> np.ndarray | None:
    """The class activation map (G, G) of a class; None where this analysis holds none."""
    shown = analysis.maps.classes
    return analysis.maps.values[condition][shown.index(target)] if target in shown else None
