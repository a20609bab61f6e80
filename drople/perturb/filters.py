"""Blurs, zooms and clouds that the corruptions share, on pixels (S, S, 3) in [0, 1]."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from drople.images import luma


def soften(x: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur of each channel."""
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filters each channel with a kernel (2r+1, 2r+1); the picture goes on mirrored."""
    # Imported here: the package takes a third of a second of the app's start.
    from scipy.signal import fftconvolve

    r = len(kernel) // 2
    padded = np.pad(x, ((r, r), (r, r), (0, 0)), mode="reflect")
    filtered = fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1))
    return np.asarray(filtered)


def streak(radius: int, sigma: float, degrees: float) -> np.ndarray:
    """A fading line from the centre of a kernel outwards, as ImageMagick draws motion blur."""
    along = np.arange(2 * radius + 1)
    angle = np.deg2rad(degrees)
    rows = 2 * radius + np.round(along * np.sin(angle)).astype(int)
    columns = 2 * radius + np.round(along * np.cos(angle)).astype(int)
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    np.add.at(kernel, (rows, columns), np.exp(-(along**2) / (2 * sigma**2)))
    return kernel / kernel.sum()


def zoom(x: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a picture enlarged to the whole, bilinear."""
    centre = (x.shape[0] - 1) / 2
    scale, offset = [1 / factor] * 2, centre - centre / factor
    channels = [ndimage.affine_transform(one, scale, offset, order=1, mode="nearest")
                for one in np.moveaxis(x, 2, 0)]  # fmt: skip
    return np.stack(channels, axis=2)


def grey(x: np.ndarray) -> np.ndarray:
    """The luma, (S, S, 1)."""
    return luma(x)[..., None]


def clouds(size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A plasma fractal (S, S) in [0, 1] by diamonds and squares; a higher decay is smoother."""
    side = 2 ** int(np.ceil(np.log2(size)))
    plasma = np.zeros((side, side))
    step, wobble = side, 100.0

    def wobbled(total: np.ndarray) -> np.ndarray:
        return total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)

    while step >= 2:
        half = step // 2
        corners = plasma[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centres = wobbled(pairs + np.roll(pairs, -1, axis=1))
        plasma[half::step, half::step] = centres
        across = centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        plasma[::step, half::step] = wobbled(across)
        down = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        plasma[half::step, ::step] = wobbled(down)
        step, wobble = half, wobble / decay
    plasma -= plasma.min()
    return plasma[:size, :size] / plasma.max()
