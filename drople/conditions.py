"""Conditions beside each other: each row of one batch is a dropout under a seed of its own.

Rows with the same seed are one draw: they share one u per token and layer (METHOD.md 3.8), and a
matched rate is that of the draw's own IWTD row (METHOD.md 3.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional as F

from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts, text_layers_of
from drople.gradcam import class_maps
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, image_features
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import (
    DROP_MODES,
    STRATEGIES,
    DropoutSettings,
    TokenDropout,
    strategy_of,
    with_strategy,
)
from drople.tokens.strategies import DropStrategy, NoDropout, SideBySide
from drople.traces import BranchTrace, ScoredLayer


@dataclass(frozen=True)
class Prediction:
    """What one condition predicts for all classes."""

    cosines: np.ndarray  # (K,)
    logit_scale: float  # factor between cosines and logits

    @property
    def logits(self) -> np.ndarray:
        return self.cosines * self.logit_scale

    @property
    def probabilities(self) -> np.ndarray:
        """softmax(logits), (K,), sums to 1."""
        return np.asarray(softmax(self.logits))


@dataclass(frozen=True)
class ConditionRow:
    """One condition under one seed."""

    condition: str  # ADAPTED, which drops nothing, or a key of STRATEGIES
    seed: int
    strategy: DropStrategy


def rows_of(
    conditions: Sequence[str], seeds: Iterable[int], dropout: DropoutSettings
) -> list[ConditionRow]:
    """Every condition under every seed: all of a seed, then the next.

    Raises:
        SettingsError: a condition is neither ADAPTED nor a key of STRATEGIES.
    """
    strategies: dict[str, DropStrategy] = {
        name: NoDropout() if name == ADAPTED else strategy_of(with_strategy(dropout, name))
        for name in conditions
    }
    return [ConditionRow(name, seed, strategies[name]) for seed in seeds for name in conditions]


@dataclass(frozen=True)
class Conditions:
    """One image branch under several conditions at once: adapted, or frozen without prompts."""

    model: Backbone | PromptedClip
    rows: tuple[ConditionRow, ...]
    settings: DropoutSettings  # of all rows; each has its own strategy
    dropout: TokenDropout

    @classmethod
    def of(
        cls,
        model: Backbone | PromptedClip,
        rows: Sequence[ConditionRow],
        settings: DropoutSettings,
        *,
        match: bool = False,
        reference: str = "iwtd",
    ) -> Conditions:
        """Rows side by side; with `match`, all that drop do so at the rate of `reference`.

        Args:
            reference: the condition whose row sets the rate of its draw.

        Raises:
            ValueError: a rate is to be matched in a draw without that condition.
        """
        references = _references(rows, reference) if match else {}
        dropout = TokenDropout.of(
            settings,
            SeededDraws([row.seed for row in rows], "image"),
            depth=min(settings.image_depth, model.backbone.image_layer_count),
            strategy=SideBySide(tuple(row.strategy for row in rows), references),
        )
        return cls(model, tuple(rows), settings, dropout)

    def layers(
        self, pixels: Tensor, *, readout_only: bool = False, score_all: bool = True
    ) -> Iterator[LayerRecord]:
        """Runs the image tower on one picture (1, 3, S, S) for all rows, or on one for each.

        With `readout_only` no more is worked out than features and drops need (see `run_layers`);
        without `score_all` no importance beyond the dropout's depth.
        """
        return self.model.image_layers(
            pixels,
            score=True,
            watched=None if score_all and not readout_only else self.dropout.depth,
            dropout=self.dropout,
            readout_only=readout_only,
            rows=len(self.rows),
        )

    @torch.no_grad()
    def run(self, pixels: Tensor, classes: ClassTexts, *, drop_text: bool = False) -> Run:
        """Runs one picture (1, 3, S, S) and keeps everything; `drop_text`: text prompts too."""
        return self.run_of(list(self.layers(pixels)), classes, drop_text=drop_text)

    @torch.no_grad()
    def run_of(
        self, records: list[LayerRecord], classes: ClassTexts, *, drop_text: bool = False
    ) -> Run:
        """The run that left these records of `layers`."""
        branch = ADAPTED if isinstance(self.model, PromptedClip) else FROZEN
        text = classes.features[branch].expand(len(self.rows), -1, -1).clone()  # (R, K, E)
        if drop_text and isinstance(self.model, PromptedClip):
            for i, row in enumerate(self.rows):
                if row.condition != ADAPTED:
                    dropped = with_strategy(self.settings, row.condition)
                    text[i] = text_layers_of(
                        self.model, classes.names, dropout=dropped, seed=row.seed
                    ).features
        names = tuple(row.condition for row in self.rows)
        return Run(names, self.model, records, text, self.dropout)


def _references(rows: Sequence[ConditionRow], reference: str) -> dict[int, int]:
    """ConditionRow -> the row of its draw that sets its rate."""
    leads = {row.seed: i for i, row in enumerate(rows) if row.condition == reference}
    matched = {
        i: row.seed
        for i, row in enumerate(rows)
        if row.condition != reference and not isinstance(row.strategy, NoDropout)
    }
    if not leads.keys() >= set(matched.values()):
        raise ValueError(f"a matched rate is one row's: each draw needs its row {reference!r}")
    return {i: leads[seed] for i, seed in matched.items()}


@dataclass(frozen=True)
class Run:
    """One run of an image tower; each row of its batch is a condition."""

    conditions: tuple[str, ...]
    model: Backbone | PromptedClip
    records: list[LayerRecord]
    text: Tensor  # (R, K, E), unit class features of each row's own prediction
    dropout: TokenDropout | None = None

    @classmethod
    @torch.no_grad()
    def frozen(cls, backbone: Backbone, pixels: Tensor, classes: ClassTexts) -> Run:
        """The frozen branch on one picture (1, 3, S, S), without dropout."""
        records = list(backbone.image_layers(pixels, score=True))
        return cls((FROZEN,), backbone, records, classes.features[FROZEN][None])

    @cached_property
    def features(self) -> Tensor:
        """Image features (R, E), unit."""
        with torch.no_grad():
            return F.normalize(image_features(self.model.visual, self.records[-1]), dim=-1)

    def rows(self) -> list[tuple[int, str]]:
        return list(enumerate(self.conditions))

    @torch.no_grad()
    def lens(self, row: int = 0) -> np.ndarray:
        """Cosines (L, K) read after each layer through the final norm and projection.

        The logit lens: a reading the model was not trained for but in its last layer, whose row is
        the prediction itself.
        """
        read = [image_features(self.model.visual, record)[row] for record in self.records]
        features = F.normalize(torch.stack(read), dim=-1)  # (L, E)
        return (features @ self.text[row].T).cpu().numpy()

    def prediction(self, row: int) -> Prediction:
        cosines = self.text[row] @ self.features[row]
        return Prediction(cosines.cpu().numpy(), float(self.model.logit_scale.detach().exp()))

    def maps(self, classes: Sequence[int], *, layer: int, method: str) -> np.ndarray:
        """Class activation maps (R, C, G, G) of C classes at a layer; see `class_maps`."""
        model = self.model
        prompts = model.prompts.image_steps() if isinstance(model, PromptedClip) else ()
        return class_maps(
            model.visual, self.records, self.text, classes=classes,
            layer=layer, method=method, prompts=prompts, dropout=self.dropout,
        )  # fmt: skip

    def unavailable(self, row: int, layer: int) -> np.ndarray:
        """Patches (G, G) that have no map at a layer: the dropout replaced or cut them off."""
        record = self.records[layer]
        layout = record.layout
        assert layout.grid is not None
        gone = torch.zeros(record.entering.shape[1], dtype=torch.bool)
        if record.hidden is not None:
            gone |= record.hidden[row].cpu()
        before = self.records[layer - 1].drop if layer > 0 else None
        if before is not None and self.dropout and DROP_MODES[self.dropout.mode].removes:
            gone[layout.patches] |= before.dropped[row, layout.patches].cpu()
        return gone[layout.patches].reshape(layout.grid).numpy()

    def traces(
        self, dropout: DropoutSettings, *, attention: bool = False
    ) -> dict[str, BranchTrace]:
        """Each condition's layers as arrays; p of the undropped row is what IWTD would give.

        Args:
            attention: keep every layer's attention too.
        """
        would = STRATEGIES["iwtd"](dropout)
        depth = self.dropout.depth if self.dropout else 0
        scored = [ScoredLayer.of(record, attention=attention) for record in self.records]

        def trace(row: int, name: str) -> BranchTrace:
            layers = tuple(
                layer.trace(
                    slice(row, row + 1),
                    dropout.weights,
                    would=would if name == ADAPTED and layer.depth < depth else None,
                    drawn=name not in (FROZEN, ADAPTED),
                )
                for layer in scored
            )
            return BranchTrace(layers, self.features[row : row + 1].cpu().numpy())

        return {name: trace(row, name) for row, name in self.rows()}
