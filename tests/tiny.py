"""Tiny random models and pictures, small enough for a law to be tested in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import image_transform
from PIL import Image
from torch import nn

from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.models.prompts import PromptPlan

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "head_width": 16}
TEXT = {"width": 48, "heads": 4, "layers": 4, "vocab_size": 49408, "context_length": 77}
NAMES = ("cat", "dog", "golden retriever")
TOKENIZER = SimpleTokenizer()


def tiny_clip(
    *,
    kind: type[nn.Module] = CLIP,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    seed: int = 0,
    **others: Any,
) -> nn.Module:
    """A random CLIP of four layers; its query, key and value biases are random too."""
    vision_cfg = CLIPVisionCfg(**VISION | (vision or {}))
    text_cfg = CLIPTextCfg(**TEXT | (text or {}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        clip = kind(32, vision_cfg, text_cfg, **others)
        return randomise_biases(clip)


def custom_text_clip(**changes: Any) -> nn.Module:
    """The same with its text tower in a module of its own."""
    return tiny_clip(kind=CustomTextCLIP, **changes)


def randomise_biases(clip: nn.Module) -> nn.Module:
    """Draws the biases of attention, which open_clip starts at zero, from torch's generator."""
    for name, parameter in clip.named_parameters():
        if name.endswith("in_proj_bias"):
            nn.init.normal_(parameter, std=0.1)
    return clip.eval()


def wrap(clip: nn.Module, size: int = 32) -> Backbone:
    """A model of open_clip as ours."""
    return Backbone.of_clip("tiny", clip, image_transform(size, is_train=False), TOKENIZER)


def prompted(backbone: Backbone, plan: PromptPlan | None = None, *, bridge: int = 8, seed: int = 0):
    """Prompts large enough to be felt, as if they were learnt."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PromptedClip(backbone, plan or PromptPlan(), bridge_tokens=bridge)
        for parameter in model.prompts.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model.requires_grad_(False)


def noise_pixels(count: int = 3, size: int = 32, seed: int = 1) -> torch.Tensor:
    """Normalised pixels (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def noise_picture(width: int = 40, height: int = 36, seed: int = 2) -> Image.Image:
    """A picture of coloured noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


class Shown:
    """A picture in memory, as the source of an image set."""

    def __init__(self, picture: Image.Image):
        self.picture = picture

    def read(self) -> Image.Image:
        return self.picture

    def content(self) -> bytes:
        return self.picture.tobytes()
