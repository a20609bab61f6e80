"""Labelled images that are read one by one, from files of their own or from a pack."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from drople.errors import DataError, ImageError
from drople.images import read_image


class Source(Protocol):
    """Where a picture comes from."""

    def read(self) -> Image.Image:
        """The picture, RGB; an `ImageError` where it cannot be read."""

    def content(self) -> bytes:
        """What the picture is decoded from: another picture has another content."""


@dataclass(frozen=True)
class ImageFile:
    """A picture in a file of its own."""

    path: Path

    def read(self) -> Image.Image:
        return read_image(self.path)

    def content(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, eq=False)
class PackedImage:
    """A picture in a pack."""

    blob: np.ndarray  # all files of the pack, one after the other, uint8
    start: int
    stop: int

    def read(self) -> Image.Image:
        return read_image(io.BytesIO(self.content()))

    def content(self) -> bytes:
        return self.blob[self.start : self.stop].tobytes()


@dataclass(frozen=True)
class ImageSet:
    """Labelled images that are read one by one."""

    sources: Sequence[Source]
    labels: np.ndarray  # (I,) int, index into the class list
    domains: np.ndarray  # (I,) int, 0 where the data have no domains
    keys: tuple[str, ...]  # what names each image, for messages

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: np.ndarray) -> ImageSet:
        """The images at `index` (J,), in that order."""
        sources, keys = [self.sources[i] for i in index], tuple(self.keys[i] for i in index)
        return ImageSet(sources, self.labels[index], self.domains[index], keys)

    def where(self, mask: np.ndarray) -> ImageSet:
        """The images of a mask (I,) bool."""
        return self.select(np.flatnonzero(mask))

    def batches(self, size: int) -> Iterator[ImageSet]:
        """All images in their order, at most so many at a time."""
        for start in range(0, len(self), size):
            yield self.select(np.arange(start, min(start + size, len(self))))

    def some(self, count: int) -> ImageSet:
        """At most so many images, always the same ones, in their order."""
        drawn = np.random.default_rng(0).permutation(len(self))[:count]
        return self.select(np.sort(drawn))

    def read(self, index: int) -> Image.Image:
        """One picture, RGB.

        Raises:
            DataError: it cannot be read; the message names it.
        """
        try:
            return self.sources[index].read()
        except ImageError as error:
            raise DataError(f"{self.keys[index]}: {error}") from error

    def digest(self) -> str:
        """16 hex digits that another image, key, label or order changes: what caches go by.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        digest = blake2b(digest_size=8)
        for source, key, label in zip(self.sources, self.keys, self.labels, strict=True):
            try:
                content = source.content()
            except OSError as error:
                raise DataError(f"{key} cannot be read: {error.strerror}.") from error
            digest.update(f"{key}\0{label}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()


def images_of_files(files: Sequence[tuple[Path, int]]) -> ImageSet:
    """A set of (path, label) pairs; a key is the file with its folder, which names the class."""
    labels = np.array([label for _, label in files], dtype=int)
    keys = tuple(f"{path.parent.name}/{path.name}" for path, _ in files)
    return ImageSet([ImageFile(path) for path, _ in files], labels, np.zeros_like(labels), keys)
