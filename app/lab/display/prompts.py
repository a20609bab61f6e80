"""Prompts from layer to layer: how many are carried, added and removed, and how much is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, ZERO, plain
from app.lab.display.tables import Table, table_of, table_under
from drople.lab.prompts import Learnt, PromptCounts
from drople.models.prompts import PromptPlan

CARRIED = "#94a3b8"


def prompts_figure(
    layers: Sequence[PromptCounts], *, beside: Sequence[PromptCounts] = ()
) -> go.Figure:
    """A bar a layer: carried and added above the line, removed on entering below it.

    Args:
        beside: what another figure shows on the same scale.
    """
    figure = go.Figure()
    grey = {"color": "rgba(0,0,0,0)", "line": {"color": CARRIED, "width": 2}}
    for name, values, marker in (
        ("carried", [one.carried for one in layers], {"color": CARRIED}),
        ("added", [one.added for one in layers], {"color": CONDITION_COLOURS["adapted"]}),
        # A bar of no height would still have its outline.
        ("removed", [-one.removed or None for one in layers], grey),
    ):
        figure.add_bar(
            x=[one.depth + 1 for one in layers], y=values, name=name, marker=marker,
            customdata=[abs(value or 0) for value in values],
            hovertemplate=f"<b>layer %{{x}}</b><br>{name} %{{customdata}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="layer", tickvals=[one.depth + 1 for one in layers])
    both = (*layers, *beside)
    low, high = max(one.removed for one in both), max(one.total for one in both)
    figure.update_yaxes(title="image prompts", range=[-low - 0.5, high + 0.5], **ZERO)
    figure.update_layout(barmode="relative", bargap=0.25)
    return plain(figure, height=280, legend=True)


HEADERS = (
    "layer", "image: removed", "added", "carried", "in the layer",
    "text: removed", "added", "carried", "in the layer",
)  # fmt: skip
KINDS = {
    "replace": "Prompts are replaced: what a layer made of them goes, and fresh ones enter",
    "coupled": "Prompts are replaced (MaPLe): fresh ones, made from the text's, enter",
    "modular": "Prompts are carried (MPL): the newest go, fresh ones come, the others stay",
}


def counts_table(counts: Mapping[str, Sequence[PromptCounts]]) -> Table:
    """What becomes of the prompts at each layer; the towers may differ in depth."""
    pairs = zip_longest(counts["image"], counts["text"])
    rows = [[f"{i}", *_cells(image), *_cells(text)] for i, (image, text) in enumerate(pairs, 1)]
    return table_under(HEADERS, rows)


def _cells(one: PromptCounts | None) -> list[str]:
    counted = (one.removed, one.added, one.carried, one.total) if one else [""] * 4
    return [f"{count}" for count in counted]


def counts_sentence(plan: PromptPlan, counts: Mapping[str, Sequence[PromptCounts]]) -> str:
    """What becomes of the prompts of a plan."""
    image, text = counts["image"], counts["text"]
    kind = KINDS[plan.kind]
    if not any(one.total for one in image):
        return f"{kind}. There are none in the image; {_lasting(text)} in the text."
    last = image[-1].total
    said = f"{kind}, in {_lasting(image)} of the image and {_lasting(text)} of the text."
    if plan.kind == "modular":
        most = max(one.carried for one in image)
        return (
            f"{said} The image starts with {image[0].total}, and up to {most} are carried into a "
            f"layer; the last has {last}. Text prompts replace one another all the same."
        )
    return (
        f"{said} Each of these layers sees {image[0].total} in the image, none of them older than "
        f"the layer; from then on {last} are carried to the end."
    )


def _lasting(layers: Sequence[PromptCounts]) -> str:
    """In how many layers prompts are added."""
    count = sum(one.added > 0 for one in layers)
    return f"{count} layer" if count == 1 else f"{count} layers"


def learnt_table(found: Sequence[Learnt]) -> Table:
    """How many numbers each prompts file holds."""
    return table_of([
        {
            "prompts file": one.name,
            "method": one.method,
            "prompts": f"{one.prompts:,}",
            "bridge": f"{one.bridge:,}",
            "others": f"{one.others:,}",
            "all": f"{one.total:,}",
            "of the CLIP": f"{100 * one.share:.2f} %",
        }
        for one in found
    ])  # fmt: skip


def learnt_sentence(found: Sequence[Learnt]) -> str:
    """What the table counts."""
    if not found:
        return "No prompts travel with this copy."
    clips = " or ".join(sorted({f"{one.clip:,}" for one in found}))
    return (
        f"Numbers learnt in every prompts file that comes with the app; their CLIP has {clips}, "
        "all frozen. The bridge is for training alone: at inference nothing reads it."
    )
