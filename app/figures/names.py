"""What maps and their baselines are called, in pictures, tables and sentences alike."""

from __future__ import annotations

from app.figures.theme import CONDITION_NAMES
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.gradcam import CAM_METHODS
from drople.lab.patch_maps import CENTRE, EDGES, IMPORTANCE, RANDOM, importance_layers

# What can be chosen among a class's maps and the importance: as shown, and as asked.
MAP_CHOICES = [
    *((f"Map of {CONDITION_NAMES[name]}", name) for name in (FROZEN, ADAPTED, "vanilla", "iwtd")),
    ("Importance", IMPORTANCE),
]


def map_name(analysis: Analysis, name: str) -> str:
    """What a judged map or a baseline is called."""
    last = importance_layers(analysis)
    own = {
        IMPORTANCE: f"Importance, layers 1 to {last}",
        CENTRE: "Baseline: centre Gaussian",
        EDGES: "Baseline: edges (Sobel)",
        RANDOM: "Baseline: random orders",
    }
    if name in own:
        return own[name]
    method = CAM_METHODS[analysis.maps.method].label
    draw = "" if name in (FROZEN, ADAPTED) else ", one draw"
    return f"{method}: {CONDITION_NAMES[name]}{draw}"


def short_name(name: str) -> str:
    """What a map or a baseline is called in a legend, which must fit a phone."""
    own = {IMPORTANCE: "Importance", CENTRE: "Centre Gaussian", EDGES: "Edges (Sobel)"}
    return own.get(name) or CONDITION_NAMES[name]


def spearman_text(value: float | None) -> str:
    """A Spearman correlation in two digits; a dash where a map is the same everywhere."""
    return "–" if value is None else f"{value:.2f}"
