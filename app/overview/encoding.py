"""Arrays as JSON: base64 of raw bytes, with their shape."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

STEPS = 254  # of an 8-bit scale; 255 says that there is no value


def _packed(kind: str, shape: tuple[int, ...], raw: bytes) -> dict[str, Any]:
    return {"t": kind, "n": list(shape), "b": base64.b64encode(raw).decode()}


def floats(values: np.ndarray) -> dict[str, Any]:
    """Values of any shape, exact to 32 bits; NaN says that there is none."""
    return _packed("f4", values.shape, np.ascontiguousarray(values, "<f4").tobytes())


def bits(values: np.ndarray) -> dict[str, Any]:
    """Booleans of any shape, eight a byte."""
    return _packed("bits", values.shape, np.packbits(values.astype(bool).ravel()).tobytes())


def steps(values: np.ndarray) -> dict[str, Any]:
    """Values of any shape on one scale of 255 steps, off by at most half a step; NaN is kept."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    width = high - low or 1.0
    scaled = np.where(np.isfinite(values), (values - low) / width * STEPS, 255)
    raw = np.rint(np.nan_to_num(scaled, nan=255)).astype(np.uint8).tobytes()
    return _packed("u1", values.shape, raw) | {"lo": low, "hi": high}
