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
from drople.models.towers import LayerRecord, image_features, text_features
from drople.tokens.draws import Draws, RowsOfDraws
from drople.tokens.dropout import TokenDropout
from drople.training import losses
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.features import autocast, frozen_image_features, frozen_text_features
from drople.training.processes import Processes


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
        return cls(model, config, labels, ids, images.to(device), text, processes)

    def terms(
        self, index: np.ndarray, pixels: Tensor, draws: Draws, *, lam: float
    ) -> dict[str, Tensor]:
        """Every term before its weight, and `total`.

        Args:
            index: (B,) which images of the training set these are.
            pixels: (B, 3, S, S), normalised.
            draws: of the token dropout.
            lam: of the residual, see `losses.lambda_at`.
        """
        weights, frozen_text = self.config.losses, self.frozen_text
        z_v, z_t, image_bridge, text_bridge = self._features(pixels, draws)
        rows = torch.from_numpy(index).to(self.labels.device)
        labels, frozen_image = self.labels[rows], self.frozen_images[rows]
        scale = self.model.logit_scale.exp()
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
        if self._reads:
            terms["alignment"] = losses.alignment(image_bridge, text_bridge, labels)
            total = total + weights.alignment * terms["alignment"]
        if weights.knowledge:
            terms["knowledge"] = losses.knowledge(z_t, frozen_text)
            total = total + weights.knowledge * terms["knowledge"]
        return {**terms, "total": total}

    @property
    def _reads(self) -> bool:
        """Whether the bridge is read: without its loss nothing would train it."""
        return self.model.bridge is not None and self.config.losses.alignment > 0

    def _features(
        self, pixels: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Unit features (B, E), (K, E); a layer, what the bridge gathered: (B, M, E), (K, M, E)."""
        model, config, processes = self.model, self.config, self.processes
        batch, mine = len(pixels), processes.rows(len(pixels))
        dropout, plan = config.dropout, model.plan
        scored = dropout.strategy not in ("none", "vanilla")
        image_depth = min(dropout.image_depth, plan.image_depth)
        text_depth = min(dropout.text_depth, plan.text_depth)
        own = TokenDropout.of(dropout, RowsOfDraws(draws, mine, batch), depth=image_depth)
        shared = TokenDropout.of(dropout, draws, depth=text_depth)
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
        return z_v, z_t, gathered, text_bridge


def _walk(records: Iterator[LayerRecord]) -> tuple[LayerRecord, list[Tensor]]:
    """The last record, and what the bridge gathered in each layer it read, (B, M, E)."""
    gathered = []
    for record in records:
        if record.bridge is not None:
            gathered.append(record.bridge.features)
    return record, gathered
