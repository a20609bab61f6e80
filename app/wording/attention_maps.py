"""Attention of a token in numbers: a row a head, and what the rollout is made of."""

from __future__ import annotations

import numpy as np

from app.lab.display.attention_maps import having_token
from app.wording.sentences import place
from drople.lab.attention_maps import AttentionLayer

HEADERS = ("layer", "head", "to [CLS]", "to patches", "to prompts", "strongest patch", "its share")


def heads_rows(layers: list[AttentionLayer], token: int) -> list[list[str]]:
    """The rows under `HEADERS`, a layer and head each."""
    return [
        _row(one, head, weights[token].astype(np.float64))
        for one in having_token(layers, token)
        for head, weights in enumerate(one.heads)
    ]


def _row(one: AttentionLayer, head: int, weights: np.ndarray) -> list[str]:
    patches = one.patches(weights)
    return [
        f"{one.depth + 1}",
        f"{head + 1}",
        f"{100 * weights[0]:.1f} %",
        f"{100 * patches.sum():.1f} %",
        f"{100 * weights[slice(*one.prompts)].sum():.1f} %",
        place(int(patches.argmax()), one.grid),
        f"{100 * patches.max():.1f} %",
    ]


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
