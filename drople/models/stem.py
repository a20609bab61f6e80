"""Convolutional stems: a frozen network of timm in the place of a ViT's patch embedding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from open_clip import CLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.transforms import Compose

from drople.errors import BackboneError, DataError
from drople.texts import read_json

STRIDES = (16, 32)  # of the two feature maps a stem is made of


class Stem(nn.Module):
    """Pixels (B, 3, S, S) -> one token for each 16-pixel cell, (B, D, S/16, S/16).

    It stands where `VisionTransformer.conv1` stands, and has the attributes open_clip reads there.
    Features of the trunk at strides 16 and 32, each through a 1x1 convolution, are added. What a
    token sees is wider than its cell, so dropping it hides less than in a plain ViT.

    Args:
        arch: a network of timm with features at strides 16 and 32, e.g. "tf_efficientnet_lite2".
        width: D, the width of the transformer that follows.
        patch: pixels a side of a cell; 16.

    Raises:
        BackboneError: timm has no such network, or it has no such features.
    """

    def __init__(self, arch: str, width: int, patch: int = STRIDES[0]):
        super().__init__()
        if not timm.is_model(arch):
            raise BackboneError(
                f"The stem {arch!r} is no network of timm {timm.__version__}; expected one of "
                "timm.list_models(), e.g. 'tf_efficientnet_lite2'. Update timm or the config."
            )
        try:
            trunk: Any = timm.create_model(
                arch, pretrained=False, features_only=True, out_indices=(3, 4)
            )
        except (RuntimeError, AssertionError, IndexError) as error:
            raise BackboneError(f"The stem {arch!r} gives no feature maps ({error}).") from error
        strides = tuple(trunk.feature_info.reduction())
        if strides != STRIDES or patch != STRIDES[0]:
            raise BackboneError(
                f"The stem {arch!r} has features at strides {strides} under patches of {patch} "
                f"pixels; expected {STRIDES} and {STRIDES[0]}."
            )
        self.trunk = trunk
        mid, deep = trunk.feature_info.channels()
        self.mid, self.deep = nn.Conv2d(mid, width, 1), nn.Conv2d(deep, width, 1)
        self.out_channels, self.kernel_size, self.stride = width, (patch, patch), (patch, patch)

    def forward(self, pixels: Tensor) -> Tensor:
        mid, deep = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        deep = F.interpolate(
            self.deep(deep), size=mid.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.mid(mid) + deep  # (B, D, S/16, S/16)

    def optimised(self) -> Stem:
        """Itself for inference: batch norms folded into convolutions, weights channels last.

        The output stays the same to rounding; on a CPU it comes 1.2 to 1.5 times as fast
        (`python -m tests.benchmarks.stem`).
        """
        _fold_batch_norms(self)
        return self.to(memory_format=torch.channels_last)


def _fold_batch_norms(module: nn.Module) -> None:
    """Folds each batch norm that directly follows a convolution; its activation stays."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            # timm's batch norms hold the activation that follows them.
            setattr(module, name, nn.Sequential(*child.children()))
        else:
            _fold_batch_norms(child)
        before = (name, child)


def build_clip(config: Mapping[str, Any]) -> CLIP:
    """A CLIP of open_clip as a config describes it, not trained.

    Args:
        config: open_clip's own, `model_cfg` and `preprocess_cfg`; with `stem`, {"arch": NAME}, its
            patch embedding is a `Stem`.

    Raises:
        BackboneError: see `Stem`.
    """
    clip = CLIP(**config["model_cfg"])
    if "stem" in config:
        vision = config["model_cfg"]["vision_cfg"]
        clip.visual.conv1 = Stem(config["stem"]["arch"], vision["width"], vision["patch_size"])
    return clip


def has_stem(folder: Path) -> bool:
    """Whether the CLIP of a folder in open_clip's layout has a stem.

    Raises:
        BackboneError: its config is not JSON.
    """
    return "stem" in _config(folder)


def load_with_stem(folder: Path) -> tuple[nn.Module, Compose]:
    """The CLIP of a folder, with its stored weights in fp32, and its preprocessing.

    open_clip builds the towers, but knows no stems.

    Raises:
        BackboneError: an unknown stem; weights that are absent, damaged or of another shape.
    """
    config, file = _config(folder), folder / "open_clip_model.safetensors"
    clip = build_clip(config)
    try:
        state = load_file(file)
        clip.load_state_dict(
            {name: v.float() if v.is_floating_point() else v for name, v in state.items()}
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BackboneError(
            f"{file.name} beside the config of {folder.name} is absent, damaged or does not fit it "
            f"({error}). Copy both files again."
        ) from error
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    preprocess = PreprocessCfg(size=size, **config.get("preprocess_cfg", {}))
    return clip, image_transform_v2(preprocess, is_train=False)


def _config(folder: Path) -> dict[str, Any]:
    """The open_clip config of a folder; empty where there is none, which open_clip reports."""
    file = folder / "open_clip_config.json"
    try:
        config = read_json(file) if file.is_file() else {}
    except DataError as error:
        raise BackboneError(f"{error} Copy it again.") from error
    return config if isinstance(config, dict) else {}
