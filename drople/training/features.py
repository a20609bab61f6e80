"""Pixels and features of whole image sets; the frozen branch's are computed once and kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from drople.devices import Precision
from drople.errors import DataError
from drople.models.backbone import Backbone
from drople.storage.files import read_sealed, set_aside, write_bytes
from drople.training.config import TrainConfig
from drople.training.image_sets import ImageSet

BATCH = 32  # images in one forward without gradients


def autocast(backbone: Backbone, precision: Precision) -> AbstractContextManager[None]:
    """bf16 autocast where it is asked for; scores and draws are in fp32 all the same."""
    kind = backbone.device.type
    return torch.autocast(kind, torch.bfloat16, enabled={"fp32": False, "bf16": True}[precision])


def crop_all(backbone: Backbone, images: ImageSet) -> np.ndarray:
    """What the model sees of each image, (I, S, S, 3) uint8."""
    S = backbone.image_size
    pixels = np.empty((len(images), S, S, 3), dtype=np.uint8)
    for i in range(len(images)):
        pixels[i] = backbone.pixels(images.read(i))
    return pixels


@torch.no_grad()
def encode_all(
    backbone: Backbone, images: ImageSet, encode: Callable[[Tensor], Tensor], *,
    precision: Precision, progress: str | None = None,
) -> Tensor:  # fmt: skip
    """Unit features (I, E) of an image set, on the CPU, in fp32.

    Args:
        encode: pixels (B, 3, S, S), normalised, to features (B, E).
        progress: what a progress bar says; None for no bar.
    """
    parts = []
    batches, count = images.batches(BATCH), -(-len(images) // BATCH)
    for some in tqdm(batches, desc=progress, total=count, leave=False, disable=progress is None):
        pixels = torch.from_numpy(crop_all(backbone, some))
        with autocast(backbone, precision):
            parts.append(F.normalize(encode(backbone.normalise(pixels)).float(), dim=-1).cpu())
    return torch.cat(parts) if parts else torch.empty(0, backbone.joint_width)


def frozen_image_features(
    backbone: Backbone, images: ImageSet, *, precision: Precision, cache: Path | None = None
) -> Tensor:
    """The frozen branch's unit features (I, E); read from `cache` where they were computed before.

    The cache knows a set by the backbone's weights, the precision, and the images' digest.
    """
    if cache is None:
        return encode_all(backbone, images, backbone.encode_image, precision=precision)
    file = cache / f"{backbone.weights_hash}-{precision}-{images.digest()}.npy"
    if file.is_file():
        try:
            kept = np.load(io.BytesIO(read_sealed(file)))
            return torch.from_numpy(kept.reshape(len(images), backbone.joint_width))
        except (DataError, ValueError, TypeError, EOFError):
            set_aside(file, f"{file} is damaged.")
    features = encode_all(
        backbone, images, backbone.encode_image, precision=precision, progress="frozen features"
    )
    buffer = io.BytesIO()
    np.save(buffer, features.numpy())
    write_bytes(file, buffer.getvalue(), sealed=True)
    return features


def frozen_text_features(backbone: Backbone, names: tuple[str, ...], config: TrainConfig) -> Tensor:
    """The teacher's unit text features (K, E): one template, or the mean over open_clip's 80."""
    if config.teacher == "single":
        phrases = [config.template.replace("{}", name) for name in names]
        return F.normalize(backbone.encode_text(phrases), dim=-1)
    parts = [
        F.normalize(backbone.encode_text([template(name) for name in names]), dim=-1)
        for template in OPENAI_IMAGENET_TEMPLATES
    ]
    return F.normalize(torch.stack(parts).mean(dim=0), dim=-1)
