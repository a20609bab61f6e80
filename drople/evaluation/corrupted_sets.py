"""Image sets seen through a corruption."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from PIL import Image

from drople.perturb.corruptions import corrupt
from drople.training.image_sets import ImageSet, Source


def corrupted(images: ImageSet, cropped: np.ndarray, *, name: str, severity: int) -> ImageSet:
    """The same images, corrupted; what is random depends on the image's key alone.

    Args:
        cropped: what the model sees of them, (I, S, S, 3) uint8: ImageNet-C corrupts after the
            crop.
    """
    keyed = zip(cropped, images.keys, images.sources, strict=True)
    return ImageSet(
        [_Corrupted(pixels, key, clean, name, severity) for pixels, key, clean in keyed],
        images.labels,
        images.domains,
        tuple(f"{key} {name}-{severity}" for key in images.keys),
    )


@dataclass(frozen=True, eq=False)
class _Corrupted:
    """A picture that is corrupted whenever it is read."""

    pixels: np.ndarray  # (S, S, 3) uint8
    key: str
    clean: Source
    name: str
    severity: int

    def read(self) -> Image.Image:
        seed = blake2b(f"{self.name} {self.key}".encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(seed))
        return Image.fromarray(corrupt(self.pixels, self.name, self.severity, rng=rng))

    def content(self) -> bytes:
        return f"{self.name} {self.severity} ".encode() + self.clean.content()
