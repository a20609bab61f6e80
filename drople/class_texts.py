"""The text side of an analysis, which depends on the class list alone and is kept for the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from drople.branches import ADAPTED, FROZEN
from drople.classes import check_template, clean_class_names
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, text_features
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import STRATEGIES, DropoutSettings, TokenDropout
from drople.tokens.layout import text_prompt_rows
from drople.traces import BranchTrace, ScoredLayer


@dataclass(frozen=True)
class TextRun:
    """One walk of a branch through all classes."""

    layers: tuple[ScoredLayer, ...]
    features: Tensor  # (K, E), unit
    words: tuple[tuple[str, ...], ...]
    depth: int  # dropout would act after so many first layers

    def trace(self, dropout: DropoutSettings) -> BranchTrace:
        """All classes' layers as arrays; p is what IWTD with these settings would give."""
        everyone, iwtd = slice(0, len(self.features)), STRATEGIES["iwtd"](dropout)
        acts = min(self.depth, dropout.text_depth)
        layers = []
        for layer in self.layers:
            drawn = layer.drop is not None
            would = iwtd if layer.depth < acts and not drawn else None
            layers.append(layer.trace(everyone, dropout.weights, would=would, drawn=drawn))
        return BranchTrace(tuple(layers), self.features.cpu().numpy(), self.words)


@dataclass(frozen=True)
class ClassTexts:
    """A class list as both branches read it; without dropout."""

    names: tuple[str, ...]  # K
    phrases: dict[str, tuple[str, ...]]  # branch -> what it read
    runs: dict[str, TextRun]  # by branch

    @property
    def features(self) -> dict[str, Tensor]:
        """Branch -> unit features (K, E)."""
        return {branch: run.features for branch, run in self.runs.items()}


@torch.no_grad()
def describe_classes(
    model: Backbone | PromptedClip, names: Sequence[str], template: str = "a photo of a {}."
) -> ClassTexts:
    """Reads a class list with the frozen branch and, with prompts, the adapted one.

    Raises:
        ClassListError: no name is left, or one does not fit the context.
        SettingsError: the template has no {} for the class name.
    """
    names, template = clean_class_names(names), check_template(template)
    backbone = model.backbone
    phrases = {FROZEN: tuple(template.replace("{}", name) for name in names)}
    ids = backbone.tokenise(phrases[FROZEN])
    records = backbone.text_layers(ids, score=True)
    runs = {FROZEN: _text_run(backbone, records, ids, slots=0, depth=0)}
    if isinstance(model, PromptedClip):
        slots = "".join(f"[P{i + 1}]" for i in range(model.plan.text_count))
        phrases[ADAPTED] = tuple(f"{slots} {model.plan.phrase.replace('{}', n)}" for n in names)
        runs[ADAPTED] = text_layers_of(model, names)
    return ClassTexts(names, phrases, runs)


@torch.no_grad()
def text_layers_of(
    model: PromptedClip,
    names: Sequence[str],
    *,
    dropout: DropoutSettings | None = None,
    seed: int = 0,
) -> TextRun:
    """The adapted text tower on all classes; without a dropout where that is None."""
    ids = model.backbone.tokenise(model.phrases(names))
    depth = min(model.plan.text_depth, model.backbone.text_layer_count)
    acting = None
    if dropout is not None:
        draws = SeededDraws([seed] * len(names), "text", names)
        acting = TokenDropout.of(dropout, draws, depth=min(depth, dropout.text_depth))
    sos = dropout.drop_sos if dropout else False
    records = model.text_layers(ids, score=True, dropout=acting, drop_sos=sos)
    return _text_run(model.backbone, records, ids, slots=model.plan.text_count, depth=depth)


def _text_run(
    backbone: Backbone, records: Iterator[LayerRecord], ids: Tensor, *, slots: int, depth: int
) -> TextRun:
    layers = []
    for record in records:
        layers.append(ScoredLayer.of(record))
    features = F.normalize(text_features(backbone.text, record), dim=-1)
    words = []
    for row in ids:
        pieces = backbone.words(row)
        pieces[text_prompt_rows(slots)] = [f"P{i + 1}" for i in range(slots)]
        words.append(tuple(pieces))
    return TextRun(tuple(layers), features, tuple(words), depth)
