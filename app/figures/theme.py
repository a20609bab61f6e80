"""Colours and scales: the same thing looks the same in every picture, legend and table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from drople.tokens.dropout import STRATEGIES

# Mid tones: at least 3:1 on the light and on the dark page, so one picture serves both. The
# overview, which knows which page it is on, has a colour for each in assets/overview.css.
SPARE_COLOURS = ("#c026d3", "#2563eb", "#b4532a", "#15803d")
CONDITION_COLOURS = {
    # A strategy without a line below takes a spare colour, and its key as its name.
    **dict(zip(STRATEGIES, cycle(SPARE_COLOURS), strict=False)),
    "frozen": "#64748b",
    "adapted": "#6366f1",
    "none": "#6366f1",
    "vanilla": "#d97706",
    "iwtd": "#0d9488",
    "ranked": "#16a34a",
    "self": "#0891b2",
    "cls": "#be185d",
    "cross": "#65a30d",
    "inverse": "#9333ea",
    "mpl": "#dc2626",
}
CONDITION_NAMES = {
    **{name: name.replace("-", " ").capitalize() for name in STRATEGIES},
    "frozen": "Frozen",
    "adapted": "Adapted",
    "none": "No dropout",
    "vanilla": "Vanilla dropout",
    "iwtd": "IWTD",
    "self": "s_self alone",
    "cls": "s_cls alone",
    "cross": "s_cross alone",
    "inverse": "Inverse IWTD",
    "mpl": "MPL",
}
IMPORTANCE_COLOUR = "#e11d48"  # of importance among maps of classes
SEQUENTIAL = colormaps["cividis"]
DIVERGING = LinearSegmentedColormap.from_list(
    "blue_white_orange",
    ["#08306b", "#2878b8", "#9ecae1", "#f7f7f7", "#fdae6b", "#e6550d", "#7f2704"],
)

GRID = "rgba(100,116,139,0.25)"
# What plots have in common, on the page's own background; text colours are set by its style.
PLOT = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
        "font": {"color": "#64748b", "size": 14, "family": "system-ui, sans-serif"},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "hoverlabel": {"align": "left"},
        "xaxis": {"showgrid": False, "zeroline": False, "gridcolor": GRID},
        "yaxis": {"zeroline": False, "gridcolor": GRID, "automargin": True},
    }
)
ZERO = {"zeroline": True, "zerolinecolor": "#64748b"}  # of an axis whose 0 is marked


@dataclass(frozen=True)
class Scale:
    """A colour scale that every panel of a comparison shares."""

    low: float
    high: float
    meaning: str  # what the colour stands for, with its unit
    diverging: bool = False
    clipped: bool = False  # values above `high` are drawn in the top colour

    @property
    def table(self) -> Colormap:
        return DIVERGING if self.diverging else SEQUENTIAL

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Values brought to [0, 1] on this scale; a scale of no width puts all at 0.5."""
        width = self.high - self.low
        if width <= 0:
            return np.full(np.shape(values), 0.5)
        return np.clip((values - self.low) / width, 0, 1)

    def rgb(self, values: np.ndarray) -> np.ndarray:
        """Colours (..., 3) uint8 of values of any shape; values that are not numbers are grey."""
        colours = np.asarray(self.table(self.unit(np.nan_to_num(values))))[..., :3] * 255
        return np.where(np.isfinite(values)[..., None], colours.round(), 128).astype(np.uint8)

    def plotly(self) -> list[list[float | str]]:
        """The colours as plotly wants them."""
        stops = np.linspace(0, 1, 33)
        colours = (255 * self.table(stops)[:, :3]).astype(int)
        return [[float(s), "rgb({},{},{})".format(*c)] for s, c in zip(stops, colours, strict=True)]

    def css(self) -> str:
        """The colours as a CSS gradient from left to right."""
        return "linear-gradient(90deg," + ",".join(str(c) for _, c in self.plotly()[::4]) + ")"


@dataclass(frozen=True)
class Picture:
    """A picture with the scales that its colours are read by."""

    pixels: np.ndarray  # (H, W, 3 or 4), uint8
    scales: tuple[Scale, ...]


def symmetric(arrays: list[np.ndarray], meaning: str) -> Scale:
    """A diverging scale around 0 that covers all arrays."""
    top = max((float(np.nanmax(np.abs(a))) for a in arrays if a.size), default=0.0)
    return Scale(-top, top, meaning, diverging=True)


def one_sided(arrays: list[np.ndarray], meaning: str) -> Scale:
    """A scale from 0 to the largest value of all arrays."""
    top = max((float(np.nanmax(a)) for a in arrays if a.size), default=0.0)
    return Scale(0.0, max(top, 0.0), meaning)


def colour_bar(scale: Scale) -> str:
    """The scale as a labelled bar, HTML."""
    low, top = number(scale.low), number(scale.high) + " and more" * scale.clipped
    middle = "<span>0</span>" if scale.diverging else ""
    return (
        f'<div class="lens-bar"><div class="lens-bar-colours" style="background:{scale.css()}">'
        f'</div><div class="lens-bar-ends"><span>{low}</span>{middle}'
        f"<span>{top}</span></div>"
        f'<div class="lens-bar-meaning">{escape(scale.meaning)}</div></div>'
    )


def number(value: float) -> str:
    """Two significant decimals for large numbers, more for small ones."""
    if value == 0:
        return "0"
    return (f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}").replace("-", "\N{MINUS SIGN}")


def plain(figure: go.Figure, *, height: int, legend: bool = False) -> go.Figure:
    """The figure with what plots have in common; what it set itself stays."""
    margin = {"l": 10, "r": 16, "t": 34 if legend else 8, "b": 48}
    return figure.update_layout(template=PLOT, height=height, showlegend=legend, margin=margin)


def band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """What a scatter takes to fill the room between two lines."""
    return {
        "x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]]),
        "fill": "toself", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
    }  # fmt: skip
