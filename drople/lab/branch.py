"""The branch that answers: pictures in, what it says of every class out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from drople.branches import ADAPTED, FROZEN
from drople.class_texts import ClassTexts
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord, image_features, last
from drople.perturb.attack import attack

Records = dict[str, list[LayerRecord]]  # branch -> every layer of one run


@torch.no_grad()
def run_branches(model: Backbone | PromptedClip, pixels: np.ndarray) -> Records:
    """The branches there are, without dropout, on pixels (S, S, 3) uint8 as the model sees them."""
    batch = model.backbone.normalise(pixels[None])
    records = {FROZEN: list(model.backbone.image_layers(batch))}
    if isinstance(model, PromptedClip):
        records[ADAPTED] = list(model.image_layers(batch))
    return records


@dataclass(frozen=True)
class Answers:
    """What a branch says of B pictures."""

    cosines: np.ndarray  # (B, K)
    probabilities: np.ndarray  # (B, K), rows sum to 1


@dataclass(frozen=True)
class Branch:
    """One branch with its class features, without dropout."""

    model: Backbone | PromptedClip
    text: Tensor  # (K, E), unit
    logit_scale: float  # factor between cosines and logits

    @classmethod
    def of(cls, model: Backbone | PromptedClip, classes: ClassTexts) -> Branch:
        """The adapted branch; the frozen one where there are no prompts."""
        name = ADAPTED if isinstance(model, PromptedClip) else FROZEN
        return cls(model, classes.features[name], float(model.logit_scale.detach().exp()))

    @property
    def backbone(self) -> Backbone:
        return self.model.backbone

    def cosines(self, pixels: Tensor) -> Tensor:
        """Cosines (B, K) of pixels (B, 3, S, S), normalised; with gradients where they are on."""
        record = last(self.model.image_layers(pixels, readout_only=True))
        features = F.normalize(image_features(self.backbone.visual, record), dim=-1)  # (B, E)
        return features @ self.text.T

    def answers(self, pictures: np.ndarray) -> Answers:
        """Cosines and probabilities of pictures (B, S, S, 3) uint8."""
        with torch.no_grad():
            cosines = self.cosines(self.backbone.normalise(pictures))
            probabilities = (cosines * self.logit_scale).softmax(dim=-1)
        return Answers(cosines.cpu().numpy(), probabilities.cpu().numpy())

    def ask(self, target: int, pictures: np.ndarray) -> np.ndarray:
        """Probability and cosine (B, 2) of one class for pictures (B, S, S, 3) uint8."""
        answers = self.answers(pictures)
        return np.stack([answers.probabilities[:, target], answers.cosines[:, target]], axis=1)

    def attacked(self, picture: np.ndarray, label: int, epsilon: float) -> np.ndarray:
        """A picture (S, S, 3) uint8 led away from a class by PGD, and rounded to 8 bits again.

        Args:
            epsilon: how far a channel may move, of 1; whole multiples of 1/255 survive rounding.
        """
        device, standardise = self.backbone.device, self.backbone.standardise
        pixels = torch.from_numpy(picture.copy()).to(device).permute(2, 0, 1)[None].float() / 255
        moved = attack(
            lambda x: self.logit_scale * self.cosines(standardise(x)),
            pixels, torch.tensor([label], device=device), epsilon=epsilon,
        )  # fmt: skip
        rounded = (moved[0].permute(1, 2, 0) * 255).round()
        return np.asarray(rounded.to(torch.uint8).cpu().numpy())
