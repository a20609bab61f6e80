"""What a token attends to: head by head, and rolled out over the layers (Abnar & Zuidema 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drople.branches import ADAPTED
from drople.lab.branch import run_branches
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.towers import LayerRecord
from drople.tokens.layout import PromptStep, patch_values


@dataclass(frozen=True)
class AttentionLayer:
    """One layer of one image, without dropout. Sources are [CLS], each patch, all prompts."""

    depth: int  # from 0
    heads: np.ndarray  # (H, N, N) half precision, rows sum to 1
    rollout: np.ndarray  # (N, 2 + G*G) each source's share of each token leaving; rows sum to 1
    prompts: tuple[int, int]  # first prompt row, and the row after the last
    grid: tuple[int, int]

    def patches(self, values: np.ndarray) -> np.ndarray:
        """The patches of values (N,), or of sources (2 + G*G,), as a picture (G, G)."""
        return patch_values(values, self.grid)


def attention_layers(
    model: Backbone | PromptedClip, pixels: np.ndarray
) -> dict[str, list[AttentionLayer]]:
    """Branch -> its layers; pixels (S, S, 3) uint8 as the model sees them."""
    steps = {ADAPTED: model.prompts.image_steps()} if isinstance(model, PromptedClip) else {}
    layers = {}
    for branch, records in run_branches(model, pixels).items():
        rolled = roll_out(records, steps.get(branch, ()))
        layers[branch] = [_layer(*pair) for pair in zip(records, rolled, strict=True)]
    return layers


def _layer(record: LayerRecord, rollout: Tensor) -> AttentionLayer:
    layout, attention = record.layout, record.attention[0].half().cpu().numpy()
    assert layout.grid is not None
    prompts = (layout.prompts.start, layout.prompts.stop)
    return AttentionLayer(record.depth, attention, rollout.cpu().numpy(), prompts, layout.grid)


@torch.no_grad()
def roll_out(records: Sequence[LayerRecord], steps: Sequence[PromptStep]) -> list[Tensor]:
    """How much of each source is in each token leaving each layer, (N, 2 + G*G) a layer.

    Half of a token stays (the residual), half is fetched by the mean of the heads. Fresh prompts
    are nothing but prompt when they enter; those they replace take what they held along.
    """
    first = records[0].layout
    assert first.grid is not None
    count = first.patches.stop  # [CLS] and patches
    held = torch.eye(count + 1)[:count]  # (1 + G*G, sources); the last source is any prompt
    prompt = torch.eye(count + 1)[count:]
    # As the first layer's layout, with its prompts taken out.
    layout = first.after(PromptStep(first.prompts.stop - first.prompts.start, torch.empty(0, 1)))
    rolled = []
    for record in records:
        if record.depth < len(steps):
            step = steps[record.depth]
            fresh = prompt.expand(len(step.inserted), -1)[None]
            held = layout.splice(held[None], step.removed, fresh)[0]  # (N, sources)
        layout = record.layout
        attention = record.attention[0].float().mean(dim=0).cpu()  # (N, N)
        held = (held + attention @ held) / 2
        rolled.append(held)
    return rolled
