"""What the overview shows of the forward without dropout: shares, p and maps, token by token.

Tokens are the patches, row-major, then the learned prompts; never [CLS]. A layer with fewer
prompts than another is filled up with NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.paired_draws import would_drop
from drople.traces import LayerTrace

Importance = dict[str, dict[str, np.ndarray]]  # branch -> signal -> shares (L, T)


@dataclass(frozen=True)
class Undropped:
    """An analysis's undropped branches as arrays over T tokens."""

    analysis: Analysis
    pair: tuple[str, str]  # keys of STRATEGIES

    @property
    def branch(self) -> str:
        """The branch that the dropouts act on."""
        return self.analysis.branch

    @property
    def layers(self) -> tuple[LayerTrace, ...]:
        """That branch's layers without dropout, L of them."""
        return self.analysis.images[self.branch].layers

    @property
    def depth(self) -> int:
        """D, the layers after which dropout acts."""
        return min(self.analysis.settings.dropout.image_depth, len(self.layers))

    @property
    def grid(self) -> tuple[int, int]:
        grid = self.layers[0].grid
        assert grid is not None
        return grid

    @cached_property
    def width(self) -> int:
        """T, the most tokens that any layer has."""
        known = [one for trace in self.analysis.images.values() for one in trace.layers]
        return max(one.blend.shape[1] for one in known) - 1

    def _tokens(self, values: np.ndarray) -> np.ndarray:
        """A layer's values (N,) without [CLS], filled up to (T,)."""
        filled = np.full(self.width, np.nan, np.float32)
        filled[: len(values) - 1] = values[1:]
        return filled

    @cached_property
    def importance(self) -> Importance:
        """Each layer's shares sum to 1."""
        branches = [FROZEN, ADAPTED] if self.analysis.adapted else [FROZEN]
        return {
            branch: {
                signal: np.stack([self._shares(one, signal) for one in trace.layers])
                for signal in ("blend", *trace.layers[0].shares)
            }
            for branch, trace in ((b, self.analysis.images[b]) for b in branches)
        }

    def _shares(self, layer: LayerTrace, signal: str) -> np.ndarray:
        shares = layer.blend if signal == "blend" else layer.shares[signal]
        return self._tokens(np.where(layer.content[0], shares[0], np.nan))

    @cached_property
    def p(self) -> dict[str, np.ndarray]:
        """What each would give on the undropped forward, (D, T); `ranked`: the first, by rank."""
        settings = self.analysis.settings
        by_rank = replace(settings, dropout=replace(settings.dropout, normalisation="rank"))
        rows: dict[str, list[np.ndarray]] = {name: [] for name in (*self.pair, "ranked")}
        for layer in self.layers[: self.depth]:
            given = would_drop(layer, settings, self.pair)
            given["ranked"] = would_drop(layer, by_rank, self.pair)[self.pair[0]]
            for name, values in given.items():
                rows[name].append(self._tokens(values))
        return {name: np.array(row).reshape(-1, self.width) for name, row in rows.items()}

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        maps = self.analysis.maps
        return {
            branch: np.where(maps.unavailable[branch], np.nan, maps.values[branch])
            for branch in self.importance
        }
