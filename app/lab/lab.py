"""Lab: the comparisons, each a tab of its own, drawn when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import gradio as gr

from app.lab import (
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
from app.lab.bench import Bench
from app.tabs.export import savable
from app.tabs.shared import QUIET, View
from drople.analysis import Analysis

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


@dataclass(frozen=True)
class Lab:
    """The lab's tabs, each with its views; of all, only the open one is drawn."""

    bench: Bench
    opened: gr.State  # the name of the open tab; empty until the lab is looked at
    tabs: dict[str, list[View]]

    @property
    def views(self) -> list[View]:
        return [view for views in self.tabs.values() for view in views]

    def draw_on(self, event: Callable[..., Any]) -> None:
        """Draws the open tab on an event."""
        state, target = self.bench.state, self.bench.target
        values = [one for view in self.views for one in view.own]
        outputs = [one for view in self.views for one in view.outputs]
        event(self.drawn, [self.opened, state, target, *values], outputs, **QUIET)

    def drawn(
        self, opened: str, analysis: Analysis | None, target: str | None, *values: Any
    ) -> list[Any]:
        """The outputs of all views: nothing new but of the open tab's."""
        left = iter(values)
        outputs: list[Any] = []
        for name, views in self.tabs.items():
            for view in views:
                own = islice(left, len(view.own))
                drawn = view.drawn(analysis if name == opened else None, target, *own)
                outputs += drawn if len(view.outputs) > 1 else [drawn]
        return outputs


def build(bench: Bench) -> Lab:
    """Lays the lab out; its first tab is opened when the lab is."""
    opened: gr.State = gr.State("", time_to_live=3600)
    built = Lab(bench, opened, {})
    with gr.Tabs(elem_id="lab", overflow_behavior="wrap"):
        for name, view in VIEWS.items():
            with gr.Tab(name, id=f"lab-{name}") as own:
                built.tabs[name] = savable(name, view(bench), bench.state, bench.target)
            chosen = own.select(lambda name=name: name, None, opened, **QUIET)
            for one in built.tabs[name]:
                one.draw_on(chosen.success, bench.state, bench.target)
    return built
