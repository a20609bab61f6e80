"""Projected gradient descent on the model's input, against whichever branch is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.evaluation.accuracy import hits
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import last, read_image
from drople.training.config import TrainConfig
from drople.training.features import BATCH, autocast, crop_all, frozen_text_features
from drople.training.image_sets import ImageSet

EPSILONS = {"1/255": 1 / 255, "4/255": 4 / 255}
STEPS = 10


def attack(
    classify: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    steps: int = STEPS,
) -> Tensor:
    """Pixels (B, 3, S, S) in [0, 1] moved by at most `epsilon` each, so that the loss rises.

    L-inf PGD (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
    2018) from the picture itself, without a random start; a step is 2.5 epsilon / steps.

    Args:
        classify: pixels to logits (B, K), with gradients.
        labels: (B,) true classes, which the attack leads away from.
    """
    moved = pixels.clone()
    for _ in range(steps):
        moved.requires_grad_(True)
        loss = F.cross_entropy(classify(moved), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + 2.5 * epsilon / steps * slope.sign()
        moved = moved.clamp(pixels - epsilon, pixels + epsilon).clamp(0, 1)
    return moved


def attacked_hits(
    model: PromptedClip,
    names: tuple[str, ...],
    images: ImageSet,
    config: TrainConfig,
    epsilon: float,
) -> Tensor:
    """Right or wrong for each image (I,) under an attack on the branch that answers.

    The branch is the frozen one where the config's method learns nothing.
    """
    backbone = model.backbone
    branch = model if config.learns() else backbone
    text = (
        F.normalize(model.encode_text(names), dim=-1)
        if config.learns()
        else frozen_text_features(backbone, names, config)
    )
    mean, std = (
        torch.tensor(part, device=backbone.device) for part in (backbone.mean, backbone.std)
    )
    scale = model.logit_scale.detach().exp()

    def features(pixels: Tensor) -> Tensor:
        scaled = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        with autocast(backbone, config.precision):
            record = last(branch.image_layers(scaled, readout_only=True))
            return F.normalize(read_image(backbone.visual, record).float(), dim=-1)

    right = []
    for start in range(0, len(images), BATCH):
        part = images.select(np.arange(start, min(start + BATCH, len(images))))
        labels = torch.from_numpy(part.labels).to(backbone.device)
        pixels = torch.from_numpy(crop_all(backbone, part)).to(backbone.device)
        pixels = pixels.permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S)
        moved = attack(lambda x: scale * features(x) @ text.T, pixels, labels, epsilon)
        with torch.no_grad():
            right.append(hits(features(moved), text, labels).cpu())
    return torch.cat(right)
