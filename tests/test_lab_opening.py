"""The lab's views cost nothing until they are looked at."""

from __future__ import annotations

import gradio as gr
import pytest
from analysed import analysed
from furnished import FurnishedStudio

from app.demo import MODEL
from app.tabs.lab import lab
from app.tabs.lab.bench import Bench


@pytest.fixture(scope="module")
def built():
    """The lab's views, and the page they stand on."""
    with gr.Blocks() as page, gr.Tab("Lab") as tab:
        state, target = gr.State(None), gr.Dropdown([])
        source = gr.Textbox(), gr.Textbox()
        views = lab.build(Bench(FurnishedStudio(), state, target, source, MODEL), tab)
    return page, tab, views


def test_a_view_that_is_not_open_draws_nothing(built, monkeypatch):
    _, _, views = built
    for view in views:
        given = [analysed(), None, *(None for _ in (*view.held, *view.controls))]
        drawn = view._drawn_if_open("another", *given)
        drawn = drawn if isinstance(drawn, list) else [drawn]
        assert len(drawn) == len(view.outputs)
        assert all(one == gr.skip() for one in drawn)


def test_an_open_view_is_drawn(built):
    _, _, views = built
    view = next(one for one in views if one.place.name == "Selectivity")
    values = [control.value for control in view.controls]
    held = [None for _ in view.held]
    drawn = view._drawn_if_open("Selectivity", analysed(), None, *held, *values)
    assert all(one != gr.skip() for one in drawn)


def test_opening_a_tab_draws_its_views_and_the_lab_its_first(built):
    page, tab, views = built
    drawing = [
        (target, set(fn.outputs))
        for fn in page.fns.values()
        for target, event in fn.targets
        if event == "select"
    ]
    for view in views:
        own = [target for target, outputs in drawing if outputs == set(view.outputs)]
        expected = 2 if view.place.name == next(iter(lab.VIEWS)) else 1
        assert len(own) == expected, view.place.name
        assert (tab._id in own) == (expected == 2)
