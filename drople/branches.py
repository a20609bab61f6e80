"""The two branches that every comparison sets side by side."""

from __future__ import annotations

FROZEN = "frozen"  # CLIP as it was published
ADAPTED = "adapted"  # the same CLIP with learnt prompts
