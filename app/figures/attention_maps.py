"""Attention of a token, head by head and rolled out, over the photograph."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay, strip
from app.figures.sheets import sheet_of
from app.figures.theme import Scale
from drople.analysis import Analysis
from drople.lab.attention_maps import AttentionLayer

HEADERS = ("layer", "head", "to [CLS]", "to patches", "to prompts", "strongest patch", "its share")


def _maps(one: AttentionLayer, token: int) -> list[np.ndarray]:
    """Each head's attention to the patches (G, G), in multiples of an even share."""
    count = one.heads.shape[-1]
    return [one.patches(head[token].astype(np.float32) * count) for head in one.heads]


def _having(layers: list[AttentionLayer], token: int) -> list[AttentionLayer]:
    """The layers that have so many tokens; modular prompts grow from layer to layer."""
    return [one for one in layers if token < one.heads.shape[-1]]


def heads_scale(layers: list[AttentionLayer], token: int) -> Scale:
    """One scale for all heads of all layers, cut at the 99.5 % quantile."""
    known = np.concatenate([m.ravel() for one in _having(layers, token) for m in _maps(one, token)])
    top = float(np.quantile(known, 0.995))
    return Scale(0, top, "attention, in multiples of an even share", clipped=True)


def heads_strip(
    analysis: Analysis, layers: list[AttentionLayer], layer: int, token: int
) -> np.ndarray:
    """A tile a head of one layer."""
    scale = heads_scale(layers, token)
    return strip(analysis.pixels, _maps(layers[layer], token), scale, chosen=-1)


def rollout_scale(layers: list[AttentionLayer], layer: int, token: int) -> Scale:
    """One scale for both tiles, in multiples of an even share of the patches."""
    top = max(float(np.nanquantile(m, 0.99)) for m in _rollout_maps(layers[layer], token))
    return Scale(0, top, "share of each patch, in multiples of an even share", clipped=True)


def _rollout_maps(one: AttentionLayer, token: int) -> list[np.ndarray]:
    """This layer's mean attention and the rollout up to here, each (G, G)."""
    mean = one.heads.astype(np.float32).mean(axis=0)[token]
    rolled = one.rollout[token].copy()
    rolled[token : token + 1] = np.nan  # its own residual is far above all else, and drawn grey
    even = one.grid[0] * one.grid[1]
    return [one.patches(values) * even for values in (mean, rolled)]


def rollout_sheet(
    analysis: Analysis, branch: str, layers: list[AttentionLayer], layer: int, token: int
) -> np.ndarray:
    """The mean of the heads beside the rollout; RGBA."""
    scale = rollout_scale(layers, layer, token)
    mean, rolled = _rollout_maps(layers[layer], token)
    return sheet_of(
        [
            (branch, "this layer", [overlay(analysis.pixels, mean, scale)]),
            (branch, f"rollout 1 to {layer + 1}", [overlay(analysis.pixels, rolled, scale)]),
        ]
    )


def heads_rows(layers: list[AttentionLayer], token: int) -> list[list[str]]:
    """The rows under `HEADERS`, a layer and head each."""
    return [
        _row(one, head, weights[token].astype(np.float64))
        for one in _having(layers, token)
        for head, weights in enumerate(one.heads)
    ]


def _row(one: AttentionLayer, head: int, weights: np.ndarray) -> list[str]:
    patches = one.patches(weights)
    row, column = np.unravel_index(int(patches.argmax()), patches.shape)
    return [
        f"{one.depth + 1}",
        f"{head + 1}",
        f"{100 * weights[0]:.1f} %",
        f"{100 * patches.sum():.1f} %",
        f"{100 * weights[slice(*one.prompts)].sum():.1f} %",
        f"row {row + 1}, column {column + 1}",
        f"{100 * patches.max():.1f} %",
    ]


def attention_sentence(layers: list[AttentionLayer], layer: int, token: int, name: str) -> str:
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
