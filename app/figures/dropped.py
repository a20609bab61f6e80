"""Which tokens a dropout drops: hatched photographs, and how often over the layers."""

from __future__ import annotations

import numpy as np

from app.figures.patches import blank, enlarge, hatch, overlay
from app.figures.theme import Scale
from drople.analysis import Analysis
from drople.measures import agreement, drop_counts

HOW_OFTEN = "layers in which a patch is dropped"


def dropped_panel(analysis: Analysis, condition: str, layer: int) -> np.ndarray:
    """The photograph: hatched what is dropped after one layer, grey what was hidden before."""
    one = analysis.images[condition].layers[layer]
    photo = blank(enlarge(analysis.pixels), one.hidden_patches())
    if one.dropped is None:
        return photo
    return hatch(photo, one.patches(one.dropped))


def stays_hidden(analysis: Analysis) -> bool:
    """Whether a dropped patch is gone for good."""
    return analysis.settings.dropout.mode == "hide"


def often_panel(analysis: Analysis, condition: str) -> np.ndarray:
    """In how many layers each patch is dropped."""
    layers = analysis.images[condition].layers
    gone = [one.patches(one.dropped) for one in layers if one.dropped is not None]
    counts = sum(gone, np.zeros(layers[0].patches(layers[0].blend).shape, dtype=int))
    return overlay(analysis.pixels, counts, often_scale(analysis), opacity=0.75)


def often_scale(analysis: Analysis) -> Scale:
    """0 to the number of layers that can drop a patch: one where it stays hidden."""
    some = analysis.images[dropping(analysis)[0]]
    acting = sum(one.dropped is not None for one in some.layers)
    return Scale(0, 1 if stays_hidden(analysis) else max(acting, 1), HOW_OFTEN)


def dropping(analysis: Analysis) -> list[str]:
    """The conditions in which tokens are dropped."""
    return [c for c in analysis.conditions if c not in ("frozen", "adapted")]


def counts_table(analysis: Analysis) -> list[list[str]]:
    """One row a layer: each dropout's drops, rate and mass kept, and the sets' overlap."""
    conditions = dropping(analysis)
    rows = []
    for layer in range(len(analysis.images[conditions[0]].layers)):
        traces = [analysis.images[c].layers[layer] for c in conditions]
        if traces[0].dropped is None:
            rows.append([f"{layer + 1}", *["no dropout here"], *[""] * (3 * len(conditions))])
            continue
        row = [f"{layer + 1}"]
        for trace in traces:
            count = drop_counts(trace)
            row += [
                f"{count.dropped} of {count.eligible}",
                f"{100 * count.rate:.1f} %",
                f"{100 * count.mass_kept:.1f} %",
            ]
        found = agreement(traces[0], traces[-1])
        row.append(f"{found.jaccard:.2f} (chance {found.by_chance:.2f})")
        rows.append(row)
    return rows


def counts_headers(analysis: Analysis) -> list[str]:
    """Headers of `counts_table`."""
    headers = ["layer"]
    for condition in dropping(analysis):
        name = {"vanilla": "vanilla", "iwtd": "IWTD"}.get(condition, condition)
        headers += [f"{name}: dropped", f"{name}: mean p", f"{name}: importance kept"]
    return [*headers, "overlap of the two sets"]
