"""Residual entropy on one picture: the training step's own features and terms (METHOD.md 4, 5.1).

The picture is a batch of one whose label is the class looked at; IWTD drops in both towers, as in
training. All numbers come from `drople.training`: nothing of the objective is written here again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.branches import FROZEN
from drople.class_texts import ClassTexts
from drople.models.prompted_clip import PromptedClip
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import DropoutSettings, with_strategy
from drople.training import losses
from drople.training.config import LossWeights, TrainConfig
from drople.training.objective import BatchFeatures, Objective
from drople.training.processes import ALONE

STEP = 0.01  # length of the step that shows where the term pulls; features have length 1
EPOCHS = 20  # of the released schedule
WEIGHTS = LossWeights()


@dataclass(frozen=True)
class TrainingStep:
    """What one step of training sees of one picture, as arrays on the CPU."""

    image: np.ndarray  # (1, E), adapted, under dropout; unit, as all features here
    text: np.ndarray  # (K, E), adapted, under dropout
    frozen_image: np.ndarray  # (1, E)
    frozen_text: np.ndarray  # (K, E)
    label: int
    scale: float  # factor between cosines and logits, of the adapted branch
    alignment: float | None  # None without a bridge


@dataclass(frozen=True)
class Residual:
    """What a residual says, and where its entropy's gradient leads."""

    probabilities: np.ndarray  # (K,)
    entropy: float  # in nats
    stepped: np.ndarray  # (K,) after a step of length STEP that raises the entropy
    stepped_entropy: float
    pull: float  # length of the weighted term's gradient by this branch's features
    cross_entropy_pull: float  # the same of the cross entropy


@dataclass(frozen=True)
class Reading:
    """The objective of one step at one lambda."""

    lam: float
    frozen: np.ndarray  # (K,) probabilities, with the adapted branch's scale, as in the objective
    adapted: np.ndarray  # (K,)
    frozen_entropy: float
    adapted_entropy: float
    image: Residual  # image residual against frozen text
    text: Residual  # frozen image against text residuals
    terms: Mapping[str, float]  # before their weights, and `total`


def lambdas() -> np.ndarray:
    """Lambda in each epoch of the released schedule, (EPOCHS,)."""
    return np.array([losses.lambda_at(epoch, EPOCHS) for epoch in range(EPOCHS)])


@torch.no_grad()
def training_step(
    model: PromptedClip, pixels: np.ndarray, classes: ClassTexts, *,
    target: int, dropout: DropoutSettings, seed: int,
) -> TrainingStep:  # fmt: skip
    """One step's features under IWTD; the image's draw is that of an analysis with this seed.

    Args:
        pixels: (S, S, 3) uint8, what the model sees.
        target: index of the class that is taken for the label.
    """
    backbone, names = model.backbone, classes.names
    batch = backbone.normalise(pixels[None])
    frozen_text = classes.features[FROZEN]
    objective = Objective(
        model,
        TrainConfig(dropout=with_strategy(dropout, "iwtd"), losses=WEIGHTS),
        labels=torch.tensor([target], device=backbone.device),
        ids=backbone.tokenise(model.phrases(names)),
        frozen_images=F.normalize(backbone.encode_image(batch), dim=-1),
        frozen_text=frozen_text,
        processes=ALONE,
    )
    draws, text_draws = (
        SeededDraws([seed], "image"),
        SeededDraws([seed] * len(names), "text", names),
    )
    found = objective.features(np.array([0]), batch, draws, text_draws=text_draws)
    scale = model.logit_scale.exp()
    alignment = found.terms(scale=scale, weights=WEIGHTS, lam=0).get("alignment")
    features = (found.image, found.text, found.frozen_image, found.frozen_text)
    image, text, frozen_image, frozen = (one.cpu().numpy() for one in features)
    return TrainingStep(
        image, text, frozen_image, frozen, target, float(scale),
        None if alignment is None else float(alignment),
    )  # fmt: skip


def read_step(step: TrainingStep, lam: float) -> Reading:
    """What the objective makes of a step's features at a lambda."""
    parts = (step.image, step.text, step.frozen_image, step.frozen_text)
    image, text, frozen_image, frozen_text = map(torch.from_numpy, parts)
    image, text = image.clone().requires_grad_(), text.clone().requires_grad_()
    features = BatchFeatures(image, text, frozen_image, frozen_text, torch.tensor([step.label]))
    scale = torch.tensor(step.scale)
    terms = features.terms(scale=scale, weights=WEIGHTS, lam=lam)
    stepped = replace(
        features,
        image=_stepped(image, terms["entropy_image"]),
        text=_stepped(text, terms["entropy_text"]),
    )
    pulls = [
        [
            float(_gradient(weight * terms[term], by).norm())
            for term, weight in ((name, WEIGHTS.residual_entropy), ("cross_entropy", 1.0))
        ]
        for name, by in (("entropy_image", image), ("entropy_text", text))
    ]
    with torch.no_grad():
        now, then = (_residual_logits(one, scale, lam) for one in (features, stepped))
        of_image, of_text = (
            Residual(*_answer(before), *_answer(after), *pull)
            for before, after, pull in zip(now, then, pulls, strict=True)
        )
        frozen, frozen_entropy = _answer(scale * frozen_image @ frozen_text.T)
        adapted, adapted_entropy = _answer(scale * image @ text.T)
        said = {name: float(value) for name, value in terms.items()}
    if step.alignment is not None:
        said["alignment"] = step.alignment
        said["total"] += WEIGHTS.alignment * step.alignment
    return Reading(lam, frozen, adapted, frozen_entropy, adapted_entropy, of_image, of_text, said)


def _residual_logits(features: BatchFeatures, scale: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Of the image's residual and of the text's, (1, K) each."""
    return losses.residual_logits(
        features.image, features.text, frozen_image=features.frozen_image,
        frozen_text=features.frozen_text, scale=scale, lam=lam,
    )  # fmt: skip


def _gradient(value: Tensor, by: Tensor) -> Tensor:
    """The gradient of a scalar; it may be asked for others afterwards."""
    return torch.autograd.grad(value, by, retain_graph=True)[0]


def _stepped(features: Tensor, value: Tensor) -> Tensor:
    """Features (B, E) after a step of length STEP in all that raises a value; unit again."""
    gradient = _gradient(value, features)
    step = STEP * gradient / gradient.norm().clamp_min(1e-12)
    return F.normalize(features.detach() + step, dim=-1)


def _answer(logits: Tensor) -> tuple[np.ndarray, float]:
    """What logits (1, K) say: probabilities (K,), which sum to 1, and their entropy in nats."""
    return np.asarray(logits.softmax(dim=-1)[0].numpy()), float(losses.entropy(logits))
