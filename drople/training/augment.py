"""Augmentations of the learnable branch's view, on pixels (B, S, S, 3) uint8."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_FACTOR = 0.7 * 1.8 + 0.1  # magnitude 7 of 10 (METHOD.md 5.3)
_OPERATIONS = (
    lambda cell: cell,
    ImageOps.autocontrast,
    ImageOps.equalize,
    lambda cell: ImageEnhance.Brightness(cell).enhance(_FACTOR),
    lambda cell: ImageEnhance.Contrast(cell).enhance(_FACTOR),
    lambda cell: ImageEnhance.Color(cell).enhance(_FACTOR),
    lambda cell: ImageEnhance.Sharpness(cell).enhance(_FACTOR),
)


def flip(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrors half of the images (B, S, S, 3), chosen at random."""
    mirrored = rng.random(len(pixels)) < 0.5
    return np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)


def patch_randaugment(pixels: np.ndarray, rng: np.random.Generator, patch: int) -> np.ndarray:
    """RandAugment on each patch by itself: two of seven operations, with replacement.

    METHOD.md 5.3; data/randaugment.py and configs/patch_aug.json of the released code.
    """
    changed = pixels.copy()
    size = pixels.shape[1]
    for image in changed:
        for top in range(0, size - patch + 1, patch):
            for left in range(0, size - patch + 1, patch):
                cell = image[top : top + patch, left : left + patch]
                drawn = Image.fromarray(cell)
                for operation in rng.integers(len(_OPERATIONS), size=2):
                    drawn = _OPERATIONS[operation](drawn)
                cell[:] = np.asarray(drawn)
    return changed
