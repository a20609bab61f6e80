"""Token importance: a layer large, all layers as tiles, prompts and words as cells."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go

from app.figures.patches import as_uri, grey, strip
from app.figures.theme import Scale, number, plain
from drople.analysis import Analysis
from drople.tokens.importance import SIGNALS
from drople.tokens.layout import patch_row
from drople.traces import BranchTrace, LayerTrace

SIGNAL_NAMES = {
    "blend": "Blend of the signals (I)",
    **{name: name for name in SIGNALS},  # of a signal without a line below
    "s_self": "Self-attention (s_self)",
    "s_cls": "Class attention (s_cls)",
    "s_cross": "Bridge attention (s_cross)",
    "p": "How likely dropped (p)",
}


def signals_of(trace: BranchTrace) -> list[str]:
    """The signals a branch has; p only where a dropout would act."""
    layer = trace.layers[0]
    names = ["blend", *layer.shares]
    return [*names, "p"] if any(one.probability is not None for one in trace.layers) else names


def values_of(layer: LayerTrace, signal: str) -> np.ndarray:
    """A layer's (R, N): p, or the signal in multiples of an even share; NaN where there is none.

    An even share is 1 divided by the number of tokens that have an importance.
    """
    if signal == "p":
        if layer.probability is None:
            return np.full(layer.blend.shape, np.nan)
        return np.where(layer.eligible, layer.probability, np.nan)
    share = layer.blend if signal == "blend" else layer.shares.get(signal)
    if share is None:
        return np.full(layer.blend.shape, np.nan)
    return np.where(layer.content, share * layer.content.sum(axis=1, keepdims=True), np.nan)


def scale_of(
    analysis: Analysis, trace: BranchTrace, signal: str, layer: int | None, row: int | None = 0
) -> Scale:
    """The scale of one layer, or, without one, of all layers alike.

    A few sink tokens would else darken everything, so shares are cut at their 99 % quantile.
    """
    dropout = analysis.settings.dropout
    if signal == "p":
        return Scale(dropout.p_min, dropout.p_max, "probability of being dropped (p)")
    layers = trace.layers if layer is None else trace.layers[layer : layer + 1]
    rows = slice(None) if row is None else slice(row, row + 1)
    known = np.concatenate([values_of(one, signal)[rows].ravel() for one in layers])
    known = known[np.isfinite(known)]
    top = float(np.quantile(known, 0.99)) if len(known) else 1.0
    return Scale(
        0.0,
        top,
        f"{SIGNAL_NAMES[signal]}, in multiples of an even share",
        clipped=bool(len(known) and known.max() > top * 1.001),
    )


def layer_figure(
    analysis: Analysis, condition: str, layer: int, signal: str, *, opacity: float, locked: bool
) -> go.Figure:
    """One layer's patches over the grey photograph, with all numbers on hover."""
    trace = analysis.images[condition]
    one = trace.layers[layer]
    scale = scale_of(analysis, trace, signal, None if locked else layer)
    values = one.patches(values_of(one, signal))
    rows, columns = values.shape
    figure = go.Figure()
    figure.add_layout_image(
        source=as_uri(grey(analysis.pixels)), xref="x", yref="y", x=-0.5, y=-0.5,
        sizex=columns, sizey=rows, sizing="stretch", layer="below",
    )  # fmt: skip
    figure.add_heatmap(
        z=values.astype(np.float32),
        zmin=scale.low,
        zmax=scale.high,
        colorscale=scale.plotly(),
        showscale=False,
        opacity=opacity,
        xgap=0.5,
        ygap=0.5,
        text=hover_texts(one),
        hovertemplate="%{text}<extra></extra>",
    )
    axis = {"visible": False, "fixedrange": True}
    figure.update_xaxes(**axis, range=[-0.5, columns - 0.5], constrain="domain")
    figure.update_yaxes(**axis, range=[rows - 0.5, -0.5], scaleanchor="x", constrain="domain")
    plain(figure, height=None)  # as high as wide, by the page's style
    figure.update_layout(margin={"l": 0, "r": 0, "t": 4, "b": 4})
    return figure


