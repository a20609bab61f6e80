"""Frozen against adapted, explained: the parts of the logit's difference by layer and by patch."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.patches import overlay
from app.figures.theme import ZERO, Picture, plain, symmetric
from app.lab.display.tables import Table, table_under
from drople.analysis import Analysis
from drople.lab.direct_path import DirectPath, Explained

# Parts of a layer, with colours that mean no condition elsewhere.
PARTS = {
    "patches": "#0284c7",
    "prompts": "#c026d3",
    "[CLS] and bias": "#94a3b8",
    "MLP": "#a16207",
}


def patch_map(path: DirectPath, layer: int | None) -> np.ndarray:
    """What attention fetches from each patch (G, G), in one layer or, with None, in all."""
    return path.patches.sum(axis=0) if layer is None else path.patches[layer]


def map_panel(analysis: Analysis, path: DirectPath, layer: int | None) -> Picture:
    """That map over the photograph; all layers share one scale, their sum has its own."""
    shown = patch_map(path, layer)
    scale = symmetric(
        [shown] if layer is None else list(path.patches),
        "part of the difference in logits; orange raises it, blue lowers it",
    )
    return Picture(overlay(analysis.pixels, shown, scale), (scale,))


def layers_figure(explained: Explained) -> go.Figure:
    """A stacked bar a layer, and one for the terms that no layer of the image tower has."""
    path = explained.image
    count = len(path.mlp)
    rows = ["start", *(f"layer {i + 1}" for i in range(count)), "LN bias", "text", "scale"]
    values = {
        "patches": path.patches.sum(axis=(1, 2)),
        "prompts": path.prompts,
        "[CLS] and bias": path.cls + path.bias,
        "MLP": path.mlp,
    }
    figure = go.Figure()
    for name, own in values.items():
        figure.add_bar(
            y=rows[1 : count + 1], x=own, orientation="h", name=name,
            marker={"color": PARTS[name]},
            hovertemplate=f"<b>%{{y}}</b><br>{name} %{{x:+.4f}}<extra></extra>",
        )  # fmt: skip
    figure.add_bar(
        y=[rows[0], *rows[count + 1 :]],
        x=[path.start, path.constant, explained.text, explained.scale],
        orientation="h", name="other terms", marker={"color": "#78716c"},
        hovertemplate="<b>%{y}</b><br>%{x:+.4f}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(
        categoryorder="array", categoryarray=rows, autorange="reversed", showgrid=False
    )
    figure.update_xaxes(title="adapted minus frozen, logit", showgrid=True, zerolinewidth=2, **ZERO)
    figure.update_layout(barmode="relative", bargap=0.3)
    return plain(figure, height=110 + 24 * len(rows), legend=True)


HEADERS = ("part", "patches", "prompts", "[CLS]", "attention bias", "MLP", "sum")


def parts_table(explained: Explained) -> Table:
    """All parts; the last column sums to the difference."""
    path = explained.image
    columns = [path.patches.sum(axis=(1, 2)), path.prompts, path.cls, path.bias, path.mlp]
    rows = [_row("class token at the start", None, path.start)]
    rows += [
        _row(f"layer {i + 1}", [one[i] for one in columns], path.layers[i])
        for i in range(len(path.mlp))
    ]
    rows.append(_row("bias of the last layer norm", None, path.constant))
    rows.append(_row("image features differ", [one.sum() for one in columns], path.total))
    rows.append(_row("text features differ", None, explained.text))
    rows.append(_row("logit scales differ", None, explained.scale))
    rows.append(["remainder (rounding)", *[""] * 5, f"{explained.remainder:+.1e}"])
    rows.append(_row("difference", None, explained.difference))
    return table_under(HEADERS, rows)


def _row(name: str, parts: list[float] | None, total: float) -> list[str]:
    cells = [""] * 5 if parts is None else [f"{part:+.4f}" for part in parts]
    return [name, *cells, f"{total:+.4f}"]


def parts_sentence(explained: Explained, what: str) -> str:
    """How large the difference is, and which parts make it."""
    path = explained.image
    largest = int(np.abs(path.layers).argmax())
    attention = path.layers[largest] - path.mlp[largest]
    return (
        f"{what} moves by {explained.difference:+.3f} from frozen to adapted: {path.total:+.3f} "
        f"because the image feature moves, {explained.text:+.3f} because the text features do, "
        f"{explained.scale:+.3f} by the logit scale. Of the first, layer {largest + 1} adds most "
        f"({path.layers[largest]:+.3f}; attention {attention:+.3f}, MLP {path.mlp[largest]:+.3f})."
    )
