"""Sinks: norm and received attention per layer with the outliers framed, and p without them."""

from __future__ import annotations

import numpy as np

from app.figures.patches import outline, overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.sinks import LayerSinks, far_out

Found = dict[str, list[LayerSinks]]  # branch -> layers


def sinks_scales(found: Found, layer: int) -> list[Scale]:
    """The scale of the norms and that of the attention, each shared by the branches."""
    layers = [one[layer] for one in found.values()]
    norms = [one.norms[one.content] for one in layers]
    received = np.concatenate([one.received[one.content] for one in layers])
    top = float(np.quantile(received, 0.98))
    return [
        Scale(min(map(np.min, norms)), max(map(np.max, norms)), "above: norm entering the layer"),
        Scale(0, top, "below: attention received, in multiples of an even share", clipped=True),
    ]


def sinks_sheet(analysis: Analysis, found: Found, layer: int) -> np.ndarray:
    """A column a branch: norms above, received attention below, outliers framed; RGBA."""
    norm_scale, attention_scale = sinks_scales(found, layer)
    columns = []
    for branch, layers in found.items():
        one = layers[layer]
        pictures = [
            outline(overlay(analysis.pixels, one.patches(values), scale), one.patches(marked))
            for values, scale, marked in (
                (one.norms, norm_scale, one.high_norm),
                (one.received, attention_scale, one.high_attention),
            )
        ]
        columns.append((branch, CONDITION_NAMES[branch], pictures))
    return sheet_of(columns)


def p_sheet(before: Analysis, after: Analysis, layer: int) -> np.ndarray | None:
    """IWTD's p on the undropped tokens before and after, far-out importance framed; RGBA.

    None where no dropout acts after this layer.
    """
    scale = p_scale(before)
    columns = []
    for title, one in (("all on the scale", before), ("without sinks", after)):
        trace = one.images[ADAPTED].layers[layer]
        if trace.probability is None:
            return None
        aside = far_out(trace.blend[0], trace.content[0])
        panel = overlay(before.pixels, trace.patches(trace.probability), scale)
        columns.append(("iwtd", title, [outline(panel, trace.patches(aside[None]))]))
    return sheet_of(columns)


def p_scale(analysis: Analysis) -> Scale:
    """From p_min to p_max."""
    dropout = analysis.settings.dropout
    return Scale(dropout.p_min, dropout.p_max, "IWTD’s probability of being dropped (p)")
