"""Evidence with planted scores, and dropouts of images of noise, for tests of dropout."""

from __future__ import annotations

import torch
from tiny import noise_pixels

from drople.models import towers
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import TokenDropout
from drople.tokens.importance import TokenImportance
from drople.tokens.strategies import Evidence

DEPTH = 3  # of the tower's four layers


def evidence(blend, content=None, eligible=None):
    """Evidence with one signal, whose blend is the scores given: (N,) or (B, N)."""
    scores = torch.as_tensor(blend, dtype=torch.float32)
    scores = scores[None] if scores.ndim == 1 else scores
    content = torch.ones_like(scores, dtype=torch.bool) if content is None else content
    eligible = content if eligible is None else eligible
    return Evidence(0, TokenImportance({"s_self": scores}, {}), content, eligible)


def acting(strategy, mode="zero", placement="next", *, seed=0, rows=3, depth=DEPTH, sigma=0.03):
    """A dropout of the image branch, the same draw for every row."""
    draws = SeededDraws([seed] * rows, "image")
    return TokenDropout(strategy, draws, depth, mode, placement, sigma)


def image_records(model, dropout=None, **changes):
    """Every layer of three images of noise."""
    return list(model.image_layers(noise_pixels(), score=True, dropout=dropout, **changes))


def image_features(model, dropout):
    """Features of three images of noise."""
    return towers.image_features(model.backbone.visual, image_records(model, dropout)[-1])
