"""How far the most important patch leads, by signal, over the examples' stored analyses.

    python -m tests.benchmarks.leading_patches

Prints for each branch and signal the largest patch's importance in multiples of an even share, and
in how many layers that patch is a corner of the picture; means over examples and layers.
"""

from __future__ import annotations

import numpy as np

from app.examples import EXAMPLES, FOLDER
from drople.analysis import Analysis
from drople.storage.analyses import load_analysis


def leads(analyses: list[Analysis], branch: str, signal: str) -> tuple[float, float]:
    """Mean lead in even shares, and the share of layers led by a corner, from 0 to 1."""
    shares, corners = [], []
    for analysis in analyses:
        for layer in analysis.images[branch].layers:
            assert layer.grid is not None
            values, (rows, columns) = layer.shares[signal][0], layer.grid
            patches = values[1 : 1 + rows * columns]  # after [CLS]
            row, column = divmod(int(patches.argmax()), columns)
            shares.append(patches.max() / values.sum() * layer.content[0].sum())
            corners.append(row in (0, rows - 1) and column in (0, columns - 1))
    return float(np.mean(shares)), float(np.mean(corners))


def main() -> None:
    """Prints the table."""
    analyses = [load_analysis(FOLDER / f"{example.name}.npz") for example in EXAMPLES]
    for branch in ("frozen", "adapted"):
        for signal in analyses[0].images[branch].layers[0].shares:
            lead, corner = leads(analyses, branch, signal)
            print(f"{branch:8s} {signal:8s} {lead:6.1f} even shares; a corner in {corner:.0%}")


if __name__ == "__main__":
    main()
