"""What a view of the lab computes and shows, without a page."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import gradio as gr
from furnished import FurnishedStudio
from tiny import NAMES, noise_picture

from app.demo import MODEL
from app.lab.bench import Bench, layer_slider
from app.lab.question import Question
from app.studio import NO_PROMPTS, Studio
from app.tabs.shared import View
from drople.analysis import Analysis, AnalysisSettings


def silent(*done: object, desc: str = "") -> None:
    """A progress that nobody sees."""


def asked(
    studio: Studio, analysis: Analysis, target: int, *, backbone: str = "tiny", prompts: str = "p"
) -> Question:
    """A question about a class, by its index; some studios only tell prompts from none."""
    return Question(studio, analysis, target, backbone, prompts)


def furnished_question(furnished: tuple[Any, ...], *, prompts: bool) -> Question:
    """A question about the second class, of a model that can compute; with prompts or without."""
    studio, backbone, file = furnished
    named = file if prompts else NO_PROMPTS
    loaded = studio.load(backbone, named)
    analysis = studio.analyse(loaded, noise_picture(), NAMES, AnalysisSettings())
    return asked(studio, analysis, 1, backbone=backbone, prompts=named)


def views_of(module: ModuleType, studio: Studio | None = None) -> list[View]:
    """The views of a module of the lab that show what it computes."""
    with gr.Blocks():
        return [view for view in module.build(bench_of(studio)) if view.held]


def bench_of(studio: Studio | None = None) -> Bench:
    """What a view needs of a page, without the page."""
    source, target = (gr.Textbox(), gr.Textbox()), gr.Dropdown([], render=False)
    return Bench(studio or FurnishedStudio(), gr.State(), target, layer_slider(), source, MODEL)
