"""Analyses of the tiny model, one for each kind of thing the pictures must cope with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from tiny import NAMES, noise_picture, prompted, tiny_clip, wrap

from drople.analysis import Analysis, AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.models.backbone import Backbone
from drople.models.prompts import PromptPlan
from drople.paired_draws import run_paired
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings
from drople.traces import LayerTrace

torch.set_num_threads(1)

PAIR = ("iwtd", "vanilla")
OTHERS = ("inverse", "cls")  # on the page "Inverse IWTD" and "s_cls alone"
# Names that a page, a plot or a table could take for markup, a formula or an instruction.
ODD_NAMES = (
    "<img src=x onerror=alert(1)>",
    "$\\frac{1}$ cat",
    "🐆 leopard",
    'the "dog\'s" bed',
    "[link](javascript:alert(1)) *bold*",
    "<end_of_text>",
    "&amp; &nbsp;",
    "猫",
)
MANY_NAMES = tuple(f"thing number {i}" for i in range(30))
COOP = PromptPlan(image_count=0, image_depth=0, text_depth=1)


@cache
def tiny() -> Backbone:
    """The tiny random CLIP."""
    return wrap(tiny_clip())


def ask(
    names: tuple[str, ...] = NAMES,
    *,
    plan: PromptPlan | None = None,
    bridge: int = 8,
    dropout: DropoutSettings | None = None,
    **settings: object,
) -> Analysis:
    """An analysis of a picture of noise by the prompted tiny model."""
    asked = AnalysisSettings(dropout=dropout or DropoutSettings(), **settings)
    return analyse(prompted(tiny(), plan, bridge=bridge), noise_picture(), names, asked)


def mean_p(layer: LayerTrace) -> float:
    """Mean p over the tokens of a picture that a dropout might touch; 0 where none acts."""
    if layer.probability is None:
        return 0.0
    return float(layer.probability[0, layer.eligible[0]].mean())


KINDS: dict[str, Callable[[], Analysis]] = {
    "ordinary": ask,
    "frozen only": lambda: analyse(tiny(), noise_picture(), NAMES),
    "one class": lambda: ask(NAMES[:1]),
    "many classes": lambda: ask(MANY_NAMES),
    "odd names": lambda: ask(ODD_NAMES),
    "shallow dropout": lambda: ask(dropout=DropoutSettings(image_depth=2, text_depth=1)),
    "no image dropout": lambda: ask(dropout=DropoutSettings(image_depth=0)),
    "modular prompts": lambda: ask(plan=PromptPlan(kind="modular")),
    "coupled prompts, no bridge": lambda: ask(plan=PromptPlan(kind="coupled"), bridge=0),
    "text prompts alone": lambda: ask(plan=COOP, bridge=0),
    "official code": lambda: ask(dropout=OFFICIAL_CODE),
    "hidden tokens": lambda: ask(dropout=DropoutSettings(mode="hide")),
    "scaled tokens": lambda: ask(dropout=DropoutSettings(mode="zero_scaled"), matched=False),
    "all dropped": lambda: ask(dropout=DropoutSettings(p_min=1, p_max=1)),
    "none dropped": lambda: ask(dropout=DropoutSettings(p_min=0, p_max=0)),
    "text dropped too": lambda: ask(drop_text=True),
    "another map": lambda: ask(cam_method="eigencam", cam_layer=1),
    "three dropouts": lambda: ask(strategies=("vanilla", "iwtd", "inverse")),
}


@cache
def analysed(kind: str = "ordinary") -> Analysis:
    """The analysis of one kind; made once, changed by nobody."""
    return KINDS[kind]()


def with_prediction(analysis: Analysis, condition: str, cosines: list[float]) -> Analysis:
    """The same analysis where one condition found other cosines."""
    said = analysis.predictions[condition]
    changed = replace(said, cosines=said.cosines * 0 + cosines)
    return replace(analysis, predictions={**analysis.predictions, condition: changed})


def drawn(analysis, count=3, *, pair=PAIR, maps_for=4):
    """Draws of two dropouts on an analysis of the tiny model, the first ones with maps."""
    model = prompted(tiny()) if analysis.adapted else tiny()
    return (*run_paired(
        model, analysis.pixels, describe_classes(model, analysis.classes),
        settings=analysis.settings, pair=pair, seeds=range(count),
        map_classes=analysis.maps.classes, maps_for=maps_for,
    ),)  # fmt: skip
