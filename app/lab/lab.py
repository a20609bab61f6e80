"""Lab: the comparisons, each a tab of its own, drawn when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import gradio as gr

from app.lab import (
    attention_maps,
    direct_path,
    faithfulness,
    modes,
    prompts,
    rate_curve,
    residual,
    robustness,
    sanity,
    selectivity,
    sinks,
    uncertainty,
)
from app.lab.bench import Bench
from app.tabs.export import savable
from app.tabs.shared import QUIET, View, in_browser, independent_event
from drople.analysis import Analysis

Build = Callable[[Bench], list[View]]
# In the order of a reader's questions: question, tab -> what the tab shows, one under the other.
VIEWS: dict[str, dict[str, tuple[Build, ...]]] = {
    "Does IWTD choose?": {"Choice and sinks": (selectivity.build, sinks.build)},
    "Does it matter?": {
        "Many draws": (uncertainty.build,),
        "Rate curve": (rate_curve.build,),
        "Modes": (modes.build,),
    },
    "Can I trust the maps?": {"Faithfulness": (faithfulness.build, sanity.build)},
    "Why?": {
        "Explained": (direct_path.build,),
        "Attention": (attention_maps.build,),
        "Robustness": (robustness.build,),
    },
    "How is it learnt?": {"Residual entropy": (residual.build,), "Prompts": (prompts.build,)},
}


# The lab looks where the overview does, which counts layers from 0.
LOOKED_AT = """(name, layer) => {
    const { class: shown, layer: at } = window.lens?.state() ?? {}
    return [shown ?? name, (at ?? layer - 1) + 1]
}"""
LAYER_MOVED = "layer => { window.lens?.set({ layer: layer - 1 }) }"


@dataclass(frozen=True)
class Lab:
    """The lab's tabs, each with its views; of all, only the open one is drawn."""

    bench: Bench
    opened: gr.State  # the name of the open tab; empty until the lab is looked at
    tabs: dict[str, list[View]]
    row: gr.Tabs  # the component they stand in

    @property
    def views(self) -> list[View]:
        return [view for views in self.tabs.values() for view in views]

    def listen(self, tab: gr.Tab) -> None:
        """Lets the lab and the overview look at one class and layer, and redraws what changes.

        Args:
            tab: that of the page in which the lab stands.
        """
        target, layer = self.bench.target, self.bench.layer
        opened = in_browser(tab.select, LOOKED_AT, [target, layer], given=[target, layer])
        self.draw_on(opened.success)
        for view in self.views:
            view.listen(self.bench.state, target, shared=layer)
        of_layer = {
            name: [view for view in views if layer in view.controls]
            for name, views in self.tabs.items()
        }
        replace(self, tabs=of_layer).draw_on(independent_event(layer.change))
        in_browser(layer.change, LAYER_MOVED, given=[layer])

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
                shown = analysis if name == opened else None
                outputs += view.parts(view.drawn(shown, target, *own))
        return outputs


def build(bench: Bench) -> Lab:
    """Lays the lab out; its first tab is opened when the lab is."""
    opened: gr.State = gr.State("", time_to_live=3600)
    with gr.Row(elem_classes="lens-controls"):
        bench.target.render()
        bench.layer.render()
    views = [(question, *view) for question, tabs in VIEWS.items() for view in tabs.items()]
    with gr.Tabs(elem_id="lab", overflow_behavior="wrap") as row:
        built = Lab(bench, opened, {}, row)
        for question, name, builds in views:
            with gr.Tab(name, id=f"lab-{name}") as own:
                gr.Markdown(f"**{question}**", elem_classes="lens-intro")
                shown = [view for build in builds for view in build(bench)]
                built.tabs[name] = savable(name, shown, bench.state, target=bench.target)
            layered = any(bench.layer in view.controls for view in shown)
            chosen = own.select(
                lambda name=name, layered=layered: (name, gr.Slider(interactive=layered)),
                None, [opened, bench.layer], **QUIET,
            )  # fmt: skip
            for one in built.tabs[name]:
                one.draw_on(chosen.success, bench.state, bench.target)
    return built
