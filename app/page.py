"""The page's callbacks: from what the form holds to an analysis and the answer in words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from app.calls import model_call, user_errors
from app.examples import precomputed
from app.export.files import stem_of
from app.figures.theme import CONDITION_NAMES, chip
from app.form import Form, settings_of
from app.studio import BACKBONES, Studio
from app.tabs.shared import target_index
from app.wording.sentences import draw_sentence, headline, learnt_classes, provenance_line
from drople.analysis import Analysis
from drople.classes import parse_class_list
from drople.errors import DropleError
from drople.storage.analyses import analysis_bytes
from drople.storage.prompts import PromptCard
from drople.tokens.dropout import DROP_MODES, PLACEMENTS

# What the endpoints `/analyse` and `/evidence` take; all else is as the prompts were trained.
API_FIELDS = ("image", "classes", "backbone", "prompts", "seed")
# What `analyse` yields between its steps.
NOTHING_NEW = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
PICTURE_MISSING = (
    '<div class="lens-answer">The link you followed has settings and classes, but not the picture '
    "they were for. Add it on the left and press Analyse.</div>"
)
PRECOMPUTED = "<b>Precomputed example.</b> Press Analyse to compute it here."


class Page:
    """The page's callbacks over one studio.

    Those that read the form take its values by name (`inputs_kwargs` of an event). Components
    cannot be pickled: what travels to a GPU on ZeroGPU is a `Form`.
    """

    def __init__(self, studio: Studio):
        self.studio = studio
        self._analysing = model_call(self._steps, gpu_seconds=gpu_seconds_of)

    def open(
        self,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        **values: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Shows what was computed beforehand for what the form holds, or else analyses it.

        The class looked at is the answer, whatever it was before.
        """
        form = replace(Form(**values), target=None)
        with user_errors():
            card = self.studio.prompts_for(form.backbone).get(form.prompts)
            stored = precomputed(form, card)
        if stored is not None:
            yield shown(stored, None, card, beforehand=True)
        elif form.image is None:
            yield gr.skip(), PICTURE_MISSING, gr.skip(), gr.skip()
        else:
            yield from self._analysing(form, progress)

    def analyse(
        self,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        **values: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Analyses what the form holds; the old result stays where something is wrong."""
        yield from self._analysing(Form(**values), progress)

    def _steps(self, form: Form, progress: gr.Progress) -> Iterator[tuple[Any, ...]]:
        """Where it yields nothing new, an analysis can be stopped."""
        with user_errors():
            progress(0.05, desc="1 of 3: reading the class list")
            names = parse_class_list(form.classes)
            if form.image is None:
                raise DropleError("There is no picture yet. Upload one, or choose an example.")
            progress(0.2, desc=f"2 of 3: loading {form.backbone}")
            loaded = self.studio.load(form.backbone, form.prompts)
            settings = settings_of(form, trained=loaded.dropout)
            yield NOTHING_NEW
            self.studio.texts(loaded, names, form.template)
            yield NOTHING_NEW
            progress(0.4, desc="3 of 3: both branches, three conditions, maps of all classes")
            analysis = self.studio.analyse(loaded, form.image, names, settings)
        yield shown(analysis, form.target, loaded.card)

    def api_analyse(self, **values: Any) -> dict[str, Any]:
        """Analyses a picture with default settings.

        Args:
            values: of `API_FIELDS`.

        Returns:
            classes; for each condition its cosines, probabilities and logit scale; importance and
            drop probability of each layer's patches (rows of the grid); which are dropped; where
            it all comes from.
        """
        return as_numbers(self._analysis_of(Form(**values)))

    def api_evidence(self, **values: Any) -> dict[str, str]:
        """Analyses a picture with default settings and gives all of it as one file.

        Args:
            values: of `API_FIELDS`.

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


def shown(
    analysis: Analysis, target: str | None, card: PromptCard | None, *, beforehand: bool = False
) -> tuple[Analysis, str, Any, str]:
    """An analysis as the page takes it: itself, the answer, the classes, where it comes from."""
    answer = answer_html(analysis, card, beforehand=beforehand)
    return analysis, answer, target_choices(analysis, target), foot_html(analysis)


def answer_html(analysis: Analysis, card: PromptCard | None, *, beforehand: bool = False) -> str:
    """The answer in words: what each condition says, and which classes the prompts learnt."""
    chips = [
        chip(condition, f"{CONDITION_NAMES[condition]}: {text}")
        for condition, text in headline(analysis, 0)
    ]
    label = PRECOMPUTED if beforehand else ""
    return (
        f'<div class="lens-answer">{" ".join(chips)}'
        f'<span class="lens-draw">{escape(draw_sentence(analysis))} {label}</span>'
        f"{learnt_html(analysis.classes, card.classes) if card and card.classes else ''}</div>"
    )


def learnt_html(listed: tuple[str, ...], learnt: tuple[str, ...]) -> str:
    """Of each listed class, whether the prompts learnt it; the names can be folded out."""
    known, new = learnt_classes(listed, learnt)
    count = f"The prompts learnt {len(known)} of {len(listed)} listed classes"
    groups = [("Learnt", known), ("New to the prompts", new)]
    listing = " ".join(f"{title}: {', '.join(names)}." for title, names in groups if names)
    return f'<details class="lens-draw"><summary>{count}.</summary>{escape(listing)}</details>'


def target_choices(analysis: Analysis, target: str | None) -> Any:
    """The classes to look at: all of a short list; of a long one those with maps."""
    shown = [analysis.classes[i] for i in analysis.maps.classes]
    choices = [*analysis.classes] if len(analysis.classes) <= 300 else shown
    chosen = analysis.classes[target_index(analysis, target)]
    return gr.Dropdown(choices, value=chosen)


def foot_html(analysis: Analysis) -> str:
    """Where the pictures come from."""
    return f'<div class="lens-foot">{escape(provenance_line(analysis))}</div>'


def as_numbers(analysis: Analysis) -> dict[str, Any]:
    """An analysis as plain numbers for the API."""
    layers: dict[str, list[dict[str, Any]]] = {}
    for condition, trace in analysis.images.items():
        layers[condition] = [
            {
                "layer": one.depth + 1,
                "importance": one.patches(one.blend).tolist(),
                "p": None if one.probability is None else one.patches(one.probability).tolist(),
                "dropped": None if one.dropped is None else one.patches(one.dropped).tolist(),
            }
            for one in trace.layers
        ]
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
        "layers": layers,
        "provenance": analysis.provenance,
    }
