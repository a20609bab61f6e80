"""Accuracy of the frozen and the adapted branch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from drople.evaluation.protocols import EvaluationSet
from drople.models import towers
from drople.models.prompted_clip import PromptedClip
from drople.perturb.attack import attack
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.features import (
    BATCH,
    autocast,
    crop_all,
    encode_all,
    frozen_image_features,
    frozen_text_features,
)


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b); 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def hits(images: Tensor, text: Tensor, labels: Tensor) -> Tensor:
    """Whether each image (I, E) is nearest to its own class's text (K, E): (I,) bool."""
    return (images @ text.T).argmax(dim=-1) == labels


def evaluate_on(
    test_set: EvaluationSet, model: PromptedClip, config: TrainConfig, *, cache: Path | None
) -> Tensor:
    """Right or wrong for each image (I,) of the branch that the method trains, dropout off.

    That is the frozen branch where it trains nothing.
    """
    if test_set.epsilon:
        return _attacked_hits(test_set, model, config)
    if config.learns():
        return _adapted_hits(test_set, model, config)
    return _frozen_hits(test_set, model, config, cache=cache)


def _adapted_hits(test_set: EvaluationSet, model: PromptedClip, config: TrainConfig) -> Tensor:
    images = test_set.images
    features = encode_all(
        model.backbone, images, model.encode_image, precision=config.precision, progress="testing"
    )
    text = F.normalize(model.encode_text(test_set.classes), dim=-1).cpu()
    return hits(features, text, torch.from_numpy(images.labels))


def _frozen_hits(
    test_set: EvaluationSet, model: PromptedClip, config: TrainConfig, *, cache: Path | None
) -> Tensor:
    images = test_set.images
    features = frozen_image_features(
        model.backbone, images, precision=config.precision, cache=cache
    )
    text = frozen_text_features(model.backbone, test_set.classes, config).cpu()
    return hits(features, text, torch.from_numpy(images.labels))


def percent(right: Tensor) -> float:
    """Share of True in percent."""
    return 100 * float(right.float().mean()) if len(right) else 0.0


def accuracies(
    model: PromptedClip, task: Task, config: TrainConfig, *, cache: Path | None
) -> tuple[float, float]:
    """Accuracy of the adapted and of the frozen branch on a task's test images, in percent."""
    test_set = EvaluationSet("test", task.classes, task.test, "test")
    adapted = _adapted_hits(test_set, model, config)
    frozen = _frozen_hits(test_set, model, config, cache=cache)
    return percent(adapted), percent(frozen)


def _attacked_hits(test_set: EvaluationSet, model: PromptedClip, config: TrainConfig) -> Tensor:
    names, backbone = test_set.classes, model.backbone
    branch = model if config.learns() else backbone
    if config.learns():
        text = F.normalize(model.encode_text(names), dim=-1)
    else:
        text = frozen_text_features(backbone, names, config)
    scale = model.logit_scale.detach().exp()

    def features(pixels: Tensor) -> Tensor:
        with autocast(backbone, config.precision):
            records = branch.image_layers(backbone.standardise(pixels), readout_only=True)
            record = towers.last(records)
            return F.normalize(towers.image_features(backbone.visual, record).float(), dim=-1)

    right = []
    for part in test_set.images.batches(BATCH):
        labels = torch.from_numpy(part.labels).to(backbone.device)
        pixels = torch.from_numpy(crop_all(backbone, part)).to(backbone.device)
        pixels = pixels.permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S)
        moved = attack(
            lambda x: scale * features(x) @ text.T, pixels, labels, epsilon=test_set.epsilon
        )
        with torch.no_grad():
            right.append(hits(features(moved), text, labels).cpu())
    return torch.cat(right)
