"""The method's page: every box, formula and statement leads somewhere."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
from furnished import FurnishedStudio

from app.demo import build_demo
from app.figures.method_diagram import ARROWS, BOXES, NARROW, WIDE, diagram, mathematics
from app.lab.lab import VIEWS
from app.tabs.method import ABSTRACT, DOCUMENT, FINE_PRINT, section
from app.wording.formulas import FORMULAS, TAGS, formulas_text
from drople.training.config import LossWeights
from drople.training.losses import lambda_at

ROOT = Path(__file__).parents[3]
SECTIONS = set(re.findall(r"^#{2,3} ([\d.]+) ", DOCUMENT.read_text(), re.MULTILINE))
SVG = "{http://www.w3.org/2000/svg}"


def resolved(function):
    """What module:name stands for."""
    module, _, name = function.partition(":")
    found = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.fixture(scope="module")
def tabs():
    """The names of the page's tabs, the lab's among them."""
    parts = build_demo(FurnishedStudio()).get_config_file()["components"]
    return {one["props"]["label"] for one in parts if one["type"] == "tabitem"}


@pytest.mark.parametrize("name", BOXES)
def test_a_box_opens_a_view_and_names_a_function(name, tabs):
    box = BOXES[name]
    assert callable(resolved(box.function))
    assert box.section in SECTIONS
    check_view(box.view, tabs)


def check_view(view, tabs):
    """The page has the tab, and the tab the panel or view."""
    first, _, second = view.partition(" / ")
    assert first in tabs
    if first == "Overview" and second:
        panels = re.findall(
            r'panel\(page, "\w+", "([\w ]+)"', (ROOT / "assets/overview.js").read_text()
        )
        assert second in panels
    elif second:
        assert first == "Lab"
        assert second in {view for views in VIEWS.values() for view in views}


def test_no_two_boxes_lie_on_each_other():
    cells = [
        (one.row, column)
        for one in BOXES.values()
        for column in range(one.column, one.column + one.span)
    ]
    assert len(cells) == len(set(cells))
    assert max(column for _, column in cells) == 2


def test_arrows_lead_down_or_to_the_side():
    assert {name for pair in ARROWS for name in pair} <= {*BOXES}
    assert all(BOXES[a].row <= BOXES[b].row for a, b in ARROWS)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_every_box_is_drawn_within_the_picture(layout):
    drawn = ElementTree.fromstring(
        diagram(layout).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1)
    )
    width, height = (float(size) for size in drawn.get("viewBox").split()[2:])
    links = drawn.findall(f".//{SVG}a")
    assert [one.get("data-view") for one in links] == [one.view for one in BOXES.values()]
    for link, box in zip(links, BOXES.values(), strict=True):
        rect = link.find(f"{SVG}rect")
        x, y, wide, high = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
        assert "".join(link.find(f"{SVG}text").itertext()) == box.title
        assert box.function.replace(":", ".") in link.find(f"{SVG}title").text
    formulas = ["formula" in one.get("class") for one in drawn.iter(f"{SVG}text")]
    assert any(formulas) == layout.details


def test_indices_are_set_lower_and_powers_higher():
    said = mathematics("Z_v^d < p_max")
    assert re.findall(r'dy="(-?\d)" class="small">(\w+)<', said) == [
        ("3", "v"), ("-5", "d"), ("3", "max"),
    ]  # fmt: skip
    assert "&lt;" in said
    assert sum(int(shift) for shift in re.findall(r'dy="(-?\d)"', said)) == 0


@pytest.mark.parametrize("one", FORMULAS, ids=lambda one: one.name)
def test_a_formula_says_where_it_is_from_and_what_computes_it(one):
    assert one.tags
    assert {*one.tags} <= {*TAGS}
    assert callable(resolved(one.function))
    assert one.section in SECTIONS
    assert one.tex.count("{") == one.tex.count("}")


def test_the_objective_is_written_with_the_weights_of_the_code():
    (objective,) = (one for one in FORMULAS if one.name == "Objective")
    weights = [f"{weight:g}" for weight in vars(LossWeights()).values() if weight]
    assert sorted(re.findall(r"[\d.]+", objective.tex)) == sorted(weights)


def test_lambda_is_said_as_it_is():
    assert f"{lambda_at(19, 20):.3f}" in formulas_text()
    assert f"{lambda_at(19, 20):.3f}" in BOXES["lambda"].formula


def test_the_fine_print_is_the_documents(tmp_path):
    said = section(FINE_PRINT)
    assert said in DOCUMENT.read_text()
    assert "full text was not available" in said
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) > 15
    assert {line.count("|") for line in rows} == {5}
    assert "not in this copy" in section(FINE_PRINT, tmp_path / "METHOD.md")


def abstract_rows():
    lines = [line for line in section(ABSTRACT).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("row", abstract_rows(), ids=lambda row: row[0][:30])
def test_a_sentence_of_the_abstract_has_its_view(row, tabs):
    assert len(row) == 3
    for view in row[1].split("; "):
        check_view(view, tabs)
    methods = re.findall(r"`(drople-[a-z]+(?:-[a-z]+)*)`", row[2])
    report = (ROOT / "RESULTS.md").read_text()
    assert all(f"| {name} |" in report for name in methods)
    assert all(f"## {part}" in report for part in re.findall(r"\*(.+?)\*", row[2]))


def test_what_is_said_of_kgcoop_and_promptsrc_is_what_the_report_has():
    text = (ROOT / "RESULTS.md").read_text()
    table = text[text.index("## Base-to-novel by task") :]
    means = {}
    for line in table.split("\n## ")[0].splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        means[name] = [float(cell.split("/")[-1]) if "/" in cell else None for cell in cells]
    for other in ("kgcoop", "promptsrc"):
        pairs = [(a, b) for a, b in zip(means["drople"], means[other], strict=True) if b]
        assert pairs
        assert all(a < b for a, b in pairs)
