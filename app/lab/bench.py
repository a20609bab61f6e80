"""What the lab's views have in common: computing on a press, in steps, until done or stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from app.calls import model_call
from app.lab.display.tables import table_of
from app.lab.question import Question, Result
from app.studio import Studio
from app.tabs.shared import View, required, target_index
from drople.analysis import Analysis, same_question
from drople.branches import FROZEN
from drople.errors import SettingsError

T = TypeVar("T")
NO_DROPOUT_HERE = (
    "Without trained prompts there is no adapted branch and nothing to drop. Choose trained "
    "prompts above and press Analyse."
)


@dataclass(frozen=True)
class Bench:
    """What a view needs of the page."""

    studio: Studio
    state: gr.State  # the analysis
    target: gr.Dropdown  # the class looked at
    layer: gr.Slider  # the layer looked at, counted from 1
    source: tuple[Component, Component]  # which backbone and prompts the form names
    model: dict[str, Any]  # how events that run a model queue


@dataclass(frozen=True)
class Computation(Generic[T]):
    """What a button computes, and the views that show it.

    The views' `draw` takes the analysis, the index of the class looked at, the newest value and
    the view's controls. Without a value for this very question the views are empty, but for what
    to press; where there is nothing to press, `draw` is given None.
    """

    compute: Callable[..., Iterator[T]]  # (question, *inputs, progress=) -> values that grow
    views: Sequence[View]
    note: gr.Markdown  # of a view: its sentence, the progress, what to press
    _: KW_ONLY
    press: str | None
    run: gr.Button
    stop: gr.Button | None = None
    inputs: Sequence[Component] = ()
    binding: Sequence[Component] = ()  # inputs that are part of the question, and controls too
    needs_prompts: bool = False
    per_class: bool = True  # whether a value is about the class looked at alone
    same: Callable[[Analysis, Analysis], bool] = same_question

    def on(self, bench: Bench) -> list[View]:
        """Wires the buttons; gives the views as a tab of the lab shows them."""

        def steps(
            progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
            *values: Any,
        ) -> Iterator[list[Any]]:
            yield from self.steps(bench.studio, progress, values)

        results: gr.State = gr.State(None, time_to_live=3600)
        controls = [one for view in self.views for one in view.controls]
        running = self.run.click(
            model_call(steps),
            [bench.state, bench.target, *bench.source, *self.inputs, *controls],
            [results, *(one for view in self.views for one in view.outputs)],
            api_visibility="private", show_progress_on=self.note, **bench.model,
        )  # fmt: skip
        if self.stop is not None:
            self.stop.click(None, None, None, cancels=running, api_visibility="private")
        return [replace(one, draw=partial(self.draw, one), held=[results]) for one in self.views]

    def steps(
        self, studio: Studio, progress: gr.Progress, values: Sequence[Any]
    ) -> Iterator[list[Any]]:
        """The result so far and all outputs, after each step; others may compute in between.

        Args:
            values: the analysis, the class looked at, the backbone and the prompts of the form,
                the inputs, and the controls of each view.

        Raises:
            DropleError: there is no analysis or no adapted branch, or see `compute`.
        """
        analysis, target, backbone, prompts = required(values[0]), *values[1:4]
        if self.needs_prompts and not analysis.adapted:
            raise SettingsError(NO_DROPOUT_HERE)
        inputs, controls = values[4 : 4 + len(self.inputs)], values[4 + len(self.inputs) :]
        index = target_index(analysis, target)
        question = Question(studio, analysis, index, backbone, prompts)
        bound = _chosen(self.binding, self.inputs, inputs)
        about = index if self.per_class else None
        result: Result[T] | None = None
        values_so_far = self.compute(question, *inputs, progress=progress)
        while (value := studio.in_turn(partial(next, values_so_far, None))) is not None:
            result = Result(analysis, about, value, bound)
            yield [result, *self._outputs(result, index, controls)]
        if result is not None and self.stop is not None:
            result = replace(result, done=True)
            yield [result, *self._outputs(result, index, controls)]

    def _outputs(self, result: Result[T], target: int, controls: Sequence[Any]) -> list[Any]:
        outputs: list[Any] = []
        rest = iter(controls)
        for view in self.views:
            own = islice(rest, len(view.controls))
            outputs += view.parts(self.draw(view, result.analysis, target, result, *own))
        return outputs

    def draw(
        self, view: View, analysis: Analysis, target: int, result: Result[T] | None, *controls: Any
    ) -> Any:
        """The outputs of a view: of the value that answers this question, or what to do."""
        if self.needs_prompts and not analysis.adapted:
            return self._empty(view, NO_DROPOUT_HERE)
        bound = _chosen(self.binding, view.controls, controls)
        if result and not result.answers(analysis, target, controls=bound, same=self.same):
            result = None
        if result is None and self.press is not None:
            return self._empty(view, self.press)
        drawn = view.draw(analysis, target, result.value if result else None, *controls)
        if result and result.done and self.note in view.outputs:
            at = view.outputs.index(self.note)
            drawn = [*drawn[:at], f"Done. {drawn[at]}", *drawn[at + 1 :]]
        return drawn

    def _empty(self, view: View, note: str) -> Any:
        outputs = [note if one is self.note else _nothing(one) for one in view.outputs]
        return outputs if len(outputs) > 1 else outputs[0]


def _chosen(
    wanted: Sequence[Component], components: Sequence[Component], values: Sequence[Any]
) -> tuple[Any, ...]:
    """The values of some of the components, in the order wanted."""
    return tuple(values[components.index(one)] for one in wanted)


def _nothing(output: Block) -> Any:
    """What an output shows while there is nothing to show."""
    if isinstance(output, gr.Dataframe):
        return table_of()
    return "" if isinstance(output, gr.HTML | gr.Markdown) else None


def layer_slider() -> gr.Slider:
    """Where the layer looked at is shown and chosen; to be rendered."""
    return gr.Slider(
        1, 12, 1, step=1, label="Layer looked at", elem_id="layer", min_width=160, render=False,
        interactive=True,
    )  # fmt: skip


def draw_reach(analysis: Analysis, target: int) -> gr.Slider:
    """The slider of layers, which reaches the last one there is."""
    return gr.Slider(maximum=len(analysis.images[FROZEN].layers))


def layer_index(analysis: Analysis, layer: float) -> int:
    """The index of a slider's layer, counted from 1; of the last one where it reaches further."""
    return min(int(layer), len(analysis.images[FROZEN].layers)) - 1


def numbers(elem_id: str, widths: Sequence[int]) -> gr.Dataframe:
    """A table to be copied, its columns so many pixels wide; it scrolls in itself."""
    return gr.Dataframe(
        headers=[""], column_widths=[f"{width}px" for width in widths], wrap=True,
        show_label=False, interactive=False, elem_id=elem_id, elem_classes="lens-table",
        buttons=["copy"], max_height=900,
    )  # fmt: skip
