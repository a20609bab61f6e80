"""An analysis as one HTML page that opens anywhere, with no network: pictures and numbers."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.figures.cams import cam_scale
from app.figures.importance import SIGNAL_NAMES, scale_of, signals_of, values_of
from app.figures.predictions import rows_shown
from app.figures.theme import CONDITION_NAMES, DIVERGING, SEQUENTIAL, Scale
from app.wording.paper import methods_text
from app.wording.sentences import best_class, provenance_line
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS

TEMPLATE = Path(__file__).parents[2] / "assets" / "standalone.html"
DIGITS = 4  # significant digits of every number on the page


def standalone_page(analysis: Analysis, layer: int, index: int) -> str:
    """The page, HTML.

    Args:
        layer: shown first, from 0.
        index: of the class looked at first, into `analysis.maps.classes`.
    """
    maps = analysis.maps
    shown = analysis.conditions[-1]
    signals = signals_of(analysis.images[analysis.conditions[min(1, len(analysis.conditions) - 1)]])
    target = maps.classes[index]
    data = {
        "title": "DroPLe Lens: "
        + "; ".join(
            f"{CONDITION_NAMES[name].lower()} says {analysis.classes[best_class(analysis, name)]}"
            for name in analysis.conditions[:2]
        ),
        "layer": layer + 1,
        "looked_at": index,
        "photo": _photo(analysis.pixels),
        "classes": analysis.classes,
        "conditions": [(name, CONDITION_NAMES[name]) for name in analysis.conditions],
        "probabilities": {
            name: [float(f"{p:.4g}") for p in said.probabilities]
            for name, said in analysis.predictions.items()
        },
        "listed": rows_shown(analysis, target),
        "grid": maps.values[shown].shape[1:],
        "pictures": [
            *((name, SIGNAL_NAMES[name]) for name in signals),
            *([("dropped", "Dropped tokens")] if analysis.adapted else []),
        ],
        "layers": {
            name: [_layer(one, signals) for one in trace.layers]
            for name, trace in analysis.images.items()
        },
        "scales": {
            name: {signal: _scale(scale_of(analysis, trace, signal, None)) for signal in signals}
            for name, trace in analysis.images.items()
        },
        "maps": {name: [_numbers(one) for one in values] for name, values in maps.values.items()},
        "unavailable": {
            name: gone.ravel().astype(int).tolist() for name, gone in maps.unavailable.items()
        },
        "map_scales": [_scale(cam_scale(maps, i)) for i in range(len(maps.classes))],
        "map_classes": maps.classes,
        "map_block": maps.layer + 1,
        "map_name": CAM_METHODS[maps.method].label,
        "about": _about(analysis),
        "methods": methods_text(analysis),
        "provenance": provenance_line(analysis),
    }
    # Inside a script element only < could end it.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return TEMPLATE.read_text().replace("__DATA__", text)


def _about(analysis: Analysis) -> str:
    """What a reader must know to read the pictures."""
    said = (
        "Every layer's token importance and the class activation maps of one photograph, patch by "
        "patch; point at a patch for its numbers. Importance is in multiples of an even share. "
        "The maps of one class share one colour scale over all branches. These are attention "
        "scores and gradients, not an explanation of the answer."
    )
    if analysis.adapted:
        said += (
            f" Dropped tokens are one draw (seed {analysis.settings.seed}), applied now to fixed "
            "weights; that is not how models trained with each dropout differ. Hatched in a map: "
            "the drop acts at that very place."
        )
    return said


def _layer(one: Any, signals: list[str]) -> dict[str, Any]:
    """One layer's patches, row by row."""
    found: dict[str, Any] = {s: _numbers(one.patches(values_of(one, s))) for s in signals}
    found["dropped"] = None if one.dropped is None else _flags(one.patches(one.dropped))
    found["hidden"] = _flags(one.hidden_patches())
    return found


def _flags(marked: np.ndarray) -> list[int]:
    """Patches (G, G) in a row, 1 where marked."""
    return [int(one) for one in marked.ravel()]


def _numbers(values: np.ndarray) -> list[float | None]:
    """Values (G, G) in a row, rounded; None where there is none."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.ravel()]


def _scale(scale: Scale) -> dict[str, Any]:
    table = DIVERGING if scale.diverging else SEQUENTIAL
    stops = np.asarray(table(np.linspace(0, 1, 33)))[:, :3] * 255
    return {
        "low": scale.low,
        "high": scale.high,
        "clipped": scale.clipped,
        "meaning": scale.meaning,
        "colours": ["#{:02x}{:02x}{:02x}".format(*stop.round().astype(int)) for stop in stops],
    }


def _photo(pixels: np.ndarray) -> str:
    """What the model saw, without loss, as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
