"""Projected gradient descent on a model's input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# 1/255 and more leave a small CLIP nothing right, and so tell no methods apart.
EPSILONS = {"1/2040": 1 / 2040, "1/1020": 1 / 1020, "1/510": 1 / 510, "1/255": 1 / 255}
STEPS = 10


def attack(
    classify: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor, *, epsilon: float
) -> Tensor:
    """Pixels (B, 3, S, S) in [0, 1] moved by at most `epsilon` each, so that the loss rises.

    L-inf PGD (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
    2018) from the picture itself, without a random start; a step is 2.5 epsilon / STEPS.

    Args:
        classify: pixels to logits (B, K), with gradients.
        labels: (B,) true classes, which the attack leads away from.
    """
    moved = pixels.clone()
    for _ in range(STEPS):
        moved.requires_grad_(True)
        loss = F.cross_entropy(classify(moved), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + 2.5 * epsilon / STEPS * slope.sign()
        moved = moved.clamp(pixels - epsilon, pixels + epsilon).clamp(0, 1)
    return moved
