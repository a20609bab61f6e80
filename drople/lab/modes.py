"""What a drop does, mode by mode: the same tokens drawn, carried out in each way there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from drople.analysis import AnalysisSettings
from drople.branches import ADAPTED
from drople.class_texts import ClassTexts
from drople.conditions import Conditions, rows_of
from drople.models.prompted_clip import PromptedClip
from drople.tokens.dropout import DROP_MODES, OFFICIAL_CODE, DropoutSettings

OFFICIAL = "official code"


@dataclass(frozen=True)
class ModeEffect:
    """What one dropout in one mode does to the prediction, in one draw."""

    mode: str  # of DROP_MODES, or OFFICIAL
    strategy: str
    logit_change: float  # of the class looked at, from the undropped run
    probability: float  # of that class
    answer: int  # index of the likeliest class
    drawn: int  # tokens drawn, summed over the layers


def variants(dropout: DropoutSettings) -> dict[str, DropoutSettings]:
    """The given dropout in every mode, and with the mode and placement of the released code."""
    code = replace(
        OFFICIAL_CODE, strategy=dropout.strategy, p=dropout.p,
        image_depth=dropout.image_depth, text_depth=dropout.text_depth,
    )  # fmt: skip
    return {**{mode: replace(dropout, mode=mode) for mode in DROP_MODES}, OFFICIAL: code}


def mode_effect(
    model: PromptedClip, pixels: np.ndarray, classes: ClassTexts, *,
    settings: AnalysisSettings, target: int, mode: str,
) -> list[ModeEffect]:  # fmt: skip
    """One variant's effect, for each strategy of the settings; all share the seed's u.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        target: index of the class looked at.
        mode: a key of `variants`.
    """
    dropout = variants(settings.dropout)[mode]
    rows = rows_of((ADAPTED, *settings.strategies), [settings.seed], dropout)
    conditions = Conditions.of(model, rows, dropout, match=settings.matched)
    batch = model.backbone.normalise(pixels[None])
    run = conditions.run(batch, classes, drop_text=settings.drop_text)
    plain = run.prediction(run.conditions.index(ADAPTED))
    effects = []
    for row, name in run.rows():
        if name == ADAPTED:
            continue
        prediction = run.prediction(row)
        change = float(prediction.logits[target] - plain.logits[target])
        probability = float(prediction.probabilities[target])
        answer = int(prediction.cosines.argmax())
        drops = [record.drop for record in run.records if record.drop is not None]
        drawn = sum(int(drop.dropped[row].sum()) for drop in drops)
        effects.append(ModeEffect(mode, name, change, probability, answer, drawn))
    return effects
