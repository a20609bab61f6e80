"""The pointing game: is a map's peak inside a box that a person drew?

Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, at patch level: a
patch is inside where its centre is, with no tolerance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from drople.errors import SettingsError


@dataclass(frozen=True)
class Box:
    """A box on the picture, as shares of its sides from the top left corner.

    Raises:
        SettingsError: it has no area, or reaches out of the picture.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise SettingsError(
                "A box is left, top, right, bottom in % of the picture, left below right and top "
                f"below bottom; got {self}."
            )

    @classmethod
    def read(cls, text: str) -> Box | None:
        """A box as it is typed, "10, 20, 60, 80" in %; None for an empty text.

        Raises:
            SettingsError: these are not four numbers, or not a box.
        """
        if not text.strip():
            return None
        parts = [part for part in re.split(r"[\s,;%]+", text) if part]
        try:
            left, top, right, bottom = (float(part) / 100 for part in parts)
        except ValueError:
            raise SettingsError(
                f"A box is four numbers, left, top, right, bottom in %; got “{text[:40]}”."
            ) from None
        return cls(left, top, right, bottom)

    @classmethod
    def between(cls, a: tuple[float, float], b: tuple[float, float]) -> Box:
        """The box with two opposite corners (x, y)."""
        (left, right), (top, bottom) = sorted((a[0], b[0])), sorted((a[1], b[1]))
        return cls(left, top, right, bottom)

    def __str__(self) -> str:
        sides = (self.left, self.top, self.right, self.bottom)
        return ", ".join(f"{round(100 * side, 1):g}" for side in sides)

    def inside(self, grid: tuple[int, int]) -> np.ndarray:
        """The patches (G, G) whose centre lies in the box."""
        rows, columns = ((np.arange(n) + 0.5) / n for n in grid)
        in_rows = (rows >= self.top) & (rows <= self.bottom)
        return in_rows[:, None] & (columns >= self.left) & (columns <= self.right)


@dataclass(frozen=True)
class Pointing:
    """Where a map points."""

    peak: tuple[int, int]  # row and column of the highest patch, from 0
    hit: float  # 1 inside the box, 0 outside; the share inside where several patches tie


def point(values: np.ndarray, box: Box) -> Pointing | None:
    """Plays once with a map (G, G); None for a map without values, or the same everywhere."""
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        return None
    peaks = np.argwhere(values == finite.max())
    hit = float(box.inside((values.shape[0], values.shape[1]))[tuple(peaks.T)].mean())
    return Pointing((int(peaks[0][0]), int(peaks[0][1])), hit)
