"""What the overview says in words, made from its numbers and claiming no more than they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.figures.theme import CONDITION_NAMES
from app.wording.sentences import inside, place
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.conditions import Prediction
from drople.decisions import ALIKE, LayerDecisions, Reason, reason_of
from drople.statistics.intervals import wilson_interval
from drople.storage.verdicts import Verdict
from drople.tokens.dropout import DROP_MODES

NEAR = 0.05  # two probabilities this close are told together
NO_PROMPTS = "no prompts loaded: our choice"
NOT_MEASURED = "Not measured for this backbone."
OWN_SIGNAL = {"self": "s_self", "cls": "s_cls", "cross": "s_cross"}  # strategies of one signal


@dataclass(frozen=True)
class Drawn:
    """What the draws so far say."""

    seeds: tuple[int, ...]  # n
    layers: list[LayerDecisions]  # D
    answers: dict[str, np.ndarray]  # strategy -> (n,) class indices
    rates: dict[str, np.ndarray]  # strategy -> (n, D) mean p; NaN where nothing was eligible

    def flips(self, plain: int) -> dict[str, int]:
        """In how many draws each dropout gives another class than this one."""
        return {name: int((answers != plain).sum()) for name, answers in self.answers.items()}

    def over(self) -> str:
        """What a sentence about them begins with."""
        if len(self.seeds) == 1:
            return f"In one draw (seed {self.seeds[0]})"
        return f"Over {len(self.seeds)} draws"


# --- the answer -------------------------------------------------------------------------------


def answer_sentence(analysis: Analysis, pair: tuple[str, str], drawn: Drawn | None) -> str:
    """What each branch answers and, with draws, whether the dropouts decide and answer alike."""
    branches = [b for b in (FROZEN, ADAPTED) if b in analysis.predictions]
    said = [
        f"{inside(branch) if i else CONDITION_NAMES[branch]}: "
        + _likeliest(analysis.classes, analysis.predictions[branch])
        for i, branch in enumerate(branches)
    ]
    answer = ", ".join(said) + "."
    if drawn is None:
        return answer
    plain = analysis.answer
    decisions = sum(one.decisions for one in drawn.layers)
    if not decisions:
        return f"{answer} With these settings no dropout acts on the picture."
    differ = sum(one.differ for one in drawn.layers)
    return (
        f"{answer} {drawn.over()}, given the same random numbers, {inside(pair[0])} decides like "
        f"{inside(pair[1])} in {_share(decisions - differ, decisions)} decisions; "
        f"{_flips(analysis.classes, pair, drawn, plain=plain)}"
    )


def _likeliest(classes: Sequence[str], said: Prediction) -> str:
    """The likeliest class with its probability, and the next one where it is near."""
    p = said.probabilities
    order = np.argsort(-p, kind="stable")
    best = f"{classes[order[0]]} {p[order[0]]:.2f}"
    if len(order) == 1:
        return f"{best} (the only class listed)"
    close = p[order[0]] - p[order[1]] < NEAR
    return f"{best} ({classes[order[1]]} {p[order[1]]:.2f})" if close else best


def _share(part: int, whole: int) -> str:
    """How many of how many; never rounded to all or none where it is not."""
    if part in (0, whole):
        return f"{'all' if part else 'none of'} {whole:,}"
    percent = min(max(100 * part / whole, 0.1), 99.9)
    return f"{percent:.1f} % of {whole:,}"


def _flips(classes: Sequence[str], pair: tuple[str, str], drawn: Drawn, *, plain: int) -> str:
    """How often each dropout changes the answer of the undropped branch."""
    count = len(drawn.seeds)
    flips = [drawn.flips(plain)[name] for name in pair]
    if not any(flips):
        return "neither changes the answer." if count == 1 else "the answer never changes."
    if count == 1:
        said = [
            f"{inside(name)} changes the answer to {classes[drawn.answers[name][0]]}"
            if flipped
            else f"{inside(name)} keeps the answer"
            for name, flipped in zip(pair, flips, strict=True)
        ]
        return f"{said[0]}, {said[1]}."
    (low_a, high_a), (low_b, high_b) = (wilson_interval(one, count) for one in flips)
    unclear = flips[0] != flips[1] and low_a <= high_b and low_b <= high_a
    return (
        f"the answer changes in {flips[0]} draw{'' if flips[0] == 1 else 's'} under "
        f"{inside(pair[0])}, in {flips[1]} under {inside(pair[1])}"
        f"{' (no clear difference)' if unclear else ''}."
    )


# --- one layer --------------------------------------------------------------------------------


def dropped_sentence(layer: int, pair: tuple[str, str], drawn: Drawn) -> str:
    """How two dropouts' decisions after one layer (from 0) compare, beside what chance gives."""
    one = drawn.layers[layer]
    over = f"{drawn.over()}, after layer {layer + 1},"
    if not one.decisions:
        return f"{over} no token is left that both could drop."
    a, b = (inside(name) for name in pair)
    verb = "differs" if one.differ == 1 else "differ"
    differ, both = f"{one.differ:,} of {one.decisions:,} decisions {verb}", "both drop"
    if one.differ:
        a, b = a.removesuffix(" alone"), b.removesuffix(" alone")  # of "s_cls alone"
        differ += f": {a} alone drops {one.only_a:,}, {b} alone {one.only_b:,}"
        both = "both"
    chance = f"{one.chance_both:,.0f}" if one.chance_both >= 10 else f"{one.chance_both:.1f}"
    return f"{over} {differ}; {both} {one.both:,} ({chance} if independent)."


