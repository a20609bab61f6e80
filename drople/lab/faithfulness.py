"""Deletion and insertion: does a map's order of patches matter to the model more than chance?

Petsiuk et al., "RISE", BMVC 2018, at patch level. Both look at ranks alone and feed pictures that
no one ever took, so two replacements stand beside each other, and baselines beside every map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from drople.lab.patch_maps import CENTRE, EDGES, RANDOM, patch_order
from drople.statistics.intervals import prediction_interval

Direction = Literal["deletion", "insertion"]
Quantity = Literal["probability", "cosine"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
MEAN_COLOUR, BLURRED = "mean colour", "blurred picture"

# Pictures (B, S, S, 3) uint8 -> probability and cosine of the class looked at, (B, 2)
Ask = Callable[[np.ndarray], np.ndarray]


def mean_coloured(pixels: np.ndarray, patch: int) -> np.ndarray:
    """The mean colour of a picture (S, S, 3) everywhere."""
    return np.broadcast_to(pixels.mean(axis=(0, 1)).round().astype(np.uint8), pixels.shape)


def blurred(pixels: np.ndarray, patch: int) -> np.ndarray:
    """A picture (S, S, 3) under a Gaussian whose sd is one patch."""
    soft = ndimage.gaussian_filter(pixels.astype(float), (patch, patch, 0), mode="nearest")
    return soft.round().astype(np.uint8)


REPLACEMENTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    MEAN_COLOUR: mean_coloured,
    BLURRED: blurred,
}


@dataclass(frozen=True)
class Curve:
    """What the model says while patches go, or come back, in one order."""

    shares: np.ndarray  # (T,) of the patches deleted or inserted, from 0 to 1
    probability: np.ndarray  # (T,) of the class looked at
    cosine: np.ndarray  # (T,)

    def values(self, quantity: Quantity) -> np.ndarray:
        return self.probability if quantity == "probability" else self.cosine

    def area(self, quantity: Quantity) -> float:
        """Area under the curve: the mean over the shares, by the trapezoidal rule."""
        return float(np.trapezoid(self.values(quantity), self.shares))

    def mirrored(self) -> Curve:
        """The other direction along the reversed order, which shows the very same pictures."""
        return Curve(1 - self.shares[::-1], self.probability[::-1], self.cosine[::-1])


@dataclass(frozen=True)
class Erasure:
    """One picture and what its patches are replaced by, with both ends already asked."""

    pixels: np.ndarray  # (S, S, 3) uint8
    other: np.ndarray  # (S, S, 3) uint8, wholly replaced
    grid: tuple[int, int]
    ends: np.ndarray  # (2, 2): whole and wholly replaced; probability, cosine

    @classmethod
    def of(
        cls, ask: Ask, pixels: np.ndarray, grid: tuple[int, int], *, replacement: str
    ) -> Erasure:
        """Asks about the whole picture and the wholly replaced one."""
        other = REPLACEMENTS[replacement](pixels, pixels.shape[0] // grid[0])
        return cls(pixels, other, grid, ask(np.stack([pixels, other])))

    def curve(self, ask: Ask, order: np.ndarray, direction: Direction) -> Curve:
        """As many steps as the grid has rows, each of equally many patches."""
        steps = self.grid[0]
        counts = np.round(np.linspace(0, order.size, steps + 1)).astype(int)
        deletes = direction == "deletion"
        pictures = [self._picture(order[:n], deletes=deletes) for n in counts[1:-1]]
        first, last = self.ends if deletes else self.ends[::-1]
        outputs = np.vstack([first, ask(np.stack(pictures)), last])
        return Curve(counts / order.size, outputs[:, 0], outputs[:, 1])

    def _picture(self, chosen: np.ndarray, *, deletes: bool) -> np.ndarray:
        rows, columns = self.grid
        shown = np.full(rows * columns, deletes)
        shown[chosen] = not deletes
        tile = np.ones((self.pixels.shape[0] // rows, self.pixels.shape[1] // columns), dtype=bool)
        return np.where(np.kron(shown.reshape(self.grid), tile)[..., None], self.pixels, self.other)


@dataclass(frozen=True, order=True)
class Measure:
    """One way to judge an order."""

    direction: Direction
    replacement: str

    @property
    def sign(self) -> int:
        """-1 where a small area is good."""
        return -1 if self.direction == "deletion" else 1


MEASURES = tuple(Measure(d, r) for r, d in product(REPLACEMENTS, DIRECTIONS))


@dataclass(frozen=True)
class Faithfulness:
    """All curves there are so far, by measure."""

    curves: Mapping[Measure, Mapping[str, Curve]] = field(default_factory=dict)  # by map's name
    random: Mapping[Measure, tuple[Curve, ...]] = field(default_factory=dict)

    def with_curve(self, measure: Measure, name: str, curve: Curve) -> Faithfulness:
        """The same and one curve more."""
        own = {**self.curves.get(measure, {}), name: curve}
        return Faithfulness({**self.curves, measure: own}, self.random)

    def with_random(self, measure: Measure, curve: Curve) -> Faithfulness:
        """The same and one random order's curve more."""
        own = (*self.random.get(measure, ()), curve)
        return Faithfulness(self.curves, {**self.random, measure: own})

    def areas(self, measure: Measure, quantity: Quantity) -> dict[str, float]:
        """Area of each map under one measure."""
        return {name: one.area(quantity) for name, one in self.curves.get(measure, {}).items()}

    def random_areas(self, measure: Measure, quantity: Quantity) -> np.ndarray:
        """Areas (n,) of the random orders."""
        return np.array([one.area(quantity) for one in self.random.get(measure, ())])

    def beats_baselines(self, name: str, measure: Measure, quantity: Quantity) -> bool | None:
        """Whether a map is better than centre, edges and 95 % of random orders; None: unknown."""
        areas = self.areas(measure, quantity)
        interval = prediction_interval(self.random_areas(measure, quantity))
        if interval is None or not {name, CENTRE, EDGES} <= areas.keys():
            return None
        rivals = [areas[CENTRE], areas[EDGES], *interval]
        return all(measure.sign * areas[name] > measure.sign * rival for rival in rivals)

    def swapped_pairs(self, first: Measure, second: Measure, quantity: Quantity) -> tuple[int, int]:
        """Of all pairs of maps, how many two measures put in opposite orders; and all pairs."""
        a, b = (self.areas(one, quantity) for one in (first, second))
        pairs = list(combinations(sorted(a.keys() & b.keys()), 2))
        sign = first.sign * second.sign
        return sum(sign * (a[x] - a[y]) * (b[x] - b[y]) < 0 for x, y in pairs), len(pairs)


