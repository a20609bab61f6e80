"""Token dropout on two axes: how likely a drop is (a strategy), what it does (a mode).

To add a mode: one branch of `TokenDropout.erase` and one name in `DropMode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from drople.errors import SettingsError
from drople.tokens.draws import Draws
from drople.tokens.importance import SignalWeights
from drople.tokens.normalise import NORMALISE, Normalisation
from drople.tokens.strategies import (
    DropStrategy,
    Evidence,
    ImportanceWeighted,
    Inverse,
    MeanRate,
    Nothing,
    Vanilla,
)

DropMode = Literal["zero", "zero_scaled", "hide", "noise"]
Placement = Literal["next", "post"]
DROP_MODES: tuple[DropMode, ...] = get_args(DropMode)
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


@dataclass(frozen=True)
class DropoutSettings:
    """A whole dropout in plain values, as a checkpoint stores it and a form shows it.

    Raises:
        SettingsError: a value is out of its range.
    """

    strategy: str = "iwtd"  # a key of STRATEGIES
    mode: DropMode = "zero"  # METHOD.md 3.5
    placement: Placement = "next"  # on entering the next layer, or right after the layer
    p: float = 0.3  # of vanilla dropout, where no rate is matched
    p_min: float = 0.1  # of the most important token
    p_max: float = 0.5  # of the least important token
    weights: SignalWeights = field(default_factory=SignalWeights)
    normalisation: Normalisation = "minmax"  # the released code's; the others are ours
    sigma: float = 0.03  # of the mode `noise`
    drop_sos: bool = False  # the released code lets [SOS] be dropped
    image_depth: int = 6  # acts after each of the first layers; capped at the tower's depth
    text_depth: int = 9

    def __post_init__(self) -> None:
        for name, choices in (
            ("strategy", tuple(STRATEGIES)),
            ("mode", DROP_MODES),
            ("placement", PLACEMENTS),
            ("normalisation", tuple(NORMALISE)),
        ):
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}."
                )
        for name in ("p", "p_min", "p_max"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must lie in [0, 1].")
        if self.p_min > self.p_max:
            raise SettingsError(f"p_min ({self.p_min}) is above p_max ({self.p_max}); swap them.")
        if min(self.weights.s_self, self.weights.s_cls, self.weights.s_cross) < 0:
            raise SettingsError(f"Signal weights must be at least 0, got {self.weights}.")
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise SettingsError(f"sigma is {self.sigma}; it must be at least 0.")


STRATEGIES: dict[str, Callable[[DropoutSettings], DropStrategy]] = {
    "none": lambda s: Nothing(),
    "vanilla": lambda s: Vanilla(s.p),
    "vanilla-matched": lambda s: MeanRate(STRATEGIES["iwtd"](s)),
    "iwtd": lambda s: ImportanceWeighted(s.p_min, s.p_max, s.weights, s.normalisation),
    "self": lambda s: ImportanceWeighted(s.p_min, s.p_max, SignalWeights(1, 0, 0), s.normalisation),
    "cls": lambda s: ImportanceWeighted(s.p_min, s.p_max, SignalWeights(0, 1, 0), s.normalisation),
    "cross": lambda s: ImportanceWeighted(
        s.p_min, s.p_max, SignalWeights(0, 0, 1), s.normalisation
    ),
    "inverse": lambda s: Inverse(STRATEGIES["iwtd"](s)),
}

OFFICIAL_CODE = DropoutSettings(mode="noise", placement="post", drop_sos=True)
"""What the released code does (METHOD.md 3.2, 3.4): nothing is dropped, chosen tokens get noise."""


def with_strategy(settings: DropoutSettings, strategy: str) -> DropoutSettings:
    """The same settings with another strategy."""
    return replace(settings, strategy=strategy)


@dataclass(frozen=True)
class TokenDrop:
    """One layer's decision."""

    probability: Tensor  # (B, N), zero where not eligible
    uniform: Tensor  # (B, N), the draw u
    dropped: Tensor  # (B, N) bool, u < p


@dataclass(frozen=True)
class TokenDropout:
    """A strategy, a mode, and when and with which randomness they act."""

    strategy: DropStrategy
    draws: Draws
    depth: int  # acts after each of the first `depth` layers
    mode: DropMode = "zero"
    placement: Placement = "next"
    sigma: float = 0.03

    @classmethod
    def of(cls, settings: DropoutSettings, draws: Draws, *, depth: int) -> TokenDropout:
        """The dropout that `settings` describe, for one branch."""
        strategy = STRATEGIES[settings.strategy](settings)
        return cls(strategy, draws, depth, settings.mode, settings.placement, settings.sigma)

    @torch.no_grad()
    def draw(self, evidence: Evidence) -> TokenDrop:
        """Decides which tokens one layer drops; a decision carries no gradient."""
        eligible = evidence.eligible
        probability = self.strategy.probability(evidence).where(eligible, 0)
        uniform = self.draws.uniform(evidence.depth, (eligible.shape[0], eligible.shape[1]))
        uniform = uniform.to(probability.device)
        return TokenDrop(probability, uniform, uniform < probability)

    def erase(
        self, tokens: Tensor, hidden: Tensor | None, drop: TokenDrop, depth: int
    ) -> tuple[Tensor, Tensor | None]:
        """Carries a decision out on tokens (B, N, D) and hidden rows (B, N), METHOD.md 3.5."""
        gone = drop.dropped[..., None]  # (B, N, 1)
        if self.mode == "zero":
            return tokens.masked_fill(gone, 0), hidden
        if self.mode == "zero_scaled":
            scale = 1 / (1 - drop.probability.clamp_max(1 - 1e-6))[..., None]
            return tokens.masked_fill(gone, 0) * scale.to(tokens.dtype), hidden
        if self.mode == "hide":
            return tokens, drop.dropped if hidden is None else hidden | drop.dropped
        shape = (tokens.shape[0], tokens.shape[1], tokens.shape[2])
        noise = self.draws.noise(depth, shape).to(tokens)
        return tokens * (1 + self.sigma * noise * gone), hidden


@dataclass(frozen=True)
class Replay(TokenDropout):
    """A dropout whose decisions were made before, depth -> decision."""

    decisions: Mapping[int, TokenDrop] = field(default_factory=dict)
    rescore: bool = False  # work p out anew, to see how far it is from the stored one

    @classmethod
    def of_records(
        cls, dropout: TokenDropout, decisions: Mapping[int, TokenDrop], *, rescore: bool = False
    ) -> Replay:
        """Replays `decisions` the way `dropout` carried them out."""
        return cls(
            dropout.strategy,
            dropout.draws,
            dropout.depth,
            dropout.mode,
            dropout.placement,
            dropout.sigma,
            decisions,
            rescore,
        )

    @torch.no_grad()
    def draw(self, evidence: Evidence) -> TokenDrop:
        decision = self.decisions[evidence.depth]
        if not self.rescore:
            return decision
        probability = self.strategy.probability(evidence).where(evidence.eligible, 0)
        return replace(decision, probability=probability)