def reason_sentence(
    layer: int,
    pair: tuple[str, str],
    p: Mapping[str, np.ndarray],
    *,
    importance: Mapping[str, np.ndarray],
    limits: tuple[float, float],
    grid: tuple[int, int],
    drawn: Drawn | None,
) -> str:
    """Why few decisions differ after one layer (from 0); empty where more than ALIKE do.

    Args:
        p: strategy -> (D, T) on the undropped forward.
        importance: signal -> (L, T).
        limits: p_min, p_max.
    """
    a, b = (p[name][layer] for name in pair)
    share = _differing(a, b, drawn.layers[layer] if drawn else None)
    if share is None or share > ALIKE:
        return ""
    few = f"Only {_percent(share)} differ" if share else "None differs"
    if drawn is None:
        few = f"About {_percent(share)} should differ" if share else "None should differ"
    even = [bool(np.ptp(one[np.isfinite(one)]) < 1e-6) for one in (a, b)]
    if all(even):
        return f"{few} because both give every token the same p, {np.nanmean(a):.2f}."
    if not any(even):
        return ""
    weighted = even.index(False)
    values, signal = (a, b)[weighted], OWN_SIGNAL.get(pair[weighted], "blend")
    rates = np.nanmean(values, keepdims=True)
    if drawn is not None:
        rates = drawn.rates[pair[weighted]][:, layer]
        rates = rates[np.isfinite(rates)]
    found = reason_of(
        values,
        importance.get(signal, importance["blend"])[layer],
        p_min=limits[0],
        p_max=limits[1],
        rates=rates,
    )
    if found is None:
        return ""
    return f"{few} because {_cause(found, float(rates.mean()), limits, grid=grid)}."


def _percent(share: float) -> str:
    """A share that is not 0, never rounded to it."""
    return f"{max(100 * share, 0.1):.1f} %"


def _differing(a: np.ndarray, b: np.ndarray, counted: LayerDecisions | None) -> float | None:
    """Share of the decisions that differ: as counted, or as expected of p (T,); None without."""
    if counted is not None:
        return counted.differ / counted.decisions if counted.decisions else None
    gap = np.abs(a - b)
    return float(np.nanmean(gap)) if np.isfinite(gap).any() else None


