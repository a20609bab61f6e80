"""Token importance as values, and the words of a class as coloured cells."""

from __future__ import annotations

from html import escape

import numpy as np

from app.figures.theme import Scale, number
from drople.analysis import Analysis
from drople.tokens.importance import SIGNALS
from drople.traces import BranchTrace, LayerTrace

SIGNAL_NAMES = {
    "blend": "All signals (blend)",
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


def scale_of(analysis: Analysis, trace: BranchTrace, signal: str) -> Scale:
    """One scale for all rows and layers.

    A few sink tokens would else darken everything, so shares are cut at their 99 % quantile.
    """
    dropout = analysis.settings.dropout
    if signal == "p":
        return Scale(dropout.p_min, dropout.p_max, "probability of being dropped (p)")
    known = np.concatenate([values_of(one, signal).ravel() for one in trace.layers])
    known = known[np.isfinite(known)]
    top = float(np.quantile(known, 0.99)) if len(known) else 1.0
    return Scale(
        0.0,
        top,
        f"{SIGNAL_NAMES[signal]}, in multiples of an even share",
        clipped=bool(len(known) and known.max() > top * 1.001),
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


def text_table(trace: BranchTrace, target: int, signal: str, *, scale: Scale) -> str:
    """One class's words, a row a layer, coloured by a signal, HTML."""
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
