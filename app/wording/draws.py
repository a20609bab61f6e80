"""What many draws say of the answer: a row a dropout, and in words."""

from __future__ import annotations

from app.figures.theme import CONDITION_NAMES
from drople.lab.uncertainty import DrawStatistics
from drople.statistics.intervals import mean_interval, wilson_interval

HEADERS = (
    "dropout", "draws", "class looked at: mean", "95 % interval", "sd", "answers that flip",
    "flip rate", "95 % interval (Wilson)",
)  # fmt: skip


def draws_rows(found: dict[str, DrawStatistics]) -> list[list[str]]:
    """The rows under `HEADERS`."""
    return [_row(name, one) for name, one in found.items()]


def _row(name: str, one: DrawStatistics) -> list[str]:
    interval = mean_interval(one.probabilities)
    low, high = wilson_interval(one.flips, one.count)
    known = interval is not None
    return [
        CONDITION_NAMES[name],
        f"{one.count}",
        f"{one.probabilities.mean():.3f}",
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "–",
        f"{one.probabilities.std(ddof=1):.3f}" if known else "–",
        f"{one.flips} of {one.count}",
        f"{100 * one.flips / one.count:.0f} %",
        f"{100 * low:.0f} to {100 * high:.0f} %" if known else "–",
    ]


def draws_sentence(
    found: dict[str, DrawStatistics], classes: tuple[str, ...], target: int, *, first_seed: int
) -> str:
    """What the draws so far say; one draw is called one draw."""
    some = next(iter(found.values()))
    if some.count == 1:
        flips = [CONDITION_NAMES[name] for name, one in found.items() if one.flips]
        changed = f"{' and '.join(flips)} changes the answer" if flips else "the answer stays"
        return f"One draw (seed {first_seed}): {changed}. One draw says nothing of how often."
    parts = []
    for name, one in found.items():
        low, high = wilson_interval(one.flips, one.count)
        parts.append(
            f"{CONDITION_NAMES[name]} changes the answer in {one.flips} of them "
            f"({100 * low:.0f} to {100 * high:.0f} %) and gives {classes[target]} "
            f"{one.probabilities.mean():.2f} on average"
        )
    seeds = f"{some.count} draws (seeds {first_seed} to {first_seed + some.count - 1})"
    return f"{seeds}: " + "; ".join(parts) + "."
