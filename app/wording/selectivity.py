"""The selectivity meter in numbers, and where IWTD is vanilla dropout in disguise."""

from __future__ import annotations

import numpy as np

from app.wording.sentences import disguise_sentence
from drople.analysis import Analysis
from drople.measures import selectivity
from drople.selectivity import Meter
from drople.traces import LayerTrace

HEADERS = (
    "layer", "tokens", "mean p", "sd of p", "range of p", "protection spread over (tokens)",
    "divergence from vanilla (bits)", "decisions that differ",
)  # fmt: skip
NAMES = {
    "minmax": "min–max (released code)",
    "minmax_eligible": "min–max over what may be dropped",
    "rank": "rank",
    "robust": "robust (5 % to 95 % quantile)",
    "no_sinks": "sinks excluded",
}


def meter_rows(given: list[Meter]) -> list[list[str]]:
    """The rows under `HEADERS`."""
    return [
        [
            f"{one.depth + 1}",
            f"{one.eligible}",
            f"{one.mean:.3f}",
            f"{one.spread:.4f}",
            f"{one.low:.3f} to {one.high:.3f}",
            f"{one.protected:.1f}",
            f"{one.divergence:.5f}",
            f"{100 * one.differing:.1f} %",
        ]
        for one in given
    ]


def warnings_of(analysis: Analysis, layers: list[LayerTrace], row: int) -> str:
    """In which layers IWTD is vanilla dropout in disguise, and the first of them in words."""
    dropout = analysis.settings.dropout
    near = [selectivity(layer, dropout.p_min, dropout.p_max, row=row) for layer in layers]
    hit = [i for i, one in enumerate(near) if one is not None and one.near_top > 0.9]
    acting = sum(one is not None for one in near)
    if not acting:
        return "No dropout acts on these tokens."
    if not hit:
        return f"In none of {acting} layers is IWTD vanilla dropout in disguise."
    numbers = ", ".join(str(i + 1) for i in hit)
    said = (
        f"In {len(hit)} of {acting} layers ({numbers}) more than 90 % of the tokens get nearly "
        "p_max, within 5 % of the range below it."
    )
    if layers[0].grid is None:
        return said
    return f"{said} Layer {hit[0] + 1}: {disguise_sentence(analysis, layers[hit[0]])}"


def mean_meter(given: list[Meter]) -> str:
    """The layers' averages, in words."""
    if not given:
        return ""
    protected = np.mean([one.protected for one in given])
    differing = 100 * np.mean([one.differing for one in given])
    return (
        f"On average over the layers, protection is spread over {protected:.0f} of "
        f"{given[0].eligible} tokens, and {differing:.1f} % of the decisions differ from vanilla "
        "dropout at the same rate."
    )
