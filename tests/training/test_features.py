"""Features of whole image sets, and the cache that keeps the frozen branch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from PIL import Image
from tiny import NAMES, Shown, noise_picture, tiny_clip, wrap
from torch.nn import functional as F

from drople.training.config import TrainConfig
from drople.training.features import (
    BATCH,
    autocast,
    crop_all,
    encode_all,
    frozen_image_features,
    frozen_text_features,
)
from drople.training.image_sets import ImageSet


def image_set(pictures, keys=None):
    """Pictures in memory, without labels that matter."""
    nothing = np.zeros(len(pictures), dtype=int)
    keys = keys or tuple(str(i) for i in range(len(pictures)))
    return ImageSet([Shown(p) for p in pictures], nothing, nothing, keys)


def noises(count, seed=0):
    return image_set([noise_picture(seed=seed + i) for i in range(count)])


def test_features_of_a_set_are_unit_and_in_order(backbone):
    images = noises(BATCH + 3)  # more than one batch
    features = encode_all(backbone, images, backbone.encode_image, precision="fp32")
    for i in (0, BATCH, BATCH + 2):
        pixels = torch.from_numpy(backbone.pixels(images.read(i)).copy())[None]
        alone = F.normalize(backbone.encode_image(backbone.normalise(pixels)), dim=-1)
        torch.testing.assert_close(features[i], alone[0], rtol=1e-5, atol=1e-6)


def test_an_empty_set_has_no_features(backbone, tmp_path):
    found = encode_all(backbone, noises(0), backbone.encode_image, precision="fp32")
    assert found.shape == (0, 32)
    cached = frozen_image_features(backbone, noises(0), precision="fp32", cache=tmp_path)
    assert cached.shape == (0, 32)


def test_pixels_of_a_set_are_what_the_model_sees(backbone):
    images = noises(2)
    assert np.array_equal(crop_all(backbone, images)[1], backbone.pixels(images.read(1)))


def test_features_computed_before_are_read(backbone, tmp_path):
    first = frozen_image_features(backbone, noises(3), precision="fp32", cache=tmp_path)
    (file,) = tmp_path.glob("*.npy")
    np.save(file, np.zeros((3, 32), np.float32))
    again = frozen_image_features(backbone, noises(3), precision="fp32", cache=tmp_path)
    assert first.any()
    assert not again.any()


@pytest.mark.parametrize("changed", ["backbone", "precision", "keys", "pixels", "order"])
def test_the_cache_mistakes_no_set_for_another(backbone, tmp_path, changed):
    images, precision = noises(20), "fp32"
    frozen_image_features(backbone, images, precision=precision, cache=tmp_path)
    if changed == "backbone":
        backbone = wrap(tiny_clip(seed=8))
    if changed == "precision":
        precision = "bf16"
    if changed == "keys":
        images = image_set([noise_picture(seed=i) for i in range(20)], ("other",) * 20)
    if changed == "pixels":  # of one file
        pictures = [noise_picture(seed=i if i != 13 else 50) for i in range(20)]
        images = image_set(pictures)
    if changed == "order":
        images = images.select(np.arange(20)[::-1])
    cached = frozen_image_features(backbone, images, precision=precision, cache=tmp_path)
    fresh = frozen_image_features(backbone, images, precision=precision)
    torch.testing.assert_close(cached, fresh)


@pytest.mark.parametrize("damage", [lambda data: data[:-90], lambda data: b"", lambda data: b"x"])
def test_a_damaged_file_of_the_cache_is_set_aside_and_made_anew(backbone, tmp_path, damage):
    first = frozen_image_features(backbone, noises(3), precision="fp32", cache=tmp_path)
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(damage(file.read_bytes()))
    again = frozen_image_features(backbone, noises(3), precision="fp32", cache=tmp_path)
    assert torch.equal(again, first)
    assert len([*tmp_path.glob("*.damaged")]) == 1


def test_no_partial_file_is_left_in_the_cache(backbone, tmp_path):
    frozen_image_features(backbone, noises(2), precision="fp32", cache=tmp_path / "new")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_the_single_teacher_reads_the_template(backbone):
    config = TrainConfig(template="a drawing of a {}!")
    expected = backbone.encode_text([f"a drawing of a {name}!" for name in NAMES])
    found = frozen_text_features(backbone, NAMES, config)
    torch.testing.assert_close(found, F.normalize(expected, dim=-1))


def test_the_ensemble_is_the_direction_of_the_mean_over_open_clips_templates(backbone):
    found = frozen_text_features(backbone, ("cat",), TrainConfig(teacher="ensemble"))
    each = [backbone.encode_text([template("cat")])[0] for template in OPENAI_IMAGENET_TEMPLATES]
    mean = F.normalize(torch.stack(each), dim=-1).mean(dim=0)
    torch.testing.assert_close(found[0], F.normalize(mean, dim=-1), rtol=1e-5, atol=1e-6)


def test_a_precision_that_only_a_command_knows_is_none_here(backbone):
    with pytest.raises(KeyError):
        autocast(backbone, "auto")


@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
    ],
)
def test_precision_decides_the_type_of_a_product(backbone, precision, kind):
    with autocast(backbone, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_a_picture_of_any_mode_is_cropped(backbone):
    found = crop_all(backbone, image_set([Image.new("L", (40, 30), 7)]))
    assert np.array_equal(found, np.full((1, 32, 32, 3), 7))
