"""What every tab does alike: redraw from the analysis, on a change of its own controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from app.figures.theme import Picture, colour_bar
from drople.analysis import Analysis
from drople.errors import SettingsError

# Redrawing takes milliseconds and never runs the model: many at once, the newest wins.
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "trigger_mode": "always_last",
    "concurrency_limit": 8,
    "concurrency_id": "redraw",
}


def in_browser(
    event: Callable[..., Any],
    script: str,
    output: Component | Sequence[Component] | None = None,
    *,
    given: Sequence[Component] = (),
) -> Any:
    """Runs a script on an event, with no request; `output` takes what it makes of the given."""
    return event(None, [*given], output, js=script, api_visibility="private")


def independent_event(*events: Callable[..., Any]) -> Callable[..., Any]:
    """What to call for each of several callbacks that hear the same events.

    Gradio (6.31) carries out the callbacks of one event one after another and, where one of them
    was asked again meanwhile, all of them again: two of a page's would keep each other going for
    ever. What follows this event, which does nothing, is carried out each on its own.
    """
    return gr.on(list(events), None, js="() => {}", api_visibility="private").success


@dataclass(frozen=True)
class View:
    """A part of a tab that is drawn from the analysis and some controls."""

    draw: Callable[..., Any]  # (analysis, target index, *held, *controls) -> outputs
    controls: Sequence[Component]
    outputs: Sequence[Block]
    held: Sequence[Component] = ()  # given to `draw` before the controls; their change is no event

    @property
    def own(self) -> list[Component]:
        """What `draw` takes after the analysis and the class looked at."""
        return [*self.held, *self.controls]

    def drawn(self, analysis: Analysis | None, target: str | None, *values: Any) -> Any:
        """The outputs, or nothing new before the first analysis."""
        if analysis is None:
            return [gr.skip()] * len(self.outputs) if len(self.outputs) > 1 else gr.skip()
        return self.draw(analysis, target_index(analysis, target), *values)

    def parts(self, drawn: Any) -> Sequence[Any]:
        """What was drawn, a value an output."""
        return drawn if len(self.outputs) > 1 else [drawn]

    def listen(
        self, state: gr.State, target: gr.Dropdown, *, shared: Component | None = None
    ) -> None:
        """Redraws when a control changes, but the one that it shares with other views."""
        changes = [control.change for control in self.controls if control is not shared]
        if changes:
            self.draw_on(independent_event(*changes), state, target)

    def draw_on(self, event: Callable[..., Any], state: gr.State, target: gr.Dropdown) -> None:
        """Draws on an event that no other callback hears."""
        event(self.drawn, [state, target, *self.own], list(self.outputs), **QUIET)


def target_index(analysis: Analysis, target: str | None) -> int:
    """The class looked at; where it is not listed, the adapted (else frozen) answer."""
    if target in analysis.classes:
        return analysis.classes.index(target)
    return analysis.answer


def picture(label: str, elem_id: str) -> gr.Image:
    """An output picture: lossless, with full screen and download."""
    return gr.Image(
        label=label, show_label=False, elem_id=elem_id, format="png", interactive=False,
        buttons=["download", "fullscreen"],
    )  # fmt: skip


def pictured(made: Picture | None, words: str) -> tuple[gr.Image | None, str]:
    """What the outputs of a picture and of its scales show, with words for who cannot see it."""
    if made is None:
        return None, ""
    return gr.Image(made.pixels, alt_text=words), "".join(map(colour_bar, made.scales))


def required(analysis: Analysis | None) -> Analysis:
    """The analysis a visitor sees.

    Raises:
        SettingsError: there is none yet.
    """
    if analysis is None:
        raise SettingsError("There is no analysis yet. Press Analyse first.")
    return analysis
