"""Images that a tiny model can learn to tell apart."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tiny import Shown

from drople.training.data import Task
from drople.training.image_sets import ImageSet

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 230)}


def coloured_squares() -> Task:
    """Three classes of four squares, each of its colour with a little noise."""
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray((np.array(colour) + rng.integers(-25, 26, (32, 32, 3))).astype(np.uint8))
        for colour in COLOURS.values()
        for _ in range(4)
    ]
    labels = np.repeat(np.arange(3), 4)
    keys = tuple(f"square {i}" for i in range(12))
    images = ImageSet([Shown(p) for p in pictures], labels, np.zeros(12, int), keys)
    return Task("squares", tuple(COLOURS), images, images, images)
