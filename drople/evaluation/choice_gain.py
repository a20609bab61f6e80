"""Choice against gain: does IWTD gain more over vanilla dropout where the two differ more?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from drople.evaluation import markdown
from drople.evaluation.bootstrap import NO_DIFFERENCE, Interval, mean_difference
from drople.evaluation.choice import Choice, ChoiceResult
from drople.evaluation.tables import Row, Table, resampled, shared_seeds
from drople.statistics.correlation import spearman

VANILLA = "drople-vanilla"
_ALIKE = ("dropout.mode", "dropout.p_min", "dropout.p_max")  # in a row and in its vanilla row
_VARIED = (*_ALIKE, "dropout.normalisation", "dropout.weights.s_cross")


@dataclass(frozen=True)
class ChoiceAndGain:
    """One setting of IWTD over the tasks that have both figures."""

    setting: str
    choices: tuple[Choice, ...]  # one a task
    vanilla_p: float  # mean p of the vanilla rows, percent
    gain: Interval  # over vanilla dropout, in percent points of the deciding column

    @property
    def differing(self) -> float:
        """Decisions that differ from vanilla dropout's at the same rate, in percent."""
        return mean(choice.differing for choice in self.choices)


def choices_and_gains(
    tables: Sequence[Table], measured: Sequence[ChoiceResult]
) -> list[ChoiceAndGain]:
    """Every setting of IWTD with a vanilla row in its mode and range, least choice first.

    Vanilla dropout is matched to IWTD under min-max: under another normalisation IWTD drops at
    another rate, which the two mean p tell.

    Args:
        tables: base-to-novel tables of one backbone, on test images.
        measured: how far IWTD chooses; what was measured on a model counts for rows that differ
            from it in normalisation alone.
    """
    found: dict[tuple[object, ...], list[tuple[Row, Row, Choice, float]]] = {}
    for table in tables:
        for row in table.rows:
            vanilla = _vanilla_of(row, table)
            choices = _measured(row, table, measured)
            if vanilla and choices and shared_seeds(row, vanilla):
                config = row.results[0].config
                key = tuple(config[name] for name in _VARIED)
                choice = choices[config["dropout.normalisation"]]
                found.setdefault(key, []).append((row, vanilla, choice, choices["minmax"].mean_p))
    gains = []
    for key, tasks in found.items():
        if len(tasks) == len(tables):
            pairs = [resampled(row, vanilla) for row, vanilla, _, _ in tasks]
            gain = mean_difference(pairs, tables[0].columns[-1])
            measured_on = tuple(task[2] for task in tasks)
            rate = mean(p for _, _, _, p in tasks)
            gains.append(ChoiceAndGain(_in_words(key), measured_on, rate, gain))
    return sorted(gains, key=lambda one: one.differing)


def choice_against_gain(
    tables: Sequence[Table], measured: Sequence[ChoiceResult]
) -> list[str | list[str]]:
    """The table and what it says, or that it was not measured."""
    gains = choices_and_gains(tables, measured)
    if not gains:
        return [["Not measured."]]
    title = tables[0].columns[-1].title
    rows = [
        [one.setting, f"{one.differing:.2f}", f"{mean(c.mean_p for c in one.choices):.1f}",
         f"{one.vanilla_p:.1f}", str(one.gain)]
        for one in gains
    ]  # fmt: skip
    head = ["IWTD", "decisions that differ", "mean p", "mean p of vanilla", f"gain in {title}"]
    shown = [one.setting for one in gains if one.gain.word != NO_DIFFERENCE]
    said = f"A difference is shown for {'; '.join(shown)}." if shown else (
        "No row shows a difference."
    )  # fmt: skip
    order = spearman(
        np.array([one.differing for one in gains]), np.array([one.gain.estimate for one in gains])
    )
    if len(gains) > 2 and order is not None:
        said += f" Spearman's correlation of choice and gain over {len(gains)} rows: {order:+.2f}."
    return [
        [
            "How often IWTD decides otherwise than vanilla dropout at the same rate, in percent,",
            f"and what it gains over that in its mode and range, over {len(tables)} tasks.",
            said,
        ],
        markdown.table(head, rows),
    ]


def _vanilla_of(row: Row, table: Table) -> Row | None:
    config = row.results[0].config
    if config.get("dropout.strategy") != "iwtd":
        return None
    others = {name: value for name, value in row.extras.items() if not name.startswith("dropout.")}
    for other in table.rows:
        alike = all(other.results[0].config.get(name) == config[name] for name in _ALIKE)
        rest = {n: v for n, v in other.extras.items() if not n.startswith("dropout.")}
        if other.method == VANILLA and alike and rest == others:
            return other
    return None


def _measured(row: Row, table: Table, measured: Sequence[ChoiceResult]) -> dict[str, Choice] | None:
    """By normalisation, on a model that was learnt like the row up to its normalisation."""
    want = {k: v for k, v in row.results[0].config.items() if k != "dropout.normalisation"}
    for one in measured:
        have = {k: v for k, v in one.config.items() if k != "dropout.normalisation"}
        same_place = (one.weights, one.data, one.split) == (
            table.one.weights, table.one.data, table.one.split,
        )  # fmt: skip
        if same_place and have == want:
            return {choice.normalisation: choice for choice in one.choices}
    return None


def _in_words(key: Sequence[object]) -> str:
    mode, low, high, normalisation, cross = key
    without = "" if cross else ", without s_cross"
    return f"{mode}, p {low} to {high}, {normalisation}{without}"
