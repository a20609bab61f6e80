"""The fifteen corruptions of ImageNet-C at five severities, on pictures of any size.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; constants from its make_imagenet_c.py, which fit 224 pixels and are not
scaled. Three parts differ, since they need ImageMagick, OpenCV or photographs: motion blur and snow
streaks use our own kernel along a line, snow flakes and clipped zooms are resampled by SciPy, and
the frost is drawn (clouds with sharp ridges) where the authors blend in photographs of ice.

A corruption takes pixels (S, S, 3) float64 in [0, 1], a severity from 1 to 5 and a generator, and
returns the same; the result may leave [0, 1] and is clipped by `corrupt`.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from drople.errors import SettingsError
from drople.perturb.filters import clouds, convolve, grey, soften, streak, zoom

Pixels = np.ndarray
Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(
    pixels: np.ndarray, name: str, severity: int, *, rng: np.random.Generator
) -> np.ndarray:
    """One corruption of one picture, (S, S, 3) uint8; severity 0 leaves it as it is.

    Raises:
        SettingsError: an unknown corruption, or a severity that is not in 0 to 5.
    """
    if name not in CORRUPTIONS or severity not in (0, *SEVERITIES):
        raise SettingsError(
            f"No corruption {name!r} of severity {severity}; severities are 0 to 5 and "
            f"corruptions {', '.join(CORRUPTIONS)}."
        )
    if severity == 0:
        return pixels
    changed = CORRUPTIONS[name](pixels / 255, severity, rng)
    return np.round(changed.clip(0, 1) * 255).astype(np.uint8)


def _gaussian_noise(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return x + rng.normal(size=x.shape, scale=(0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1])


def _shot_noise(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return rng.poisson(x * photons) / photons


def _impulse_noise(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    struck, white = rng.random(x.shape) < amount, rng.random(x.shape) < 0.5
    return np.where(struck, white.astype(float), x)


def _defocus_blur(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    side = np.arange(-max(8, radius), max(8, radius) + 1)
    disc = (side[:, None] ** 2 + side**2 <= radius**2).astype(float)
    return convolve(x, ndimage.gaussian_filter(disc / disc.sum(), soft))


def _glass_blur(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Swaps each pixel with one close by, in the published order, between two blurs."""
    constants = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    sigma, reach, rounds = constants[severity - 1]
    size = x.shape[0]
    rows, columns = np.mgrid[size - reach : reach : -1, size - reach : reach : -1]
    order = list(range(size * size))
    for _ in range(rounds):
        across, down = rng.integers(-reach, reach, size=(2, *rows.shape))
        here = (rows * size + columns).ravel().tolist()
        there = ((rows + down) * size + columns + across).ravel().tolist()
        for a, b in zip(here, there, strict=True):
            order[a], order[b] = order[b], order[a]
    moved = soften(x, sigma).reshape(-1, 3)[order].reshape(x.shape)
    return soften(moved, sigma)


def _motion_blur(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return convolve(x, streak(radius, sigma, rng.uniform(-45, 45)))


def _zoom_blur(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = np.arange(1, end, step)
    return (x + sum(zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def _snow(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    mean, sd, factor, least, radius, sigma, keep = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes = zoom(rng.normal(mean, sd, size=x.shape[:2])[..., None], factor)
    flakes = np.where(flakes < least, 0, flakes.clip(0, 1))
    flakes = convolve(flakes, streak(radius, sigma, rng.uniform(45, 135)))
    pale = np.maximum(x, grey(x) * 1.5 + 0.5)
    return keep * x + (1 - keep) * pale + flakes + flakes[::-1, ::-1]


def _frost(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    keep, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    size = x.shape[0]
    crystals = sum((1 - np.abs(2 * clouds(size, 1.6, rng) - 1)) ** 6 for _ in range(3)) / 2
    frost = 0.2 + 0.8 * (0.4 * clouds(size, 1.8, rng) + crystals).clip(0, 1)
    return keep * x + ice * frost[..., None] * np.array([0.92, 0.97, 1.0])  # a bluish white


def _fog(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    thick, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    return (x + thick * clouds(x.shape[0], decay, rng)[..., None]) * x.max() / (x.max() + thick)


def _brightness(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Adds to V of HSV: with hue and saturation kept, all channels grow by one factor."""
    value = x.max(axis=2, keepdims=True)
    brighter = (value + 0.1 * severity).clip(0, 1)
    return np.where(value > 0, x * (brighter / np.where(value > 0, value, 1)), brighter)


def _contrast(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    mean = x.mean(axis=(0, 1))
    return (x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean


def _elastic_transform(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    relative = ((2, 0.7, 0.1), (2, 0.08, 0.2), *((s, 0.01, 0.02) for s in (0.05, 0.07, 0.12)))
    strength, sigma, jitter = 244 * np.array(relative[severity - 1])
    size = x.shape[0]
    centre, third = size / 2, size // 3
    corners = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + rng.uniform(-jitter, jitter, size=corners.shape)
    ones = np.ones((3, 1))
    affine = np.linalg.solve(np.hstack([moved, ones]), corners)  # (3, 2), back to the source
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1)
    shifts = [ndimage.gaussian_filter(rng.uniform(-1, 1, (size, size)), sigma, truncate=3)
              for _ in range(2)]  # fmt: skip
    where = grid + strength * np.stack(shifts, axis=-1)
    source = (where @ affine[:2] + affine[2]).transpose(2, 0, 1)  # (2, S, S)
    channels = [ndimage.map_coordinates(x[..., c], source, order=1, mode="reflect")
                for c in range(3)]  # fmt: skip
    return np.stack(channels, axis=-1)


def _pixelate(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    size = x.shape[0]
    small = max(1, int(size * (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]))
    image = _image(x).resize((small, small), Image.Resampling.BOX)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX)) / 255


def _jpeg_compression(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    _image(x).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    return np.asarray(Image.open(file)) / 255


def _image(x: Pixels) -> Image.Image:
    return Image.fromarray(np.round(x * 255).astype(np.uint8))


def _by_name(*family: Corruption) -> dict[str, Corruption]:
    return {corruption.__name__[1:]: corruption for corruption in family}


FAMILIES = {
    "noise": _by_name(_gaussian_noise, _shot_noise, _impulse_noise),
    "blur": _by_name(_defocus_blur, _glass_blur, _motion_blur, _zoom_blur),
    "weather": _by_name(_snow, _frost, _fog, _brightness),
    "digital": _by_name(_contrast, _elastic_transform, _pixelate, _jpeg_compression),
}
CORRUPTIONS = {name: how for family in FAMILIES.values() for name, how in family.items()}
