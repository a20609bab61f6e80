"""Lab: the comparisons, each a tab of its own."""

from __future__ import annotations

from collections.abc import Callable

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
from app.tabs.shared import View

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


def build(bench: Bench) -> list[View]:
    """Lays the tab out."""
    views: list[View] = []
    with gr.Tabs(elem_id="lab", overflow_behavior="wrap"):
        for name, view in VIEWS.items():
            with gr.Tab(name, id=f"lab-{name}"):
                views += savable(name, view(bench), bench.state, bench.target)
    return views
