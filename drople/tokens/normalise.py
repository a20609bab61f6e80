"""Importance brought to [0, 1]: scores (B, N) over the rows of a scope (B, N), row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["minmax", "minmax_eligible", "rank", "robust", "no_sinks"]


def _minmax(scores: Tensor, scope: Tensor) -> Tensor:
    low = scores.masked_fill(~scope, torch.inf).amin(dim=-1, keepdim=True)
    high = scores.masked_fill(~scope, -torch.inf).amax(dim=-1, keepdim=True)
    return (scores - low) / (high - low).clamp_min(torch.finfo(scores.dtype).tiny)


def _rank(scores: Tensor, scope: Tensor) -> Tensor:
    ranks = scores.masked_fill(~scope, -torch.inf).argsort(dim=-1).argsort(dim=-1)
    count = scope.sum(dim=-1, keepdim=True)
    return (ranks - (scores.shape[-1] - count)) / (count - 1).clamp_min(1)


def _robust(scores: Tensor, scope: Tensor) -> Tensor:
    inside = scores.masked_fill(~scope, torch.nan)
    low, high = (inside.nanquantile(q, dim=-1, keepdim=True) for q in (0.05, 0.95))
    return (scores - low) / (high - low).clamp_min(torch.finfo(scores.dtype).tiny)


def _no_sinks(scores: Tensor, scope: Tensor) -> Tensor:
    """Min-max over what lies below Tukey's outer fence, Q3 + 3 (Q3 - Q1); the rest is above it."""
    inside = scores.masked_fill(~scope, torch.nan)
    first, third = (inside.nanquantile(q, dim=-1, keepdim=True) for q in (0.25, 0.75))
    return _minmax(scores, scope & (scores <= third + 3 * (third - first)))


NORMALISE: dict[Normalisation, Callable[[Tensor, Tensor], Tensor]] = {
    "minmax": _minmax,
    "minmax_eligible": _minmax,
    "rank": _rank,  # ties and sinks cannot flatten it
    "robust": _robust,  # min-max between the 5 % and the 95 % quantile
    "no_sinks": _no_sinks,  # far outliers do not set the scale; they are kept as most important
}
