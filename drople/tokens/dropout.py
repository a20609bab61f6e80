"""Token dropout on two axes: how likely a drop is (a strategy), what it does (a mode).

To add a strategy: one line of `STRATEGIES`. To add a mode: one entry of `DROP_MODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from drople.errors import EvidenceError, SettingsError
from drople.ranges import COUNT, FACTOR, SHARE, check_ranges
from drople.tokens.draws import Draws
from drople.tokens.importance import SignalWeights
from drople.tokens.normalise import NORMALISE, Normalisation
from drople.tokens.strategies import (
    DropStrategy,
    Evidence,
    ImportanceWeighted,
    Inverse,
    MeanRate,
    NoDropout,
    Vanilla,
)

Placement = Literal["next", "post"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


@dataclass(frozen=True)
class TokenDrop:
    """One layer's decision."""

    probability: Tensor  # (B, N), zero where not eligible
    uniform: Tensor  # (B, N), the draw u
    dropped: Tensor  # (B, N) bool, u < p


@dataclass(frozen=True)
class DropMode:
    """What a drop does to tokens (B, N, D), METHOD.md 3.5."""

    description: str  # one sentence
    change: Callable[[Tensor, TokenDrop, Callable[[], Tensor]], Tensor]  # the last: noise (B, N, D)
    removes: bool = False  # the activation is gone, so a map has no value there
    hides: bool = False  # from then on no other token attends to it


def _zero(tokens: Tensor, drop: TokenDrop, noise: Callable[[], Tensor]) -> Tensor:
    return tokens.masked_fill(drop.dropped[..., None], 0)


def _zero_scaled(tokens: Tensor, drop: TokenDrop, noise: Callable[[], Tensor]) -> Tensor:
    scale = 1 / (1 - drop.probability.clamp_max(1 - 1e-6))[..., None]  # (B, N, 1)
    return _zero(tokens, drop, noise) * scale.to(tokens.dtype)


DROP_MODES: dict[str, DropMode] = {
    "zero": DropMode("A dropped token is set to zero.", _zero, removes=True),
    "zero_scaled": DropMode(
        "A dropped token is set to zero and a kept one grows by 1 / (1 - p).",
        _zero_scaled,
        removes=True,
    ),
    "hide": DropMode(
        "No other token attends to a dropped one any more.",
        lambda tokens, drop, noise: tokens,
        hides=True,
    ),
    "noise": DropMode(
        "A dropped token is multiplied by 1 + sigma N(0, 1).",
        lambda tokens, drop, noise: tokens * (1 + noise() * drop.dropped[..., None]),
    ),
}


@dataclass(frozen=True)
class DropoutSettings:
    """A whole dropout in plain values, as a checkpoint stores it and a form shows it.

    Raises:
        SettingsError: a value is out of its range.
    """

    strategy: str = "iwtd"  # a key of STRATEGIES
    mode: str = "zero"  # a key of DROP_MODES
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
            ("strategy", STRATEGIES),
            ("mode", DROP_MODES),
            ("placement", PLACEMENTS),
            ("normalisation", NORMALISE),
        ):
            _check_choice(name, getattr(self, name), choices)
        check_ranges(self, _RANGES)
        if self.p_min > self.p_max:
            raise SettingsError(f"p_min ({self.p_min}) is above p_max ({self.p_max}); swap them.")


_RANGES = {
    **dict.fromkeys(("p", "p_min", "p_max"), SHARE),
    "sigma": FACTOR,
    **dict.fromkeys(("image_depth", "text_depth"), COUNT),
}


def _check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def _weighted(settings: DropoutSettings, weights: SignalWeights | None = None) -> DropStrategy:
    s = settings
    return ImportanceWeighted(s.p_min, s.p_max, weights or s.weights, s.normalisation)


STRATEGIES: dict[str, Callable[[DropoutSettings], DropStrategy]] = {
    "none": lambda s: NoDropout(),
    "vanilla": lambda s: Vanilla(s.p),
    "vanilla-matched": lambda s: MeanRate(_weighted(s)),
    "iwtd": _weighted,
    "self": lambda s: _weighted(s, SignalWeights(1, 0, 0)),
    "cls": lambda s: _weighted(s, SignalWeights(0, 1, 0)),
    "cross": lambda s: _weighted(s, SignalWeights(0, 0, 1)),
    "inverse": lambda s: Inverse(_weighted(s)),
}
# Beside no dropout and each other, where a rate is matched anyway.
COMPARED = tuple(name for name in STRATEGIES if name not in ("none", "vanilla-matched"))

