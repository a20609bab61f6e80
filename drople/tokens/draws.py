"""Where a dropout's randomness comes from: u decides who is dropped, noise what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor


class Draws(Protocol):
    """The randomness of a dropout, always made on the CPU, so that a seed means one thing."""

    def uniform(self, depth: int, shape: tuple[int, int]) -> Tensor:
        """Returns u (B, N) in [0, 1) for one layer; a token is dropped where u < p."""

    def noise(self, depth: int, shape: tuple[int, int, int]) -> Tensor:
        """Returns standard normal noise (B, N, D) for one layer."""


def generator_of(*names: int | str) -> np.random.Generator:
    """A generator that these names alone decide."""
    digest = blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


@dataclass(frozen=True)
class SeededDraws:
    """u is a function of (seed, tower, layer, token position, class name) alone (METHOD.md 3.8).

    Batching, other rows, longer sequences and the mode change no u; noise has its own stream.
    """

    seeds: Sequence[int]  # one a row
    tower: Literal["image", "text"]
    names: Sequence[str] | None = None  # of the classes, in the text tower

    def uniform(self, depth: int, shape: tuple[int, int]) -> Tensor:
        return self._rows("uniform", depth, lambda stream: stream.random(shape[1], "f4"))

    def noise(self, depth: int, shape: tuple[int, int, int]) -> Tensor:
        return self._rows("noise", depth, lambda stream: stream.standard_normal(shape[1:], "f4"))

    def _rows(
        self, kind: str, depth: int, sample: Callable[[np.random.Generator], np.ndarray]
    ) -> Tensor:
        rows = [*zip(self.seeds, self.names or [""] * len(self.seeds), strict=True)]
        drawn = {
            (seed, name): sample(generator_of(seed, self.tower, depth, kind, name))
            for seed, name in dict.fromkeys(rows)
        }
        return torch.from_numpy(np.stack([drawn[row] for row in rows]))


@dataclass(frozen=True)
class StreamDraws:
    """Fresh draws from one generator: what training uses."""

    generator: torch.Generator

    def uniform(self, depth: int, shape: tuple[int, int]) -> Tensor:
        return torch.rand(shape, generator=self.generator)

    def noise(self, depth: int, shape: tuple[int, int, int]) -> Tensor:
        return torch.randn(shape, generator=self.generator)


@dataclass(frozen=True)
class RowsOfDraws:
    """Some rows of a batch. All are drawn, so that who draws which rows changes none of them."""

    draws: Draws
    rows: Tensor  # (R,) int, of the batch
    batch: int

    def uniform(self, depth: int, shape: tuple[int, int]) -> Tensor:
        return self.draws.uniform(depth, (self.batch, shape[1]))[self.rows]

    def noise(self, depth: int, shape: tuple[int, int, int]) -> Tensor:
        return self.draws.noise(depth, (self.batch, *shape[1:]))[self.rows]
