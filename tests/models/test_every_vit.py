"""Every plain ViT that open_clip knows: its own features, and the whole way of a picture."""

from __future__ import annotations

import copy

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from tiny import TOKENIZER, noise_picture, randomise_biases
from torch import nn

from drople.analysis import AnalysisSettings, analyse
from drople.errors import BackboneError
from drople.models.backbone import Backbone, load_backbone
from drople.models.coverage import covered_architectures, uncovered_part
from drople.models.prompted_clip import PromptedClip
from drople.models.prompts import PromptPlan
from drople.tokens.dropout import DropoutSettings

NAMES = ("cat", "train station")


class FewWords(nn.Embedding):
    """A table of 512 rows that words share: a full one takes longer to fill than all else."""

    def forward(self, ids):
        return super().forward(ids % 512)


def two_layers(name: str) -> Backbone:
    """A random model of an architecture, cut to two layers, its widths and sizes kept."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    config["text_cfg"]["vocab_size"] = 512
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    torch.manual_seed(0)
    clip = randomise_biases(kind(**config))
    text = clip if kind is open_clip.CLIP else clip.text
    few = FewWords(512, text.token_embedding.embedding_dim)
    few.weight = text.token_embedding.weight
    text.token_embedding = few
    size = clip.visual.image_size
    transform = image_transform(size, is_train=False)
    return Backbone.of_clip(name, clip, transform, TOKENIZER, weights_hash="random")


@pytest.mark.slow
@pytest.mark.parametrize("name", covered_architectures())
def test_it_computes_open_clips_features_and_a_whole_analysis(name):
    backbone = two_layers(name)
    pixels = torch.randn(1, 3, backbone.image_size, backbone.image_size)
    ids = TOKENIZER([f"a photo of a {one}" for one in NAMES])
    with torch.no_grad():
        theirs = backbone.clip.encode_image(pixels), backbone.clip.encode_text(ids)
    ours = backbone.encode_image(pixels), backbone.encode_text([f"a photo of a {n}" for n in NAMES])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    dropout = DropoutSettings(image_depth=1, text_depth=1)
    model = PromptedClip(backbone, PromptPlan(image_depth=2, text_depth=2), bridge_tokens=4)
    settings = AnalysisSettings(strategies=("iwtd",), matched=False, dropout=dropout)
    found = analyse(model, noise_picture(), NAMES, settings)
    vision = open_clip.get_model_config(name)["vision_cfg"]
    G = vision["image_size"] // vision["patch_size"]
    assert found.maps.values["iwtd"].shape == (2, G, G)
    assert found.maps.values["adapted"].any()
    layer = found.images["iwtd"].layers[0]
    assert layer.grid == (G, G)
    np.testing.assert_allclose(layer.blend.sum(axis=1), 1, rtol=1e-5)
    assert layer.blend.shape == (1, 1 + G * G + 4)


def test_the_plain_vits_are_covered_and_nothing_else():
    covered = covered_architectures()
    assert {"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14", "ViT-bigG-14"} < {
        *covered
    }
    assert not [
        name for name in covered if "SigLIP" in name or name.startswith(("RN", "coca", "EVA"))
    ]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("ViT-B-16-SigLIP", "timm"),
        ("EVA02-B-16", "timm"),
        ("RN50", "ResNet"),
        ("coca_ViT-B-32", "CoCa"),
        ("roberta-ViT-B-32", "text tower of transformers"),
        ("ViT-bigG-14-CLIPA", "tokenizer of transformers"),
    ],
)
def test_what_is_not_covered_says_why(name, part):
    assert part in uncovered_part(open_clip.get_model_config(name))


@pytest.mark.parametrize(
    "name", ["RN50/openai", "ViT-B-16-SigLIP/webli", "EVA02-B-16/merged2b_s8b_b131k"]
)
def test_it_is_refused_before_anything_is_downloaded(name, monkeypatch):
    def download(*args, **kwargs):
        raise AssertionError("asked for weights")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", download)
    with pytest.raises(BackboneError, match="does not cover"):
        load_backbone(name)
