"""The page's callbacks: from what the form holds to an analysis and the answer in words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from app.calls import Newest, model_call, user_errors
from app.examples import precomputed
from app.export.files import stem_of
from app.form import Form, settings_of
from app.overview.payload import DRAWS, Overview
from app.overview.stream import draws_for, overview_of, overview_steps
from app.studio import BACKBONES, Studio
from app.tabs.shared import target_index
from drople.analysis import Analysis, AnalysisSettings
from drople.classes import (
    check_template,
    merged_sentence,
    parse_class_list,
    repeated_names,
    split_names,
)
from drople.errors import DropleError, SettingsError
from drople.paired_draws import DrawBatch
from drople.storage.analyses import analysis_bytes
from drople.storage.prompts import PromptCard
from drople.tokens.dropout import DROP_MODES, PLACEMENTS
from drople.traces import LayerTrace

NOTHING_NEW = (gr.skip(),) * 4  # what `analyse` yields between its steps
PICTURE_MISSING = (
    "The link you followed has settings and classes, but not the picture they were for. Add it "
    "under Photo and press Analyse."
)
Drawn = tuple[Overview, tuple[DrawBatch, ...]]  # the overview and its draws so far
PRECOMPUTED = "precomputed example"


class Page:
    """The page's callbacks over one studio.

    Those that read the form take its values by name (`inputs_kwargs` of an event). Components
    cannot be pickled: what travels to a GPU on ZeroGPU is a `Form`.
    """

    def __init__(self, studio: Studio, draws: int | None = None):
        self.studio = studio
        self.draws = draws  # of each compared dropout; None: see `draws_for`
        self.newest = Newest()
        self._analysing = model_call(self._steps, gpu_seconds=gpu_seconds_of)
        self._drawing = model_call(self._draws)

    def open(
        self,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        request: gr.Request | None = None,
        **values: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Shows what was computed beforehand for what the form holds, or else analyses it.

        The class looked at is the answer, whatever it was before.
        """
        yield from self._newer(request, self._opened(Form(**values), progress))

    def _opened(self, form: Form, progress: gr.Progress) -> Iterator[tuple[Any, ...]]:
        form = replace(form, target=None)
        with user_errors():
            card = self.studio.prompts_for(form.backbone).get(form.prompts)
            stored = precomputed(form, card)
        if stored is not None:
            analysis, batches = stored
            count = self.draws or DRAWS
            yield self._shown(analysis, card, form, count=count, note=PRECOMPUTED, batches=batches)
        elif form.image is None:
            yield gr.skip(), gr.skip(), {"message": PICTURE_MISSING}, gr.skip()
        else:
            yield from self._analysing(form, progress)

    def check(self, request: gr.Request | None = None, **values: Any) -> None:
        """Refuses what cannot be analysed, as far as it is known without a model.

        Only what can be ends the draws of the result shown.
        """
        with user_errors():
            self._question(Form(**values))
        self.newest.mark(request)

    def _question(self, form: Form) -> tuple[tuple[str, ...], Image.Image, AnalysisSettings]:
        """What a form asks: classes, picture and settings.

        Raises:
            DropleError: one of them is missing or wrong.
        """
        names = parse_class_list(form.classes or "")  # an API caller may send null
        if form.image is None:
            raise DropleError("There is no picture yet. Upload one, or choose an example.")
        check_template(form.template)
        trained = self.studio.trained_dropout(form.backbone, form.prompts)
        return names, form.image, settings_of(form, trained=trained)

    def analyse(
        self,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        request: gr.Request | None = None,
        **values: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Analyses what the form holds; the old result stays where something is wrong."""
        yield from self._newer(request, self._analysing(Form(**values), progress))

    def _newer(self, request: gr.Request | None, steps: Iterator[Any]) -> Iterator[Any]:
        """Ends draws of the former result before there is a new one."""
        for step in steps:
            self.newest.mark(request)
            yield step

    def stop(self, request: gr.Request) -> None:
        """Ends the draws, whatever Gradio cancels."""
        self.newest.stop(request)

    def _steps(self, form: Form, progress: gr.Progress) -> Iterator[tuple[Any, ...]]:
        """Where it yields nothing new, an analysis can be stopped."""
        with user_errors():
            progress(0.05, desc="1 of 3: reading the class list")
            names, image, settings = self._question(form)
            if repeated := repeated_names(split_names(form.classes)):
                gr.Info(merged_sentence(repeated))
            progress(0.2, desc=f"2 of 3: loading {form.backbone}")
            loaded = self.studio.load(form.backbone, form.prompts)
            yield NOTHING_NEW
            self.studio.texts(loaded, names, form.template)
            yield NOTHING_NEW
            progress(0.4, desc="3 of 3: both branches, two dropouts, maps of the likeliest classes")
            analysis = self.studio.analyse(loaded, image, names, settings)
            count = self.draws or draws_for(loaded.model.backbone)
            yield self._shown(analysis, loaded.card, form, count=count)

    def compare(
        self, drawn: Drawn | None, request: gr.Request | None = None, **values: Any
    ) -> tuple[Any, Any]:
        """The same analysis for another pair of dropouts, before their draws."""
        form = Form(**values)
        with user_errors():
            if len(set(form.pair)) < 2:
                raise SettingsError("Choose two different dropouts to compare.")
            self.newest.mark(request)
            if drawn is None:
                return gr.skip(), gr.skip()
            overview = replace(drawn[0], pair=form.pair)
            return (overview, ()), overview.payload()

    def draw(
        self, drawn: Drawn | None, request: gr.Request | None = None, **values: Any
    ) -> Iterator[tuple[Drawn, dict[str, Any]]]:
        """Draws of the compared dropouts for the overview that is shown, a batch at a time.

        Each batch takes its own turn at the model, so that other visitors compute in between.
        """
        if drawn is None:
            return
        form = Form(**values)
        if form.pair != drawn[0].pair and len(set(form.pair)) == 2:  # chosen meanwhile
            drawn = replace(drawn[0], pair=form.pair), ()
        if sum(len(one.seeds) for one in drawn[1]) < drawn[0].wanted:
            yield from self.newest.only(request, self._drawing(drawn, form))

    def _draws(self, drawn: Drawn, form: Form) -> Iterator[tuple[Drawn, dict[str, Any]]]:
        with user_errors():
            overview, stored = drawn
            loaded = self.studio.load(form.backbone, form.prompts)
            if not loaded.made(overview.analysis):  # the form has changed meanwhile
                return
            for batches in overview_steps(self.studio, loaded, overview, stored=stored):
                yield (overview, batches), overview.payload(batches)

    def _shown(
        self,
        analysis: Analysis,
        card: PromptCard | None,
        form: Form,
        *,
        count: int,
        note: str = "",
        batches: tuple[DrawBatch, ...] = (),
    ) -> tuple[Analysis, Drawn, dict[str, Any], Any]:
        """An analysis as the page takes it: itself, its draws, the overview, the classes."""
        overview = overview_of(analysis, card, pair=form.pair, count=count)
        batches = tuple(batch for batch in batches if batch.pair == form.pair)
        payload = overview.payload(batches) | {"note": note}
        return analysis, (overview, batches), payload, target_choices(analysis, form.target)

    def api_analyse(self, **values: Any) -> dict[str, Any]:
        """Analyses a picture with default settings.

        Args:
            values: image, classes, backbone, prompts, seed; all else is as trained.

        Returns:
            classes; for each condition its cosines, probabilities and logit scale; importance and
            drop probability of each layer's patches (rows of the grid); which are dropped; where
            it all comes from.
        """
        return as_numbers(self._analysis_of(Form(**values)))

    def api_evidence(self, **values: Any) -> dict[str, str]:
        """Analyses a picture with default settings and gives all of it as one file.

        Args:
            values: image, classes, backbone, prompts, seed; all else is as trained.

        Returns:
            name and, in base64, data of an .npz file, which `drople.load_analysis` and
            `python -m drople replay` read.
        """
        analysis = self._analysis_of(Form(**values))
        data = base64.b64encode(analysis_bytes(analysis)).decode()
        name = stem_of(analysis, target_index(analysis, None), "drople-analysis")
        return {"name": f"{name}.npz", "data": data}

    def _analysis_of(self, form: Form) -> Analysis:
        *_, (analysis, *_) = self._analysing(form, gr.Progress())
        return analysis

    def api_options(self) -> dict[str, Any]:
        """What `/analyse` can be asked for.

        Returns:
            backbones known by name; the trained prompts of each that ship with the app, with their
            measured accuracy; drop modes and placements.
        """
        prompts = {name: self.studio.prompts_for(name) for name in BACKBONES}
        return {
            "backbones": list(BACKBONES),
            "prompts": {
                backbone: {name: dict(card.metrics) for name, card in cards.items()}
                for backbone, cards in prompts.items()
                if cards
            },
            "modes": list(DROP_MODES),
            "placements": list(PLACEMENTS),
        }


def gpu_seconds_of(form: Form, progress: gr.Progress) -> int:
    """Seconds to borrow a GPU for: more for a long class list."""
    return 10 + form.classes.count(",") // 100


def target_choices(analysis: Analysis, target: str | None) -> Any:
    """The classes to look at: all of a short list; of a long one those with maps."""
    shown = [analysis.classes[i] for i in analysis.maps.classes]
    choices = [*analysis.classes] if len(analysis.classes) <= 300 else shown
    chosen = analysis.classes[target_index(analysis, target)]
    return gr.Dropdown(choices, value=chosen)


def as_numbers(analysis: Analysis) -> dict[str, Any]:
    """An analysis as plain numbers for the API."""

    def grid(layer: LayerTrace, values: np.ndarray | None) -> list[list[Any]] | None:
        return None if values is None else layer.patches(values).tolist()

    return {
        "classes": list(analysis.classes),
        "predictions": {
            condition: {
                "cosines": prediction.cosines.tolist(),
                "probabilities": prediction.probabilities.tolist(),
                "logit_scale": prediction.logit_scale,
            }
            for condition, prediction in analysis.predictions.items()
        },
        "layers": {
            condition: [
                {
                    "layer": one.depth + 1,
                    "importance": grid(one, one.blend),
                    "p": grid(one, one.probability),
                    "dropped": grid(one, one.dropped),
                }
                for one in trace.layers
            ]
            for condition, trace in analysis.images.items()
        },
        "provenance": analysis.provenance,
    }
