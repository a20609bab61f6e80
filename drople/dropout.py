"""Token dropout on two axes: how likely a drop is (a strategy), what it does (a mode).

To add a strategy: one small frozen dataclass and one line of `STRATEGIES`. To add a mode: one
branch of `TokenDropout.erase` and one name in `DROP_MODES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from drople.draws import Draws
from drople.errors import SettingsError
from drople.importance import SignalWeights, TokenImportance
from drople.normalise import NORMALISE, Normalisation

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
    normalisation: Normalisation = "minmax"  # the published one; the others are ours
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


# --- strategies: how likely each token is dropped ---------------------------------------


@dataclass(frozen=True)
class Evidence:
    """All that a strategy may look at, for one layer."""

    depth: int
    importance: TokenImportance | None  # None where nothing is scored
    content: Tensor  # (B, N) bool, rows that have an importance
    eligible: Tensor  # (B, N) bool, rows that may be dropped now: droppable and not hidden yet

    def scores(self) -> TokenImportance:
        """The importance, which this strategy cannot do without."""
        if self.importance is None:
            raise ValueError("this strategy needs token importance: run the layers with score=True")
        return self.importance

    def row(self, index: int) -> Evidence:
        """The evidence of one row of the batch, still batched (1, N)."""
        one = slice(index, index + 1)
        scored = self.importance
        if scored is not None:
            cross = None if scored.s_cross is None else scored.s_cross[one]
            totals = {name: total[one] for name, total in scored.totals.items()}
            scored = TokenImportance(scored.s_self[one], scored.s_cls[one], cross, totals)
        return Evidence(self.depth, scored, self.content[one], self.eligible[one])


class DropStrategy(Protocol):
    """Decides how likely each token is to be dropped."""

    def probability(self, evidence: Evidence) -> Tensor:
        """Returns (B, N) in [0, 1]; rows that are not eligible are ignored by the caller."""


@dataclass(frozen=True)
class Nothing:
    """No token is dropped."""

    def probability(self, evidence: Evidence) -> Tensor:
        return torch.zeros(evidence.eligible.shape, device=evidence.eligible.device)


@dataclass(frozen=True)
class Vanilla:
    """Every eligible token alike."""

    p: float = 0.3

    def probability(self, evidence: Evidence) -> Tensor:
        return torch.full(evidence.eligible.shape, self.p, device=evidence.eligible.device)


@dataclass(frozen=True)
class ImportanceWeighted:
    """IWTD: p = p_max - I~ (p_max - p_min), I~ the blend brought to [0, 1] (METHOD.md 3.1).

    The least important token drops with p_max, the most important with p_min; where all are
    equally important, all drop with p_max, as in the released code.
    """

    p_min: float = 0.1
    p_max: float = 0.5
    weights: SignalWeights = field(default_factory=SignalWeights)
    normalisation: Normalisation = "minmax"

    def probability(self, evidence: Evidence) -> Tensor:
        blend = evidence.scores().blend(self.weights)
        scope = evidence.eligible if self.normalisation == "minmax_eligible" else evidence.content
        level = NORMALISE[self.normalisation](blend, scope)
        return self.p_max - level.clamp(0, 1) * (self.p_max - self.p_min)


@dataclass(frozen=True)
class MeanRate:
    """Vanilla dropout at the rate of `of`: each row's mean p over its eligible tokens."""

    of: DropStrategy

    def probability(self, evidence: Evidence) -> Tensor:
        p = self.of.probability(evidence)
        return drop_rate(p, evidence.eligible)[:, None].expand_as(p)


@dataclass(frozen=True)
class Inverse:
    """A control: the very p of `of`, dealt out in reversed rank, so that the rate is the same."""

    of: DropStrategy

    def probability(self, evidence: Evidence) -> Tensor:
        p = self.of.probability(evidence)
        dealt = torch.zeros_like(p)
        for row, eligible in enumerate(evidence.eligible):
            index = eligible.nonzero().flatten()
            order = index[p[row, index].argsort(stable=True)]
            dealt[row, order] = p[row, order.flip(0)]
        return dealt


@dataclass(frozen=True)
class SideBySide:
    """One strategy for each row of a batch that holds the same image again and again.

    Matched rate (DESIGN 4): a row named in `matched` takes, at every layer, the mean p over the
    eligible tokens of its reference row; its own p are shifted by a constant, clipped to [0, 1].
    Vanilla dropout so gets one p for all tokens: the reference's mean.
    """

    rows: tuple[DropStrategy, ...]
    matched: Mapping[int, int] = field(default_factory=dict)  # row -> the row that sets its rate

    def probability(self, evidence: Evidence) -> Tensor:
        shares = [one.probability(evidence.row(i)) for i, one in enumerate(self.rows)]
        p = torch.cat(shares)  # (B, N)
        rate = drop_rate(p, evidence.eligible)  # (B,)
        for row, reference in self.matched.items():
            p[row] = shift_to_rate(p[row], evidence.eligible[row], float(rate[reference]))
        return p


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


def drop_rate(probability: Tensor, eligible: Tensor) -> Tensor:
    """Mean p over the eligible rows: (B, N), (B, N) -> (B,); 0 where no row is eligible."""
    return probability.where(eligible, 0).sum(dim=-1) / eligible.sum(dim=-1).clamp_min(1)


def shift_to_rate(p: Tensor, eligible: Tensor, rate: float) -> Tensor:
    """Adds one constant to p (N,) and clips to [0, 1], so that its mean over `eligible` is `rate`.

    The order of the tokens stays. The constant is found by bisection to 1e-9.
    """
    mine = p[eligible].double()
    if not len(mine):
        return p
    low, high = -1.0, 1.0
    for _ in range(32):
        middle = (low + high) / 2
        below = float((mine + middle).clamp(0, 1).mean()) < rate
        low, high = (middle, high) if below else (low, middle)
    return (p.double() + (low + high) / 2).clamp(0, 1).to(p.dtype)


# --- the dropout itself ---------------------------------------------------------------------


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


def matched_rows(
    strategies: Sequence[DropStrategy], reference: int, *, match: bool = True
) -> SideBySide:
    """Rows side by side, each but `Nothing` at the rate of the `reference` row if `match`."""
    matched = {
        row: reference
        for row, one in enumerate(strategies)
        if match and row != reference and not isinstance(one, Nothing)
    }
    return SideBySide(tuple(strategies), matched)


def with_strategy(settings: DropoutSettings, strategy: str) -> DropoutSettings:
    """The same settings with another strategy."""
    return replace(settings, strategy=strategy)