def hover_texts(layer: LayerTrace) -> list[list[str]]:
    """What is known of each patch, (G, G): place, shares, blend, p and rank."""
    assert layer.grid is not None
    count = int(layer.content[0].sum())
    rank = np.empty(layer.blend.shape[1], dtype=int)
    rank[np.argsort(-layer.blend[0], kind="stable")] = np.arange(layer.blend.shape[1]) + 1
    texts = []
    for row in range(layer.grid[0]):
        line = []
        for column in range(layer.grid[1]):
            token = patch_row(layer.grid, row, column)
            parts = [f"<b>row {row + 1}, column {column + 1}</b>"]
            for name, share in layer.shares.items():
                raw = share[0, token] * layer.totals[name][0, 0]
                parts.append(f"{name}: {raw:.4f}, share {100 * share[0, token]:.2f} %")
            parts.append(
                f"blend: {100 * layer.blend[0, token]:.2f} %, rank {rank[token]} of {count}"
            )
            if layer.probability is None:
                parts.append("no dropout here")
            else:
                parts.append(f"p = {layer.probability[0, token]:.3f}")
            line.append("<br>".join(parts))
        texts.append(line)
    return texts


def layers_strip(
    analysis: Analysis, condition: str, signal: str, *, chosen: int, locked: bool
) -> np.ndarray:
    """All layers at a glance."""
    trace = analysis.images[condition]
    maps = [one.patches(values_of(one, signal)) for one in trace.layers]
    if locked or signal == "p":
        return strip(analysis.pixels, maps, scale_of(analysis, trace, signal, None), chosen=chosen)
    # On its own scale each layer fills [0, 1]; the page says that colours do not compare then.
    unit = [
        np.where(
            np.isfinite(m), scale_of(analysis, trace, signal, i).unit(np.nan_to_num(m)), np.nan
        )
        for i, m in enumerate(maps)
    ]
    return strip(analysis.pixels, unit, Scale(0, 1, "each layer on its own"), chosen=chosen)


def prompt_cells(analysis: Analysis, condition: str, layer: int, signal: str, scale: Scale) -> str:
    """The prompt tokens' values as coloured cells, HTML; empty where there are none."""
    one = analysis.images[condition].layers[layer]
    values = one.prompt_values(values_of(one, signal))
    if not len(values):
        who = "The frozen branch has" if condition == "frozen" else "These prompts have"
        return f'<p class="lens-note">{who} no prompt tokens among the patches.</p>'
    cells = "".join(cell(f"P{i + 1}", float(value), scale) for i, value in enumerate(values))
    return (
        f'<div class="lens-cells" role="img" aria-label="Prompt tokens">'
        f'<span class="lens-cells-name">Prompt tokens</span>{cells}</div>'
    )


def cell(name: str, value: float, scale: Scale) -> str:
    """One coloured cell with its name and value, HTML; its text is dark or light as it must be."""
    red, green, blue = (int(c) for c in scale.rgb(np.array(value)))
    ink = "#000000" if _luminance(red, green, blue) > 0.18 else "#ffffff"
    shown = number(value) if np.isfinite(value) else "–"
    return (
        f'<span class="lens-cell" style="background:rgb({red},{green},{blue});color:{ink}">'
        f"<b>{escape(name)}</b><i>{shown}</i></span>"
    )


def _luminance(*rgb: int) -> float:
    """Relative luminance of a colour in [0, 1] (WCAG 2); black text reads better above 0.18."""
    linear = [(c / 255) ** 2.2 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def text_table(
    analysis: Analysis, branch: str, target: int, signal: str, scale: Scale | None = None
) -> str:
    """One class's words, a row a layer, coloured by a signal, HTML.

    Args:
        scale: None for one of this class alone.
    """
    trace = analysis.texts[branch]
    scale = scale or scale_of(analysis, trace, signal, None, target)
    words = trace.words[target]
    rows = []
    for layer in trace.layers:
        values = values_of(layer, signal)[target, : len(words)]
        cells = "".join(
            f"<td>{cell(word, float(v), scale)}</td>"
            if np.isfinite(v)
            else f'<td class="lens-blank">{escape(word)}</td>'
            for word, v in zip(words, values, strict=True)
        )
        rows.append(f"<tr><th>layer {layer.depth + 1}</th>{cells}</tr>")
    return f'<div class="lens-scroll"><table class="lens-words">{"".join(rows)}</table></div>'
