"""The lab's views cost nothing until they are looked at."""

from __future__ import annotations

import gradio as gr
import pytest
from analysed import analysed
from computed import bench_of

from app.lab import lab


@pytest.fixture(scope="module")
def built():
    """The page of a lab, and the lab."""
    with gr.Blocks() as page, gr.Tab() as tab:
        comparisons = lab.build(bench_of())
        comparisons.listen(tab)
    return page, comparisons


def drawn(comparisons, opened):
    """What each view's outputs are given, by the name of its tab, while a tab is open."""
    values = [
        value
        for view in comparisons.views
        for value in (*(None for _ in view.held), *(one.value for one in view.controls))
    ]
    left = iter(comparisons.drawn(opened, analysed(), None, *values))
    return {
        name: [next(left) for view in views for _ in view.outputs]
        for name, views in comparisons.tabs.items()
    }


@pytest.mark.parametrize("opened", ["Choice and sinks", "Rate curve", "Attention"])
def test_of_all_tabs_the_open_one_is_drawn(built, opened):
    for name, outputs in drawn(built[1], opened).items():
        idle = [one == gr.skip() for one in outputs]
        assert not any(idle) if name == opened else all(idle), name


def test_a_move_of_the_layer_draws_the_views_that_show_one_alone(built):
    page, comparisons = built
    layer = comparisons.bench.layer
    moved = [i for i, fn in page.fns.items() if fn.targets == [(layer._id, "change")]]
    (drawing,) = (fn for fn in page.fns.values() if fn.trigger_after in moved)
    for view in comparisons.views:
        assert {*view.outputs}.issubset(drawing.outputs) == (layer in view.controls)


def test_before_the_lab_is_looked_at_nothing_is_drawn(built):
    assert all(one == gr.skip() for outputs in drawn(built[1], "").values() for one in outputs)


def test_opening_a_tab_draws_its_views(built):
    page, comparisons = built
    opening = [i for i, fn in page.fns.items() if any(event == "select" for _, event in fn.targets)]
    drawing = [set(fn.outputs) for fn in page.fns.values() if fn.trigger_after in opening]
    for view in comparisons.views:
        assert set(view.outputs) in drawing