def _cause(
    found: Reason, mean: float, limits: tuple[float, float], *, grid: tuple[int, int]
) -> str:
    if found.kind == "flat":
        return "importance is nearly the same for all tokens here"
    if found.kind == "one_token":
        assert found.token is not None
        return (
            f"one token, {place(found.token, grid)}, takes {100 * found.share:.0f} % of the "
            "min-max range and leaves the rest of it to all others"
        )
    low, high = limits
    near_top = high - mean < (high - low) / 4
    why = (
        f"p averages {mean:.2f}, near its upper end {high:g}"
        if near_top
        else f"p may only lie between {low:g} and {high:g}"
    )
    return (
        f"{why}: whatever the importance, at this rate no more than {100 * found.share:.1f} % of "
        "the decisions would differ on average"
    )


def ranked_sentence(name: str, p: np.ndarray, ranked: np.ndarray) -> str:
    """What ranking importance would do to one layer's p (T,), on the undropped forward."""
    known = ranked[np.isfinite(ranked)]
    if not len(known):
        return ""
    if np.allclose(p, ranked, equal_nan=True, atol=1e-6):
        return f"If ranked (ours, not the released code's): nothing changes for {inside(name)}."
    gap = float(np.abs(known - known.mean()).mean())
    return (
        f"If ranked (ours, not the released code's): p from {known.min():.2f} to {known.max():.2f} "
        f"in even steps; about {100 * gap:.1f} % of the decisions would differ from vanilla "
        f"dropout at ranked's own mean rate, {known.mean():.2f}."
    )


def after_depth_sentence(depth: int) -> str:
    """What stands where a layer has no dropout."""
    if depth == 0:
        return "No dropout acts on the picture with these settings."
    first = "the first layer" if depth == 1 else f"the first {depth} layers"
    return f"No dropout after this layer: it acts on {first}."


def notes_of(analysis: Analysis) -> list[str]:
    """What a reader must know of the settings before any number."""
    dropout, mode = analysis.settings.dropout, DROP_MODES[analysis.settings.dropout.mode]
    notes = [] if analysis.adapted else [NO_PROMPTS]
    if dropout.normalisation != "minmax":
        notes.append(f"normalisation {dropout.normalisation}: ours")
    if not mode.removes and not mode.hides:
        notes.append(f"mode {dropout.mode}: “dropped” is only perturbed")
    return notes


# --- the verdict ------------------------------------------------------------------------------


def verdict_sentence(analysis: Analysis, pair: tuple[str, str], measured: Sequence[Verdict]) -> str:
    """What training with each dropout was measured to change, with these very weights.

    Args:
        measured: those on the backbone's weights.
    """
    if not measured:
        return NOT_MEASURED
    if {*pair} != {"iwtd", "vanilla"}:
        return "Not measured for these two dropouts."
    dropout = analysis.settings.dropout
    asked = (dropout.mode, dropout.p_min, dropout.p_max, dropout.normalisation)
    for one in measured:
        if (one.mode, one.p_min, one.p_max, one.normalisation) == asked:
            return _measured(one)
    known = sorted(
        {f"{one.mode}, p {one.p_min:g} to {one.p_max:g}, {one.normalisation}" for one in measured}
    )
    return f"Not measured with these settings; for this backbone there is {'; '.join(known)}."


def _measured(one: Verdict) -> str:
    low, high = one.interval
    shown = "no difference shown" if low <= 0 <= high else "a difference"
    tasks = ", ".join(task.removeprefix("fewshot_") for task in one.tasks)
    return (
        f"Trained with ({tasks}; {len(one.seeds)} seeds; {one.mode}, p {one.p_min:g} to "
        f"{one.p_max:g}): IWTD minus vanilla dropout is {_signed(one.difference)} "
        f"[{_signed(low)}, {_signed(high)}] points of harmonic mean: {shown}."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
