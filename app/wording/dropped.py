"""How many tokens the dropouts drop: a row a layer."""

from __future__ import annotations

from app.figures.dropped import dropping
from drople.analysis import Analysis
from drople.measures import agreement, drop_counts


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
