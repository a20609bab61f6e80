"""The figures on results pages are those of the runs that are committed beside them."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from drople.evaluation.accuracy import harmonic_mean
from drople.evaluation.runs import read_results

FORMER = Path(__file__).parents[1] / "docs" / "results" / "mini-0.1"


@pytest.fixture(scope="module")
def former_results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with zipfile.ZipFile(FORMER / "runs.zip") as runs:
        runs.extractall(folder)
    return read_results(folder)


def test_accuracies_of_the_former_mini_are_those_of_its_hits(former_results):
    assert len(former_results) > 100
    for result in former_results:
        for exam, right in result.hits.items():
            assert result.accuracy[exam] == pytest.approx(100 * right.mean(), abs=1e-9)


def test_the_page_of_the_former_mini_shows_the_means_of_its_runs(former_results):
    page = (FORMER / "RESULTS.md").read_text()
    groups = defaultdict(list)
    for one in former_results:
        if one.protocol == "base-to-novel" and one.split == "test":
            groups[one.data, one.method, str(one.config)].append(one.accuracy)
    shown = 0
    for (data, method, _), accuracies in groups.items():
        if len(accuracies) == 3 and method in ("drople", "drople-none", "drople-vanilla", "mpl"):
            columns = [np.mean([one[half] for one in accuracies]) for half in ("base", "novel")]
            columns.append(
                np.mean([harmonic_mean(one["base"], one["novel"]) for one in accuracies])
            )
            missing = [value for value in columns if f"{value:.2f}" not in page]
            assert not missing, (data, method, missing)
            shown += 1
    assert shown >= 12
