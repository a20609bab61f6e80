"""The sanity check in numbers: a row a depth, and which maps barely change."""

from __future__ import annotations

from collections.abc import Sequence

from app.figures.names import map_name
from app.lab.display.sanity import spearman_text
from drople.analysis import Analysis
from drople.lab.patch_maps import importance_layers
from drople.lab.sanity import Depth, Likeness

BARELY = 0.5  # Spearman above which a map with every block randomised is called barely changed


def cascade_headers(analysis: Analysis, found: Sequence[Depth]) -> list[str]:
    """Headers of `cascade_rows`."""
    return ["blocks randomised", *(map_name(analysis, name) for name in found[0].maps)]


def cascade_rows(found: Sequence[Depth]) -> list[list[str]]:
    """A row a depth: Spearman, and in brackets the top tenth of patches that stays."""
    return [
        [f"{depth.randomised}", *(_cell(depth.likeness[name]) for name in found[0].maps)]
        for depth in found
    ]


def _cell(one: Likeness) -> str:
    return f"{spearman_text(one.spearman)} ({100 * one.top:.0f} %)"


def cascade_sentence(analysis: Analysis, found: Sequence[Depth], blocks: int) -> str:
    """Which maps lose their likeness, and which do not seem to need what was learnt."""
    last = found[-1]
    if not last.randomised:
        return "The trained network's maps; now its last block is randomised."
    said = f"{last.randomised} of {blocks} blocks randomised, one draw of new weights. "
    parts = [
        f"{map_name(analysis, name)} {spearman_text(one.spearman)}"
        for name, one in last.likeness.items()
    ]
    said += f"Spearman with the trained map: {'; '.join(parts)}."
    flat = [name for name, one in last.likeness.items() if one.spearman is None]
    if flat:
        said += f" The same everywhere: {_names(analysis, flat)}."
    if last.randomised < blocks:
        return said
    stubborn = [
        name for name, one in last.likeness.items()
        if one.spearman is not None and one.spearman > BARELY
    ]  # fmt: skip
    if stubborn:
        said += (
            f" ⚠ Barely changed although every block is new (ρ above {BARELY}): "
            f"{_names(analysis, stubborn)}. Such a map is not sensitive to the weights, so it does "
            "not show what the network has learnt."
        )
    above = blocks - importance_layers(analysis)
    if above:
        said += (
            f" The importance stays 1.00 by construction until more than {above} blocks are new: "
            f"it is read from the first {importance_layers(analysis)} alone."
        )
    return said


def _names(analysis: Analysis, names: Sequence[str]) -> str:
    return "; ".join(map_name(analysis, name) for name in names)
