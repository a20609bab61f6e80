"""The convolutional stem: stored features, open_clip's forward, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import TEXT, noise_picture

from drople import analyse, load_backbone
from drople.errors import BackboneError
from drople.models.backbone import CHECKPOINTS, hash_weights
from drople.models.stem import Stem, build_clip

MINI = CHECKPOINTS / "mini"
GOLDEN = Path(__file__).parents[3] / "shared" / "mini2" / "golden.npz"


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the stored features are not part of the project")
def test_features_of_mini_equal_the_stored_ones(mini):
    with np.load(GOLDEN) as golden:
        pixels, phrases = torch.from_numpy(golden["pixels"]), [str(p) for p in golden["phrases"]]
        image, text = torch.from_numpy(golden["image"]), torch.from_numpy(golden["text"])
    torch.testing.assert_close(mini.encode_image(pixels), image, atol=1e-4, rtol=0)
    torch.testing.assert_close(mini.encode_text(phrases), text, atol=1e-4, rtol=0)


def test_the_forward_equals_open_clips_over_the_same_modules(mini):
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = mini.clip.encode_image(pixels)
    torch.testing.assert_close(mini.encode_image(pixels), expected, atol=1e-5, rtol=0)


def test_the_hash_is_that_of_the_file_and_not_of_folded_weights(mini):
    stored = load_file(MINI / "open_clip_model.safetensors")
    assert mini.weights_hash == hash_weights(stored)
    assert mini.weights_hash != hash_weights(mini.clip.state_dict())


def test_folding_batch_norms_changes_nothing_but_rounding():
    clip = build_clip(json.loads((MINI / "open_clip_config.json").read_text()))
    stored = load_file(MINI / "open_clip_model.safetensors")
    clip.load_state_dict({name: value.float() for name, value in stored.items()})
    stem = clip.eval().requires_grad_(False).visual.conv1
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = stem(pixels)
    folded = stem.optimised()
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(folded(pixels), before, atol=1e-4, rtol=1e-4)


def test_a_token_of_a_stem_sees_beyond_its_cell(mini):
    """What cards and pages say of maps: a change in one cell reaches its neighbours' tokens."""
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    changed = pixels.clone()
    changed[:, :, 96:112, 96:112] = 0  # the cell in row 6, column 6
    with torch.no_grad():
        moved = (mini.visual.conv1(changed) - mini.visual.conv1(pixels)).abs().amax(dim=1)[0]
    assert mini.has_stem
    assert moved[6, 6] > 0
    assert min(moved[5, 6], moved[7, 6], moved[6, 5], moved[6, 7]) > 0.01


def test_a_plain_vit_has_no_stem(backbone):
    assert not backbone.has_stem
    assert (backbone.image_size, backbone.patch_size, backbone.grid_size) == (32, 8, 4)


def test_an_unknown_stem_is_refused_with_the_reason(tmp_path):
    config = json.loads((MINI / "open_clip_config.json").read_text())
    config["stem"] = {"arch": "no_such_net"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"'no_such_net' is no network of timm .* expected one"):
        load_backbone(f"local-dir:{tmp_path}")


def test_a_stem_whose_features_do_not_fit_the_patches_is_refused():
    with pytest.raises(BackboneError, match=r"strides \(16, 32\) under patches of 14 pixels"):
        Stem("tf_efficientnet_lite0", 64, 14)


def test_a_trunk_without_feature_maps_is_refused():
    with pytest.raises(BackboneError, match="'vit_tiny_patch16_224'"):
        Stem("vit_tiny_patch16_224", 64)


def test_a_small_clip_with_a_stem_can_be_analysed(tmp_path):
    config = {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": {
                "image_size": 64, "patch_size": 16, "width": 64, "layers": 2, "head_width": 16,
            },
            "text_cfg": TEXT,
        },
        "stem": {"arch": "tf_efficientnet_lite0"},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }  # fmt: skip
    torch.manual_seed(0)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    from safetensors.torch import save_file

    save_file(build_clip(config).state_dict(), tmp_path / "open_clip_model.safetensors")
    loaded = load_backbone(f"local-dir:{tmp_path}")
    found = analyse(loaded, noise_picture(80, 70), ["cat", "dog"])
    assert found.pixels.shape == (64, 64, 3)
    assert found.maps.values["frozen"].shape == (2, 4, 4)