@dataclass(frozen=True)
class Step:
    """One curve further."""

    done: int
    count: int  # curves in all
    name: str  # of the map just measured, or RANDOM
    result: Faithfulness


def run_erasures(
    ask: Ask, pixels: np.ndarray, maps: Mapping[str, np.ndarray], *,
    replacements: Sequence[str], orders: int, seed: int,
) -> Iterator[Step]:  # fmt: skip
    """Yields the result after every curve: one replacement after the other.

    A random order serves both directions: its deletion is its reverse's insertion, and that is a
    random order too.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        maps: by name, (G, G), the baselines among them.
        orders: how many random orders stand beside them.
        seed: of the random orders and of how ties are broken.
    """
    grid = next(iter(maps.values())).shape
    rng = np.random.default_rng(seed)
    ordered = {name: patch_order(values, rng) for name, values in maps.items()}
    chance = [rng.permutation(grid[0] * grid[1]) for _ in range(orders)]
    count = len(replacements) * (len(DIRECTIONS) * len(maps) + orders)
    result, done = Faithfulness(), 0
    for replacement in replacements:
        deletion, insertion = (Measure(direction, replacement) for direction in DIRECTIONS)
        erasure = Erasure.of(ask, pixels, (grid[0], grid[1]), replacement=replacement)
        for name, order in ordered.items():
            for measure in (deletion, insertion):
                curve = erasure.curve(ask, order, measure.direction)
                result, done = result.with_curve(measure, name, curve), done + 1
                yield Step(done, count, name, result)
        for order in chance:
            curve = erasure.curve(ask, order, "deletion")
            result = result.with_random(deletion, curve).with_random(insertion, curve.mirrored())
            done += 1
            yield Step(done, count, RANDOM, result)
