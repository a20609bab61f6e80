"""Attention of a token, head by head and rolled out: over the photograph, and in numbers."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay, strip
from app.figures.sheets import sheet_of
from app.figures.theme import Picture, Scale
from app.lab.display.tables import Table, table_of
from app.wording.sentences import place
from drople.analysis import Analysis
from drople.lab.attention_maps import AttentionLayer


def _maps(one: AttentionLayer, token: int) -> list[np.ndarray]:
    """Each head's attention to the patches (G, G), in multiples of an even share."""
    count = one.heads.shape[-1]
    return [one.patches(head[token].astype(np.float32) * count) for head in one.heads]


def having_token(layers: list[AttentionLayer], token: int) -> list[AttentionLayer]:
    """The layers that have so many tokens; modular prompts grow from layer to layer."""
    return [one for one in layers if token < one.heads.shape[-1]]


def heads_strip(
    analysis: Analysis, layers: list[AttentionLayer], layer: int, *, token: int
) -> Picture:
    """A tile a head of one layer, on a scale of all layers, cut at the 99.5 % quantile; RGBA."""
    known = np.concatenate([_maps(one, token) for one in having_token(layers, token)])
    top = float(np.quantile(known, 0.995))
    scale = Scale(0, top, "attention, in multiples of an even share", clipped=True)
    return Picture(strip(analysis.pixels, _maps(layers[layer], token), scale), (scale,))


def _rollout_maps(one: AttentionLayer, token: int) -> list[np.ndarray]:
    """This layer's mean attention and the rollout up to here, each (G, G)."""
    mean = one.heads.astype(np.float32).mean(axis=0)[token]
    rolled = one.rollout[token].copy()
    rolled[token : token + 1] = np.nan  # its own residual is far above all else, and drawn grey
    even = one.grid[0] * one.grid[1]
    return [one.patches(values) * even for values in (mean, rolled)]


def rollout_sheet(
    analysis: Analysis, branch: str, layers: list[AttentionLayer], *, layer: int, token: int
) -> Picture:
    """The mean of the heads beside the rollout, on one scale; RGBA."""
    maps = _rollout_maps(layers[layer], token)
    top = float(np.nanquantile(maps, 0.99, axis=(1, 2)).max())
    scale = Scale(0, top, "share of each patch, in multiples of an even share", clipped=True)
    panels = [[overlay(analysis.pixels, map_, scale)] for map_ in maps]
    columns = zip([branch] * 2, ("this layer", f"rollout 1 to {layer + 1}"), panels, strict=True)
    return Picture(sheet_of([*columns]), (scale,))


def heads_table(layers: list[AttentionLayer], token: int) -> Table:
    """What each head of each layer looks at."""
    rows = []
    for one in having_token(layers, token):
        for head, weights in enumerate(one.heads[:, token].astype(np.float64), start=1):
            patches = one.patches(weights)
            rows.append({
                "layer": f"{one.depth + 1}",
                "head": f"{head}",
                "to [CLS]": f"{100 * weights[0]:.1f} %",
                "to patches": f"{100 * patches.sum():.1f} %",
                "to prompts": f"{100 * weights[slice(*one.prompts)].sum():.1f} %",
                "strongest patch": place(int(patches.argmax()), one.grid),
                "its share": f"{100 * patches.max():.1f} %",
            })  # fmt: skip
    return table_of(rows)


def attention_sentence(layers: list[AttentionLayer], layer: int, token: int, *, name: str) -> str:
    """Where the token looks in this layer, and what the rollout says it is made of."""
    one = layers[layer]
    mean = one.heads[:, token].astype(np.float64).mean(axis=0)
    rolled = one.rollout[token]
    return (
        f"Layer {layer + 1}: {name} gives {100 * one.patches(mean).sum():.0f} % of its attention "
        f"to patches, {100 * mean[slice(*one.prompts)].sum():.0f} % to learned prompts and "
        f"{100 * mean[0]:.0f} % to [CLS]. Rolled out it consists of "
        f"{100 * one.patches(rolled).sum():.0f} % patches, {100 * rolled[-1]:.0f} % prompts and "
        f"{100 * rolled[0]:.0f} % [CLS]. Rollout counts attention alone: no values, no "
        "MLP, no sign."
    )
