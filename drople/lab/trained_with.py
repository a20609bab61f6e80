"""Checkpoints that differ in the method alone, beside each other with dropout off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from drople.analysis import Analysis, AnalysisSettings
from drople.branches import ADAPTED, FROZEN
from drople.conditions import Prediction
from drople.storage.prompts import PromptCard
from drople.tokens.dropout import DropoutSettings

# What a method was trained with, in the order shown.
TRAINED_WITH = {
    "drople-none": "no dropout",
    "drople-vanilla": "vanilla",
    "drople": "IWTD",
    "drople-rank": "IWTD by rank",
    "mpl": "MPL",
}


@dataclass(frozen=True)
class Comparison:
    """Checkpoints of one backbone, data, class list, number of shots and seed."""

    data: str
    shots: int
    seed: int
    cards: dict[str, PromptCard]  # name of the prompts -> card, in the order of TRAINED_WITH

    @property
    def title(self) -> str:
        classes = len(next(iter(self.cards.values())).classes)
        data = self.data.removeprefix("fewshot_")
        return f"{data}, {classes} classes, {self.shots} shots, seed {self.seed}"

    @property
    def epochs(self) -> set[object]:
        """How many epochs they were trained for; more than one number where that differs."""
        return {card.training.get("epochs") for card in self.cards.values()}


def comparisons(cards: Mapping[str, PromptCard]) -> list[Comparison]:
    """Every set of cards in which nothing but the method may differ, with at least two methods.

    What a method brings with it (its prompts, losses and bridge) differs too, and so may the
    number of epochs: see `Comparison.epochs`.
    """
    groups: dict[tuple[object, ...], dict[str, PromptCard]] = {}
    for name, card in cards.items():
        if card.method in TRAINED_WITH:
            key = (card.backbone_hash, card.data, card.classes, card.shots, card.seed)
            groups.setdefault(key, {})[name] = card
    order = list(TRAINED_WITH)
    sets = []
    for own in groups.values():
        if len({card.method for card in own.values()}) < 2:
            continue
        ordered = dict(sorted(own.items(), key=lambda item: order.index(item[1].method)))
        card = next(iter(ordered.values()))
        sets.append(Comparison(card.data, card.shots, card.seed, ordered))
    return sorted(sets, key=lambda one: one.title)


def without_dropout(settings: AnalysisSettings, target: str) -> AnalysisSettings:
    """The same question with nothing dropped: neither a dropout nor a seed plays a part."""
    return replace(
        settings, dropout=DropoutSettings(), seed=0, strategies=(), matched=False,
        drop_text=False, target=target, keep_attention=False,
    )  # fmt: skip


def same_picture(a: Analysis, b: Analysis) -> bool:
    """Whether two analyses ask the same but for the prompts, the dropout and the seed."""
    asked = [
        (without_dropout(one.settings, ""), one.provenance["backbone_hash"], one.classes)
        for one in (a, b)
    ]
    return asked[0] == asked[1] and np.array_equal(a.pixels, b.pixels)


@dataclass(frozen=True)
class Answer:
    """What one checkpoint, or the frozen branch, makes of the picture with dropout off."""

    method: str  # a key of TRAINED_WITH, or FROZEN
    name: str  # of the prompts; FROZEN for the frozen branch
    prediction: Prediction
    map: np.ndarray  # (G, G) of the class looked at, not rectified, not rescaled
    accuracy: dict[str, float]  # base, novel, harmonic_mean: percent, as measured; may be empty


def answers(
    analysis: Analysis, name: str, card: PromptCard, *, target: int
) -> tuple[Answer, Answer]:
    """The frozen branch's answer and that of the checkpoint the analysis was made with.

    Args:
        analysis: made with `without_dropout` settings.
        name: of the prompts.
        target: index of the class looked at, which has a map.
    """
    index = analysis.maps.classes.index(target)

    def answer(method: str, name: str, branch: str) -> Answer:
        start, metrics = f"{branch}_", card.metrics.items()
        accuracy = {k.removeprefix(start): v for k, v in metrics if k.startswith(start)}
        prediction, values = analysis.predictions[branch], analysis.maps.values[branch]
        return Answer(method, name, prediction, values[index], accuracy)

    return answer(FROZEN, FROZEN, FROZEN), answer(card.method, name, ADAPTED)
