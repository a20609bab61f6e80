"""What training minimises: the terms of one batch, and their weighted total (METHOD.md 5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, image_features, last, text_features
from drople.tokens.draws import Draws, RowsOfDraws
from drople.tokens.dropout import TokenDropout
from drople.training import losses
from drople.training.config import LossWeights, TrainConfig
from drople.training.data import Task
from drople.training.features import autocast, crop_all, frozen_image_features, frozen_text_features
from drople.training.processes import Processes


@dataclass(frozen=True)
class BatchFeatures:
    """What the terms of one batch are made of; features are unit vectors."""

    image: Tensor  # (B, E), adapted
    text: Tensor  # (K, E), adapted
    frozen_image: Tensor  # (B, E)
    frozen_text: Tensor  # (K, E)
    labels: Tensor  # (B,)
    # What the bridge gathered of images and classes, layer by layer: (B, M, E), (K, M, E).
    bridge: tuple[list[Tensor], list[Tensor]] | None = None

    def terms(self, *, scale: Tensor, weights: LossWeights, lam: float) -> dict[str, Tensor]:
        """Every term before its weight, and `total`.

        Args:
            scale: factor between cosines and logits.
            weights: a term without weight is left out.
            lam: of the residual, see `losses.lambda_at`.
        """
        z_v, z_t, frozen_text = self.image, self.text, self.frozen_text
        labels, frozen_image = self.labels, self.frozen_image
        logits = scale * z_v @ z_t.T  # (B, K)
        terms = {"cross_entropy": F.cross_entropy(logits, labels)}
        total = terms["cross_entropy"]
        if weights.text_l1:
            terms["text_l1"] = losses.l1_consistency(z_t, frozen_text)
            total = total + weights.text_l1 * terms["text_l1"]
        if weights.image_l1:
            terms["image_l1"] = losses.l1_consistency(z_v, frozen_image)
            total = total + weights.image_l1 * terms["image_l1"]
        if weights.distillation:
            frozen_logits = scale * frozen_image @ frozen_text.T
            terms["distillation"] = losses.distillation(logits, frozen_logits)
            total = total + weights.distillation * terms["distillation"]
        if weights.residual_entropy:
            terms["entropy_image"], terms["entropy_text"] = losses.residual_entropy(
                z_v, z_t, frozen_image=frozen_image, frozen_text=frozen_text, scale=scale, lam=lam
            )
            entropy = terms["entropy_image"] + terms["entropy_text"]
            total = total - weights.residual_entropy * entropy
        if self.bridge:
            terms["alignment"] = losses.alignment(*self.bridge, labels)
            total = total + weights.alignment * terms["alignment"]
        if weights.knowledge:
            terms["knowledge"] = losses.knowledge(z_t, frozen_text)
            total = total + weights.knowledge * terms["knowledge"]
        return {**terms, "total": total}


@dataclass(frozen=True)
class Objective:
    """A model, and what its batches are held against."""

    model: PromptedClip
    config: TrainConfig
    labels: Tensor  # (I,)
    ids: Tensor  # (K, N)
    frozen_images: Tensor  # (I, E), unit
    frozen_text: Tensor  # (K, E), unit
    processes: Processes
    plain: np.ndarray | None = None  # (I, S, S, 3) uint8, where the frozen branch is not frozen

    @classmethod
    def of(
        cls, model: PromptedClip, task: Task, config: TrainConfig, *,
        cache: Path | None, processes: Processes,
    ) -> Objective:  # fmt: skip
        """The objective on `task.train`; `cache` keeps the frozen branch's features."""
        backbone, device = model.backbone, model.backbone.device
        images = frozen_image_features(
            backbone, task.train, precision=config.precision, cache=cache
        )
        labels = torch.from_numpy(task.train.labels).to(device)
        ids = backbone.tokenise(model.phrases(task.classes))
        text = frozen_text_features(backbone, task.classes, config)
        moves = config.lora.rank > 0 and config.lora.frozen == "code"
        plain = crop_all(backbone, task.train) if moves else None
        return cls(model, config, labels, ids, images.to(device), text, processes, plain)

    def terms(
        self, index: np.ndarray, pixels: Tensor, draws: Draws, *, lam: float
    ) -> dict[str, Tensor]:
        """Every term of a batch before its weight, and `total`; see `features`."""
        features = self.features(index, pixels, draws)
        scale = self.model.logit_scale.exp()
        return features.terms(scale=scale, weights=self.config.losses, lam=lam)

    @property
    def _reads(self) -> bool:
        """Whether the bridge is read: without its loss nothing would train it."""
        return self.model.bridge is not None and self.config.losses.alignment > 0

    def features(
        self, index: np.ndarray, pixels: Tensor, draws: Draws, *, text_draws: Draws | None = None
    ) -> BatchFeatures:
        """What both branches make of a batch; the adapted one under its dropout.

        Args:
            index: (B,) which images of the training set these are.
            pixels: (B, 3, S, S), normalised.
            draws: of the token dropout, first the image's, then the text's.
            text_draws: of the text's, where it has its own.
        """
        model, config, processes = self.model, self.config, self.processes
        batch, mine = len(pixels), processes.rows(len(pixels))
        dropout, plan = config.dropout, model.plan
        scored = dropout.strategy not in ("none", "vanilla")
        image_depth = min(dropout.image_depth, plan.image_depth)
        text_depth = min(dropout.text_depth, plan.text_depth)
        own = TokenDropout.of(dropout, RowsOfDraws(draws, mine, batch), depth=image_depth)
        shared = TokenDropout.of(dropout, text_draws or draws, depth=text_depth)
        with autocast(model.backbone, config.precision):
            image_layers = model.image_layers(
                pixels[mine], read_bridge=self._reads, score=scored, watched=image_depth,
                dropout=own, readout_only=True,
            )  # fmt: skip
            image_record, image_bridge = _walk(image_layers)
            text_layers = model.text_layers(
                self.ids, read_bridge=self._reads, score=scored, watched=text_depth,
                dropout=shared, drop_sos=dropout.drop_sos, readout_only=True,
            )  # fmt: skip
            text_record, text_bridge = _walk(text_layers)
            z_v = processes.whole(image_features(model.backbone.visual, image_record), batch)
            z_t = text_features(model.backbone.text, text_record)
        gathered = [processes.whole(one, batch) for one in image_bridge]
        z_v, z_t = (F.normalize(z.float(), dim=-1) for z in (z_v, z_t))
        rows = torch.from_numpy(index).to(self.labels.device)
        frozen = self.frozen_images[rows] if self.plain is None else self._moved(index)
        return BatchFeatures(
            z_v, z_t, frozen, self.frozen_text, self.labels[rows],
            (gathered, text_bridge) if self._reads else None,
        )  # fmt: skip

    @torch.no_grad()
    def _moved(self, index: np.ndarray) -> Tensor:
        """What the image tower without prompts, but with low-rank changes, makes of images."""
        assert self.plain is not None
        backbone = self.model.backbone
        with autocast(backbone, self.config.precision):
            layers = backbone.image_layers(
                backbone.normalise(self.plain[index]), visual=self.model.visual, readout_only=True
            )
            features = image_features(backbone.visual, last(layers))
        return F.normalize(features.float(), dim=-1)


def _walk(records: Iterator[LayerRecord]) -> tuple[LayerRecord, list[Tensor]]:
    """The last record, and what the bridge gathered in each layer it read, (B, M, E)."""
    gathered = []
    for record in records:
        if record.bridge is not None:
            gathered.append(record.bridge.features)
    return record, gathered
