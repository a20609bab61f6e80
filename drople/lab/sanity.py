"""Cascading randomisation: does a map depend on what the network has learned?

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: from the last block downwards the
weights are randomised, and the map is compared with the trained network's. The class texts, the
prompts, the embeddings and the read-out stay as they were learnt.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from drople.analysis import Analysis, analyse
from drople.class_texts import ClassTexts
from drople.lab.patch_maps import judged_maps
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.statistics.correlation import spearman

MOST = 12  # depths shown; of a deeper tower evenly many


def with_blocks_randomised(
    model: Backbone | PromptedClip, count: int, *, seed: int
) -> Backbone | PromptedClip:
    """A copy whose `count` last image blocks hold new weights; the model itself stays untouched.

    Every tensor of a block is drawn from a normal distribution with that tensor's own mean and
    standard deviation, so that scales stay and what was learnt is gone. A block's new weights
    depend on the seed and the block alone.
    """
    backbone = model.backbone
    first = backbone.image_layer_count - count
    # Modules are copied, tensors are shared: all but the new ones.
    shared = {id(t): t for t in (*backbone.clip.parameters(), *backbone.clip.buffers())}
    clip = copy.deepcopy(backbone.clip, shared)
    twin = replace(
        backbone, clip=clip, weights_hash=f"{backbone.weights_hash} with {count} blocks redrawn"
    )
    for index in range(first, backbone.image_layer_count):
        block = twin.visual.transformer.resblocks[index]
        assert isinstance(block, nn.Module)
        _redraw(block, np.random.default_rng([seed, index]))
    if isinstance(model, Backbone):
        return twin
    kept = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, {id(backbone): twin, **kept})


def _redraw(block: nn.Module, rng: np.random.Generator) -> None:
    for module in block.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            noise = torch.from_numpy(rng.standard_normal(old.shape, dtype="f4")).to(old)
            new = old.mean() + old.std(correction=0) * noise
            setattr(module, name, nn.Parameter(new.detach(), requires_grad=False))


@dataclass(frozen=True)
class Likeness:
    """How far a map is still the trained network's."""

    spearman: float | None  # rank correlation over the patches; None where a map is flat
    top: float  # share of the top tenth of patches that the two have in common


@dataclass(frozen=True)
class Depth:
    """The maps with so many of the last blocks randomised."""

    randomised: int
    maps: dict[str, np.ndarray]  # (G, G) each, NaN where a drop took a value away
    likeness: dict[str, Likeness]  # with the maps of depth 0


def likeness(a: np.ndarray, b: np.ndarray) -> Likeness:
    """Compares two maps (G, G) where both have values."""
    both = np.isfinite(a) & np.isfinite(b)
    x, y = a[both], b[both]
    count = max(round(0.1 * x.size), 1)
    tops = [set(np.argsort(-one, kind="stable")[:count].tolist()) for one in (x, y)]
    return Likeness(spearman(x, y), len(tops[0] & tops[1]) / count)


def depths_of(blocks: int) -> list[int]:
    """How many blocks are randomised at each step: every number, or `MOST` of them."""
    return sorted({round(n) for n in np.linspace(1, blocks, min(blocks, MOST))})


def run_cascade(
    model: Backbone | PromptedClip, analysis: Analysis, texts: ClassTexts, *, target: int, seed: int
) -> Iterator[Depth]:
    """Yields the maps of the trained network, then of ever more blocks randomised.

    Args:
        analysis: of the trained network; must hold a map of the class `target`.
        seed: of the new weights.
    """
    settings = replace(analysis.settings, target=analysis.classes[target])
    picture = Image.fromarray(analysis.pixels)
    clean = judged_maps(analysis, target)
    yield Depth(0, clean, {name: likeness(one, one) for name, one in clean.items()})
    blocks = model.backbone.image_layer_count
    for count in depths_of(blocks):
        twin = with_blocks_randomised(model, count, seed=seed)
        maps = judged_maps(analyse(twin, picture, texts, settings), target)
        alike = {name: likeness(one, maps[name]) for name, one in clean.items()}
        yield Depth(count, maps, alike)
