"""Attention of a token, head by head and rolled out, over the photograph."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay, strip
from app.figures.sheets import sheet_of
from app.figures.theme import Scale
from drople.analysis import Analysis
from drople.lab.attention_maps import AttentionLayer


def _maps(one: AttentionLayer, token: int) -> list[np.ndarray]:
    """Each head's attention to the patches (G, G), in multiples of an even share."""
    count = one.heads.shape[-1]
    return [one.patches(head[token].astype(np.float32) * count) for head in one.heads]


def having_token(layers: list[AttentionLayer], token: int) -> list[AttentionLayer]:
    """The layers that have so many tokens; modular prompts grow from layer to layer."""
    return [one for one in layers if token < one.heads.shape[-1]]


def heads_scale(layers: list[AttentionLayer], token: int) -> Scale:
    """One scale for all heads of all layers, cut at the 99.5 % quantile."""
    known = np.concatenate(
        [m.ravel() for one in having_token(layers, token) for m in _maps(one, token)]
    )
    top = float(np.quantile(known, 0.995))
    return Scale(0, top, "attention, in multiples of an even share", clipped=True)


def heads_strip(
    analysis: Analysis, layers: list[AttentionLayer], layer: int, *, token: int
) -> np.ndarray:
    """A tile a head of one layer."""
    return strip(analysis.pixels, _maps(layers[layer], token), heads_scale(layers, token))


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
    analysis: Analysis, branch: str, layers: list[AttentionLayer], *, layer: int, token: int
) -> np.ndarray:
    """The mean of the heads beside the rollout; RGBA."""
    scale = rollout_scale(layers, layer, token)
    labels = "this layer", f"rollout 1 to {layer + 1}"
    panels = [overlay(analysis.pixels, map_, scale) for map_ in _rollout_maps(layers[layer], token)]
    return sheet_of([(branch, label, [one]) for label, one in zip(labels, panels, strict=True)])
