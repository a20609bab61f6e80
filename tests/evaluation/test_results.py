"""The figures on results pages are those of the runs that are committed beside them."""

from __future__ import annotations

import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from drople.evaluation.accuracy import harmonic_mean
from drople.evaluation.choice import read_choices
from drople.evaluation.report import write_report
from drople.evaluation.runs import FROZEN, read_results
from drople.storage.verdicts import read_verdicts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
FORMER = RESULTS / "mini-0.1"
NUMBER = re.compile(r"[-+]?\d+\.\d+")
TASKS = {"Caltech-101": "fewshot_caltech101", "imagenette": "fewshot_imagenette"}
WITH_PACS = (*TASKS.values(), "fewshot_pacs")
RANGES = {
    "0.02 to 0.1": {"dropout.p_min": 0.02, "dropout.p_max": 0.1},
    "0.1 to 0.3": {},
    "0.1 to 0.5": {"dropout.p_max": 0.5},
}
ZEROED = {"dropout.mode": "zero"}
# What a row of the grid is called -> method, settings beside the budget.
GRID = {
    "frozen branch": (FROZEN, {}),
    "no dropout": ("drople-none", RANGES["0.02 to 0.1"]),
    **{f"hide, {p}": ("drople", settings) for p, settings in RANGES.items()},
    **{f"zero, {p}": ("drople", settings | ZEROED) for p, settings in RANGES.items()},
    "hide, 0.02 to 0.1, 3 layers": (
        "drople",
        RANGES["0.02 to 0.1"] | {"dropout.image_depth": 3},
    ),
    **{
        f"hide, 0.02 to 0.1, {depth} layers": (
            "drople",
            RANGES["0.02 to 0.1"] | {"dropout.image_depth": depth, "plan.image_depth": depth},
        )
        for depth in (9, 12)
    },
}
REPORT = [
    "RESULTS.md",
    *(f"docs/results/{name}.md" for name in ("accuracies", "choices", "differences", "methods")),
    "docs/results/forest.svg",
    "docs/results/verdict.json",
]


def unpacked(archive, folder):
    with zipfile.ZipFile(archive) as runs:
        runs.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return unpacked(RESULTS / "runs.zip", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def results(runs):
    return read_results(runs)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report, written anew from the committed runs."""
    folder = tmp_path_factory.mktemp("report")
    write_report(RESULTS / "runs.zip", folder / "RESULTS.md", notes=RESULTS / "NOTES.md")
    return folder


def rows(part, page=RESULTS / "README.md"):
    """Rows of the tables of one part of a page: label -> cells."""
    text = page.read_text().partition(f"## {part}")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells if row[0]}


def figures(results, split, data, method, settings):
    """Base, novel, harmonic mean of the runs of one row, means over three seeds; or nothing."""
    found = [
        one.accuracy
        for one in results
        if (one.protocol, one.split, one.data, one.method) == ("base-to-novel", split, data, method)
        and {k: v for k, v in one.settings.items() if k not in ("shots", "epochs")} == settings
    ]
    if not found:
        return []
    assert len(found) == (1 if method == FROZEN else 3)
    halves = [np.mean([one[half] for one in found]) for half in ("base", "novel")]
    return [*halves, np.mean([harmonic_mean(one["base"], one["novel"]) for one in found])]


@pytest.mark.parametrize("name", REPORT)
def test_the_report_is_what_the_committed_runs_say(name, written):
    again, committed = ((folder / name).read_text() for folder in (written, ROOT))
    assert NUMBER.sub("#", again) == NUMBER.sub("#", committed)
    both = [np.array(NUMBER.findall(text), float) for text in (again, committed)]
    # Another processor may round a tie to the other side.
    np.testing.assert_allclose(*both, atol=0.0101, rtol=0)


def test_the_report_is_written_whole(written):
    files = [file for file in written.rglob("*") if file.is_file()]
    assert sorted(file.relative_to(written).as_posix() for file in files) == sorted(REPORT)


def test_the_first_page_of_the_results_is_short():
    lines = (ROOT / "RESULTS.md").read_text().splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 200


def test_the_page_finds_a_verdict_on_the_shipped_weights():
    backbone = json.loads((ROOT / "docs" / "results" / "verdict.json").read_text())[0]["weights"]
    found = read_verdicts(backbone)
    assert [(one.p_min, one.p_max) for one in found] == [(0.02, 0.1), (0.1, 0.3)]
    assert all(one.interval[0] <= one.difference <= one.interval[1] for one in found)
    assert read_verdicts("0123456789abcdef") == []


def test_the_grid_shows_the_means_of_the_validation_runs(results):
    shown = rows("Which range")
    assert [*shown] == [*GRID]
    for label, (method, settings) in GRID.items():
        expected = [figures(results, "val", data, method, settings) for data in TASKS.values()]
        wanted = [*expected[0], *expected[1], (expected[0][2] + expected[1][2]) / 2]
        assert shown[label] == [f"{value:.2f}" for value in wanted], label


def test_the_table_by_task_shows_the_means_of_the_test_runs(results):
    shown = rows("Base-to-novel by task", ROOT / "RESULTS.md")
    assert shown.pop("method") == [*WITH_PACS]
    methods = {one.method for one in results if one.split == "test"}
    assert {*shown} == methods | {"---"}
    for method in methods:
        expected = [figures(results, "test", data, method, {}) for data in WITH_PACS]
        cells = [" / ".join(f"{value:.2f}" for value in one) for one in expected]
        assert shown[method] == cells, method


def test_the_choices_shown_are_those_measured(runs):
    shown = rows("How far")
    stored = {
        (one.data, one.config["dropout.p_min"], one.config["dropout.p_max"]): one
        for one in read_choices(runs)
        if one.split == "val"
    }
    expected = {}
    for title, data in TASKS.items():
        for p in RANGES:
            low, high = map(float, p.split(" to "))
            one = stored[data, low, high]
            assert one.config["dropout.mode"] == "hide"
            for choice in one.choices:
                expected[f"{title}, {p}, {choice.normalisation}"] = [
                    f"{choice.mean_p:.1f}",
                    f"{choice.differing:.2f}",
                    *(f"{value:.2f}" for value in choice.differing_by_layer),
                ]
            lead = one.choices[0].top_gap_by_layer
            assert all(choice.top_gap_by_layer == lead for choice in one.choices)
            label = f"{title}, {p}, lead of the first token"
            expected[label] = ["", f"{np.mean(lead):.0f}", *(f"{value:.0f}" for value in lead)]
    assert shown == expected


@pytest.fixture(scope="module")
def former_results(tmp_path_factory):
    return read_results(unpacked(FORMER / "runs.zip", tmp_path_factory.mktemp("former")))


def test_accuracies_of_the_former_mini_are_those_of_its_hits(former_results):
    assert len(former_results) > 100
    for result in former_results:
        for test_set, right in result.hits.items():
            assert result.accuracy[test_set] == pytest.approx(100 * right.mean(), abs=1e-9)


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
