"""What the lab's views that compute have in common: the model of an analysis, and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from app.calls import GPU_SECONDS, model_call
from app.studio import Loaded, Studio
from app.tabs.shared import required, target_index
from drople.analysis import Analysis, AnalysisSettings
from drople.class_texts import ClassTexts
from drople.errors import SettingsError
from drople.models.backbone import hash_weights
from drople.models.prompted_clip import PromptedClip

NO_DROPOUT_HERE = (
    "Without trained prompts there is no adapted branch and nothing to drop. Choose trained "
    "prompts on the left and press Analyse."
)


@dataclass(frozen=True)
class Bench:
    """What a view that computes needs of the page."""

    studio: Studio
    state: gr.State  # the analysis
    target: gr.Dropdown  # the class looked at
    source: tuple[Component, Component]  # which backbone and prompts the form names
    model: dict[str, Any]  # how events that run a model queue

    def asked(self) -> list[Component]:
        """What a computing callback takes first."""
        return [self.state, self.target, *self.source]

    def call(
        self, compute: Callable[..., Any], *, gpu_seconds: int = GPU_SECONDS
    ) -> Callable[..., Any]:
        """A computing callback as an event takes it; see `model_call`."""
        return model_call(partial(compute, self.studio), gpu_seconds=gpu_seconds)

    def streams(
        self,
        buttons: tuple[gr.Button, gr.Button],
        compute: Callable[..., Any],
        controls: Sequence[Component],
        outputs: Sequence[Any],
        said: Component,
    ) -> None:
        """Wires a run button to a generator, and the stop button to its end.

        Args:
            controls: given to `compute` after what `asked` names.
            outputs: the state that holds what was found, then what is drawn of it.
            said: where the progress is shown.
        """
        run, stop = buttons
        running = run.click(
            self.call(compute), [*self.asked(), *controls], [*outputs],
            api_visibility="private", show_progress_on=said, **self.model,
        )  # fmt: skip
        stop.click(None, None, None, cancels=running, api_visibility="private")


def numbers(elem_id: str, headers: Sequence[str], widths: Sequence[int]) -> gr.Dataframe:
    """A table to be copied, its columns so many pixels wide; it scrolls in itself."""
    return gr.Dataframe(
        headers=list(headers), column_widths=[f"{width}px" for width in widths], wrap=True,
        show_label=False, interactive=False, elem_id=elem_id, elem_classes="lens-table",
        buttons=["copy"], max_height=900,
    )  # fmt: skip


def table_of(headers: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> dict[str, Any]:
    """What such a table shows; nothing but its headers without rows."""
    return {"headers": list(headers), "data": [list(row) for row in rows]}


@dataclass(frozen=True)
class Question:
    """What a view computes about: a class of an analysis, and the model that made it."""

    studio: Studio
    analysis: Analysis
    target: int  # index of the class looked at
    loaded: Loaded

    @classmethod
    def of(
        cls,
        studio: Studio,
        analysis: Analysis | None,
        target: str | None,
        backbone: str,
        prompts: str,
        *,
        adapted: bool = False,
    ) -> Question:
        """What a visitor asks about.

        Args:
            target: the class looked at.
            backbone, prompts: what the form names now.
            adapted: whether there must be an adapted branch.

        Raises:
            SettingsError: there is no analysis yet, the form names another model than it was made
                with, or it has no adapted branch.
            BackboneError, CheckpointError: see `Studio.load`.
        """
        analysis = required(analysis)
        if adapted and not analysis.adapted:
            raise SettingsError(NO_DROPOUT_HERE)
        loaded = studio.load(backbone, prompts)
        model, known = loaded.model, analysis.provenance
        clip = model.backbone if isinstance(model, PromptedClip) else model
        hashed = hash_weights(model.state_dict()) if isinstance(model, PromptedClip) else None
        if (clip.weights_hash, hashed) != (known["backbone_hash"], known.get("prompts_hash")):
            raise SettingsError(
                "The backbone or the prompts on the left are no longer those of this analysis. "
                "Press Analyse first."
            )
        return cls(studio, analysis, target_index(analysis, target), loaded)

    @property
    def prompted(self) -> PromptedClip:
        """The model of a question that was asked with `adapted`."""
        assert isinstance(self.loaded.model, PromptedClip)
        return self.loaded.model

    def texts(self) -> ClassTexts:
        """The classes, described by this model."""
        settings = self.analysis.settings
        return self.studio.texts(self.loaded, self.analysis.classes, settings.template)

    def again(self, settings: AnalysisSettings) -> Analysis:
        """The same picture and classes with other settings."""
        seen = Image.fromarray(self.analysis.pixels)
        return self.studio.analyse(self.loaded, seen, self.analysis.classes, settings)

    def mapped(self) -> Analysis:
        """The analysis, worked out again where it holds no map of the class looked at."""
        if self.target in self.analysis.maps.classes:
            return self.analysis
        name = self.analysis.classes[self.target]
        return self.again(replace(self.analysis.settings, target=name))
