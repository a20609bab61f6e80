"""RESULTS.md is what the committed runs say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from drople.evaluation.report import write_report

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"[-+]?\d+\.\d+")


def test_the_results_are_those_of_the_committed_runs(tmp_path):
    write_report(ROOT / "docs" / "runs.zip", tmp_path / "R.md", ROOT / "docs" / "RUNS.md")
    again, written = (file.read_text() for file in (tmp_path / "R.md", ROOT / "RESULTS.md"))
    assert NUMBER.sub("#", again) == NUMBER.sub("#", written)
    figures = [np.array(NUMBER.findall(text), float) for text in (again, written)]
    # Another processor may round a tie to the other side.
    np.testing.assert_allclose(*figures, atol=0.0101, rtol=0)