OFFICIAL_CODE = DropoutSettings(mode="noise", placement="post", drop_sos=True)
"""What the released code does (METHOD.md 3.2, 3.4): nothing is dropped, chosen tokens get noise."""


def strategy_of(settings: DropoutSettings) -> DropStrategy:
    """The strategy that settings name, with their values."""
    return STRATEGIES[settings.strategy](settings)


def with_strategy(settings: DropoutSettings, strategy: str) -> DropoutSettings:
    """The same settings with another strategy."""
    return replace(settings, strategy=strategy)


@dataclass(frozen=True)
class TokenDropout:
    """A strategy, a mode, and when and with which randomness they act."""

    strategy: DropStrategy
    draws: Draws
    depth: int  # acts after each of the first `depth` layers
    mode: str = "zero"  # a key of DROP_MODES
    placement: Placement = "next"
    sigma: float = 0.03

    def __post_init__(self) -> None:
        _check_choice("mode", self.mode, DROP_MODES)
        _check_choice("placement", self.placement, PLACEMENTS)

    @classmethod
    def of(
        cls,
        settings: DropoutSettings,
        draws: Draws,
        *,
        depth: int,
        strategy: DropStrategy | None = None,
    ) -> TokenDropout:
        """The dropout that `settings` describe, for one branch; `strategy` instead of theirs."""
        own = strategy or strategy_of(settings)
        return cls(own, draws, depth, settings.mode, settings.placement, settings.sigma)

    @torch.no_grad()
    def draw(self, evidence: Evidence) -> TokenDrop:
        """Decides which tokens one layer drops; a decision carries no gradient."""
        eligible = evidence.eligible
        probability = self.strategy.probability(evidence).where(eligible, 0)
        uniform = self.draws.uniform(evidence.depth, (eligible.shape[0], eligible.shape[1]))
        uniform = uniform.to(probability.device)
        return TokenDrop(probability, uniform, uniform < probability)

    def erase(
        self, tokens: Tensor, hidden: Tensor | None, drop: TokenDrop, *, depth: int
    ) -> tuple[Tensor, Tensor | None]:
        """Carries a decision out on tokens (B, N, D) and hidden rows (B, N), METHOD.md 3.5."""
        mode = DROP_MODES[self.mode]
        if mode.hides:
            hidden = drop.dropped if hidden is None else hidden | drop.dropped
        B, N, D = tokens.shape

        def noise() -> Tensor:
            return self.sigma * self.draws.noise(depth, (B, N, D)).to(tokens)

        return mode.change(tokens, drop, noise), hidden


@dataclass(frozen=True)
class Replay(TokenDropout):
    """A dropout whose decisions were made before, depth -> decision."""

    decisions: Mapping[int, TokenDrop] = field(default_factory=dict)
    rescore: bool = False  # work p and u out anew, to see how far they are from the stored ones

    @classmethod
    def of_records(
        cls, dropout: TokenDropout, decisions: Mapping[int, TokenDrop], *, rescore: bool = False
    ) -> Replay:
        """Replays `decisions` the way `dropout` carried them out."""
        own = {f.name: getattr(dropout, f.name) for f in fields(TokenDropout)}
        return cls(**own, decisions=decisions, rescore=rescore)

    @torch.no_grad()
    def draw(self, evidence: Evidence) -> TokenDrop:
        decision = self.decisions.get(evidence.depth)
        if decision is None:
            raise EvidenceError(f"There are no drops after layer {evidence.depth + 1}.")
        if not self.rescore:
            return decision
        drawn = super().draw(evidence)
        rows, width = evidence.eligible.shape
        # Padding: of layers with fewer tokens than another, see `DrawBatch`.
        dropped, rest = decision.dropped[:, :width], decision.dropped[:, width:]
        if dropped.shape != (rows, width) or bool(rest.any()):
            raise EvidenceError(
                f"The drops after layer {evidence.depth + 1} are of {tuple(dropped.shape)} tokens; "
                f"the model has {(rows, width)}."
            )
        return replace(drawn, dropped=dropped)
