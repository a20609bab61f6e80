"""IWTD against vanilla dropout in each setting of the dropout that was run, for the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from drople.evaluation.bootstrap import mean_difference
from drople.evaluation.choice import ChoiceResult
from drople.evaluation.runs import DROPOUT
from drople.evaluation.tables import Row, Table, resampled, shared_seeds
from drople.storage.verdicts import Verdict

_OF_THE_KEY = {f"dropout.{name}" for name in DROPOUT}


def verdicts(tables: Sequence[Table], measured: Sequence[ChoiceResult]) -> list[Verdict]:
    """One for each setting of the dropout in which both methods were run.

    Args:
        tables: base-to-novel tables of one backbone, on test images.
        measured: how far IWTD chooses, of any backbone and split.
    """
    pairs: dict[tuple[object, ...], dict[str, tuple[Row, Row]]] = defaultdict(dict)
    for table in tables:
        # Where settings beside the dropout differ, the row that most others are set like counts.
        iwtd = [row for row in table.rows if row.method == "drople"]
        for row in sorted(iwtd, key=lambda row: len(table.like(row))):
            if vanilla := table.partner(row, "drople-vanilla"):
                config = row.results[0].config
                key = tuple(config[f"dropout.{name}"] for name in DROPOUT)
                pairs[key][table.one.data] = row, vanilla
    return [
        _verdict(key, tasks, tables[0], shares=_differing(key, tables[0].one.weights, measured))
        for key, tasks in pairs.items()
    ]


def _verdict(
    key: tuple[object, ...], tasks: dict[str, tuple[Row, Row]], table: Table, *,
    shares: list[float] | None,
) -> Verdict:  # fmt: skip
    """One setting's verdict; any of the tables tells the backbone and the columns."""
    one, column = table.one, table.columns[-1]
    interval = mean_difference([resampled(*pair) for pair in tasks.values()], column)
    seeds = set.intersection(*(set(shared_seeds(*pair)) for pair in tasks.values()))
    how: dict[str, Any] = dict(zip(DROPOUT, key, strict=True))
    words = {"better": "IWTD is better", "worse": "IWTD is worse"}
    sentence = (
        f"On {one.backbone}, with mode {how['mode']}, p {how['p_min']} to {how['p_max']} and "
        f"normalisation {how['normalisation']}, IWTD minus vanilla dropout at the same mean rate "
        f"is {interval} percent points of {column.title} over {', '.join(tasks)}: "
        f"{words.get(interval.word, interval.word)}."
    )
    if shares:
        sentence += (
            f" The two decide differently in {shares[0]:.2f} to {shares[1]:.2f} % of their "
            "decisions to keep or drop a token."
        )
    return Verdict(
        backbone=one.backbone,
        weights=one.weights,
        **how,
        tasks=[*tasks],
        seeds=sorted(seeds),
        difference=round(interval.estimate, 2),
        interval=[round(interval.low, 2), round(interval.high, 2)],
        differing=shares,
        sentence=sentence,
    )


def _differing(
    key: tuple[object, ...], weights: str, measured: Sequence[ChoiceResult]
) -> list[float] | None:
    """Least and most share of decisions that differ, in percent, over the models measured."""
    *config, normalisation = key
    models = [
        model
        for model in measured
        if (model.weights, model.method) == (weights, "drople")
        and not {name for name in model.settings if name.startswith("dropout.")} - _OF_THE_KEY
        and [model.config[f"dropout.{name}"] for name in DROPOUT[:-1]] == config
    ]
    shares = [
        choice.differing
        for model in [one for one in models if one.split == "test"] or models
        for choice in model.choices
        if choice.normalisation == normalisation
    ]
    return [round(min(shares), 2), round(max(shares), 2)] if shares else None
