"""Sinks: norm and received attention per layer with the outliers framed, and p without them."""

from __future__ import annotations

import numpy as np

from app.figures.patches import outline, overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Picture, Scale
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.sinks import LayerSinks, far_out

Found = dict[str, list[LayerSinks]]  # branch -> layers


def sinks_sheet(analysis: Analysis, found: Found, layer: int) -> Picture:
    """A column a branch: norms above, received attention below, outliers framed; RGBA."""
    shown = {branch: layers[layer] for branch, layers in found.items()}
    norms = np.concatenate([one.norms[one.content] for one in shown.values()])
    received = np.concatenate([one.received[one.content] for one in shown.values()])
    norm_scale = Scale(float(norms.min()), float(norms.max()), "above: norm entering the layer")
    attention_scale = Scale(
        0, float(np.quantile(received, 0.98)),
        "below: attention received, in multiples of an even share", clipped=True,
    )  # fmt: skip
    columns = []
    for branch, one in shown.items():
        pictures = [
            outline(overlay(analysis.pixels, one.patches(values), scale), one.patches(marked))
            for values, scale, marked in (
                (one.norms, norm_scale, one.high_norm),
                (one.received, attention_scale, one.high_attention),
            )
        ]
        columns.append((branch, CONDITION_NAMES[branch], pictures))
    return Picture(sheet_of(columns), (norm_scale, attention_scale))


def p_sheet(before: Analysis, after: Analysis, layer: int) -> Picture | None:
    """IWTD's p on the undropped tokens before and after, far-out importance framed; RGBA.

    None where no dropout acts after this layer.
    """
    dropout = before.settings.dropout
    scale = Scale(dropout.p_min, dropout.p_max, "IWTD’s probability of being dropped (p)")
    columns = []
    for title, one in (("all on the scale", before), ("without sinks", after)):
        trace = one.images[ADAPTED].layers[layer]
        if trace.probability is None:
            return None
        aside = far_out(trace.blend[0], trace.content[0])
        panel = overlay(before.pixels, trace.patches(trace.probability), scale)
        columns.append(("iwtd", title, [outline(panel, trace.patches(aside[None]))]))
    return Picture(sheet_of(columns), (scale,))
