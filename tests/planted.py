"""Evidence with planted scores, for tests of strategies."""

from __future__ import annotations

import torch

from drople.importance import TokenImportance
from drople.strategies import Evidence


def evidence(blend, content=None, eligible=None):
    """Evidence with one signal, whose blend is the scores given: (N,) or (B, N)."""
    scores = torch.as_tensor(blend, dtype=torch.float32)
    scores = scores[None] if scores.ndim == 1 else scores
    content = torch.ones_like(scores, dtype=torch.bool) if content is None else content
    eligible = content if eligible is None else eligible
    return Evidence(0, TokenImportance(scores, scores, None, {}), content, eligible)
