"""Robustness in numbers: rows of versions and of corruptions, and where the answer changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.figures.theme import CONDITION_NAMES
from app.lab.display.robustness import drops_of, kind_name
from drople.analysis import Analysis
from drople.lab.robustness import Version, drop_likeness, map_likeness

KIND_HEADERS = ("corruption", *(f"severity {n}" for n in range(6)))


def strip_headers(analysis: Analysis, condition: str) -> list[str]:
    """Headers of `strip_rows`."""
    dropping = drops_of(analysis, condition)
    given = [f"{CONDITION_NAMES[c]}: class looked at" for c in analysis.conditions]
    headers = ["picture", *given, f"answer ({CONDITION_NAMES[analysis.branch]})",
               f"map of {CONDITION_NAMES[condition]}: Spearman with clean"]  # fmt: skip
    if dropping:
        headers.append(f"drops of {CONDITION_NAMES[dropping]}: overlap with clean (by chance)")
    return headers


def strip_rows(
    found: Sequence[Version], condition: str, layer: int, *, target: int
) -> list[list[str]]:
    """A row a version: what it gives the class looked at, and how like the clean picture it is."""
    clean = found[0].analysis
    dropping = drops_of(clean, condition)
    rows = []
    for one in found:
        said = one.analysis.predictions
        alike = map_likeness(clean, one.analysis, condition=condition, target=target)
        row = [one.name, *(f"{said[c].probabilities[target]:.3f}" for c in clean.conditions),
               clean.classes[one.analysis.answer],
               "–" if alike is None else f"{alike:.2f}"]  # fmt: skip
        if dropping:
            drops = drop_likeness(clean, one.analysis, condition=dropping, layer=layer)
            row.append("–" if drops is None else f"{drops.jaccard:.2f} ({drops.by_chance:.2f})")
        rows.append(row)
    return rows


def strip_sentence(found: Sequence[Version], kind: str, condition: str, *, target: int) -> str:
    """Where the answer changes, and where the map is least like the clean one."""
    clean = found[0].analysis
    plain_answer = clean.classes[clean.answer]
    said = f"{kind_name(kind)}, one draw of what is random (seed {clean.settings.seed}). "
    flips = [
        f"{clean.classes[one.analysis.answer]} at {one.name}"
        for one in found[1:]
        if one.analysis.answer != clean.answer
    ]
    branch = CONDITION_NAMES[clean.branch]
    if len(found) == 1:
        return said + f"Clean, the {branch} branch answers {plain_answer}."
    said += f"The {branch} branch answers {plain_answer} on the clean picture"
    said += f", and {', '.join(flips)}." if flips else ", and on all others so far."
    alike = {
        one.name: map_likeness(clean, one.analysis, condition=condition, target=target)
        for one in found[1:]
    }
    known = {name: value for name, value in alike.items() if value is not None}
    if known:
        least = min(known, key=lambda name: known[name])
        said += (
            f" The map of {CONDITION_NAMES[condition]} is least like the clean one at {least} "
            f"(Spearman {known[least]:.2f})."
        )
    return said


def kinds_rows(found: Mapping[str, np.ndarray]) -> list[list[str]]:
    """The rows under `KIND_HEADERS`; ✗ where the answer is not the clean one."""
    return [
        [kind_name(kind), *(f"{p:.3f}{'' if stays else ' ✗'}" for p, stays in rows)]
        for kind, rows in found.items()
    ]


def kinds_sentence(found: Mapping[str, np.ndarray]) -> str:
    """How many of the corrupted pictures keep the answer, and which kind costs most."""
    stays = np.stack([rows[1:, 1] for rows in found.values()]) > 0
    fall = {kind: rows[0, 0] - rows[1:, 0].mean() for kind, rows in found.items()}
    worst = max(fall, key=lambda kind: fall[kind])
    return (
        f"{int(stays.sum())} of {stays.size} corrupted pictures keep the clean answer; the class "
        f"looked at loses most under {kind_name(worst)}, {fall[worst]:.2f} on average over the "
        "severities."
    )
