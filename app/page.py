"""The page's callbacks: from what the form holds to an analysis and the answer in words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from app.calls import model_call, told
from app.examples import precomputed
from app.export.files import stem_of
from app.figures.theme import CONDITION_NAMES, chip
from app.inputs import settings_of
from app.studio import BACKBONES, NO_PROMPTS, Studio
from app.tabs.shared import target_index
from app.wording.sentences import draw_sentence, headline, learnt_classes, provenance_line
from drople.analysis import Analysis, AnalysisSettings
from drople.classes import parse_class_list
from drople.errors import DropleError
from drople.storage.analyses import analysis_bytes
from drople.storage.prompts import PromptCard
from drople.tokens.dropout import DROP_MODES, PLACEMENTS, DropoutSettings

# What `analyse` yields between its steps.
NOTHING_NEW = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
PICTURE_MISSING = (
    '<div class="lens-answer">The link you followed has settings and classes, but not the picture '
    "they were for. Add it on the left and press Analyse.</div>"
)
PRECOMPUTED = "<b>Precomputed example.</b> Press Analyse to compute it here."


class Page:
    """The page's callbacks over one studio."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.analysing = model_call(self.analyse, lent=lent_to_analyse)
        self.api_analysing = model_call(self.api_analyse, lent=lent_to_analyse)
        self.api_storing = model_call(self.api_evidence, lent=lent_to_analyse)

    def open(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str,
        prompts: str,
        template: str,
        target: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        *rest: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Shows what was computed beforehand for what the form holds, or else analyses it.

        The class looked at is the answer, whatever it was before.
        """
        found = None
        with told():
            card = self.studio.prompts_for(backbone).get(prompts)
            if image is not None and card is not None:
                names = parse_class_list(classes)
                settings = settings_of(template, None, *rest, trained=card.dropout)
                found = precomputed(image, names, settings, prompts, card)
        if found is None and image is None:
            yield gr.skip(), PICTURE_MISSING, gr.skip(), gr.skip()
        elif found is None:
            asked = image, classes, backbone, prompts, template, None, progress, *rest
            yield from self.analysing(*asked)
        else:
            yield shown(found, None, card, beforehand=True)

    def analyse(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str,
        prompts: str,
        template: str,
        target: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        *rest: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Analyses what the form holds; the old result stays where something is wrong.

        Where it yields nothing new, it can be stopped.
        """
        form, cam = rest[:11], rest[11:]
        with told():
            progress(0.05, desc="1 of 3: reading the class list")
            names = parse_class_list(classes)
            picture = _given(image)
            progress(0.2, desc=f"2 of 3: loading {backbone}")
            loaded = self.studio.load(backbone, prompts)
            trained = loaded.card.dropout if loaded.card else DropoutSettings()
            settings = settings_of(template, target, *form, trained=trained)
            if cam:
                settings = replace(settings, cam_method=cam[0], cam_layer=int(cam[1]) - 1)
            yield NOTHING_NEW
            self.studio.texts(loaded, names, template)
            yield NOTHING_NEW
            progress(0.4, desc="3 of 3: both branches, three conditions, maps of all classes")
            analysis = self.studio.analyse(loaded, picture, names, settings)
        yield shown(analysis, target, loaded.card)

    def api_analyse(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str = "mini",
        prompts: str = NO_PROMPTS,
        seed: float = 0,
    ) -> dict[str, Any]:
        """Analyses a picture with default settings.

        Args:
            image: the picture, as a file.
            classes: class names separated by commas or lines.
            backbone: name of the frozen CLIP.
            prompts: name of the trained prompts, or "none".
            seed: of the draw.

        Returns:
            classes; for each condition its cosines, probabilities and logit scale; importance and
            drop probability of each layer's patches (rows of the grid); which are dropped; where
            it all comes from.
        """
        return as_numbers(self._by_default(image, classes, backbone, prompts, seed))

    def api_evidence(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str = "mini",
        prompts: str = NO_PROMPTS,
        seed: float = 0,
    ) -> dict[str, str]:
        """Analyses a picture with default settings and gives all of it as one file.

        Args:
            image: the picture, as a file.
            classes: class names separated by commas or lines.
            backbone: name of the frozen CLIP.
            prompts: name of the trained prompts, or "none".
            seed: of the draw.

        Returns:
            name and, in base64, data of an .npz file, which `drople.load_analysis` and
            `python -m drople replay` read.
        """
        analysis = self._by_default(image, classes, backbone, prompts, seed)
        data = base64.b64encode(analysis_bytes(analysis)).decode()
        name = stem_of(analysis, target_index(analysis, None), "drople-analysis")
        return {"name": f"{name}.npz", "data": data}

    def _by_default(
        self, image: Image.Image | None, classes: str, backbone: str, prompts: str, seed: float
    ) -> Analysis:
        with told():
            names, picture = parse_class_list(classes), _given(image)
            loaded = self.studio.load(backbone, prompts)
            dropout = loaded.card.dropout if loaded.card else DropoutSettings()
            settings = AnalysisSettings(dropout=dropout, seed=int(seed or 0))
            return self.studio.analyse(loaded, picture, names, settings)

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


def _given(image: Image.Image | None) -> Image.Image:
    if image is None:
        raise DropleError("There is no picture yet. Upload one, or choose an example.")
    return image


def lent_to_analyse(image: Any, classes: str, *others: Any, **more: Any) -> int:
    """Seconds to borrow a GPU for: more for a long class list."""
    return 10 + classes.count(",") // 100


def shown(
    analysis: Analysis, target: str | None, card: PromptCard | None, *, beforehand: bool = False
) -> tuple[Analysis, str, Any, str]:
    """An analysis as the page takes it: itself, the answer, the classes, where it comes from."""
    answer = answer_html(analysis, card, beforehand=beforehand)
    return analysis, answer, target_choices(analysis, target), foot_html(analysis)


def answer_html(analysis: Analysis, card: PromptCard | None, *, beforehand: bool = False) -> str:
    """The answer in words: what each condition says, and which classes the prompts learnt."""
    said = [
        chip(condition, f"{CONDITION_NAMES[condition]}: {text}")
        for condition, text in headline(analysis, 0)
    ]
    label = PRECOMPUTED if beforehand else ""
    return (
        f'<div class="lens-answer">{" ".join(said)}'
        f'<span class="lens-draw">{escape(draw_sentence(analysis))} {label}</span>'
        f"{learnt_html(analysis.classes, card.classes) if card and card.classes else ''}</div>"
    )


def learnt_html(listed: tuple[str, ...], learnt: tuple[str, ...]) -> str:
    """Of each listed class, whether the prompts learnt it; the names can be folded out."""
    known, new = learnt_classes(listed, learnt)
    count = f"The prompts learnt {len(known)} of {len(listed)} listed classes"
    groups = [("Learnt", known), ("New to the prompts", new)]
    said = " ".join(f"{title}: {', '.join(names)}." for title, names in groups if names)
    return f'<details class="lens-draw"><summary>{count}.</summary>{escape(said)}</details>'


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
                "cosines": said.cosines.tolist(),
                "probabilities": said.probabilities.tolist(),
                "logit_scale": said.logit_scale,
            }
            for condition, said in analysis.predictions.items()
        },
        "layers": layers,
        "provenance": analysis.provenance,
    }
