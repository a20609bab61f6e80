"""What an overview's JSON holds, as arrays again."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from app.overview.encoding import STEPS


def decoded(one: dict[str, Any]) -> np.ndarray:
    """What was encoded: float32 (u1 on its scale, NaN where there is no value) or bool."""
    raw, shape = base64.b64decode(one["b"]), tuple(one["n"])
    if one["t"] == "f4":
        return np.frombuffer(raw, "<f4").reshape(shape)
    if one["t"] == "bits":
        count = int(np.prod(shape))
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool).reshape(shape)
    stored = np.frombuffer(raw, np.uint8).astype(np.float64).reshape(shape)
    values = one["lo"] + (one["hi"] - one["lo"]) * stored / STEPS
    return np.where(stored == 255, np.nan, values)
