"""Lab: the comparisons, each a tab of its own, drawn when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gradio as gr

from app.tabs.export import savable
from app.tabs.lab import (
    attention_maps,
    class_maps,
    direct_path,
    duel,
    faithfulness,
    modes,
    rate_curve,
    robustness,
    sanity,
    selectivity,
    sinks,
    texts,
    token_card,
    trained_with,
    uncertainty,
)
from app.tabs.lab.bench import Bench
from app.tabs.shared import QUIET, Place, View

VIEWS: dict[str, Callable[[Bench], list[View]]] = {
    "Duel": duel.build,
    "Token card": token_card.build,
    "Selectivity": selectivity.build,
    "Modes": modes.build,
    "Many draws": uncertainty.build,
    "Trained with": trained_with.build,
    "Faithfulness": faithfulness.build,
    "Rate curve": rate_curve.build,
    "Robustness": robustness.build,
    "Sanity check": sanity.build,
    "Sinks": sinks.build,
    "Explained": direct_path.build,
    "Attention": attention_maps.build,
    "Class minus mean": class_maps.build,
    "All texts": texts.build,
}


def build(bench: Bench, tab: gr.Tab) -> list[View]:
    """Lays the tab out; `tab` is the one it stands in."""
    views: list[View] = []
    opened: gr.State = gr.State("", time_to_live=3600)
    with gr.Tabs(elem_id="lab", overflow_behavior="wrap"):
        for name, view in VIEWS.items():
            with gr.Tab(name, id=f"lab-{name}") as own:
                found = savable(name, view(bench), bench.state, bench.target)
            own.select(lambda name=name: name, None, opened, **QUIET)
            _draw_on_opening(own, found, bench)
            if not views:  # the first is open when the lab is opened first
                tab.select(lambda before, name=name: before or name, opened, opened, **QUIET)
                _draw_on_opening(tab, found, bench)
            views += [replace(one, place=Place(opened, name)) for one in found]
    return views


def _draw_on_opening(tab: gr.Tab, views: list[View], bench: Bench) -> None:
    """Opening a tab draws what stands on it, from the analysis there is then."""
    for view in views:
        view.draw_on(tab.select, bench.state, bench.target)
