"""The corruptions of ImageNet-C and the PGD attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from drople.errors import SettingsError
from drople.evaluation.corrupted_sets import corrupted
from drople.perturb.attack import attack
from drople.perturb.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from drople.training.image_sets import images_of_files

# As published: snow's flakes and frost's ice trade cover for density at one step each, and the
# elastic transform changes from a few wide waves (1, 2) to many narrow ones (3, 4, 5).
NOT_MONOTONE = {"snow", "frost", "elastic_transform"}


@pytest.fixture(scope="module")
def photograph():
    """A photograph (196, 196, 3) uint8 that installs with scikit-learn."""
    return np.ascontiguousarray(load_sample_image("flower.jpg")[100:296, 200:396])


def changed(photograph: np.ndarray, name: str, severity: int) -> float:
    """Mean absolute change in grey levels."""
    after = corrupt(photograph, name, severity, rng=np.random.default_rng(0))
    return float(np.abs(after.astype(float) - photograph).mean())


def test_there_are_the_fifteen_of_imagenet_c():
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_zero_is_identity(photograph, name):
    assert np.array_equal(corrupt(photograph, name, 0, rng=np.random.default_rng(0)), photograph)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [33, 64])
def test_shape_and_kind_of_the_pixels_stay(photograph, name, size):
    before = photograph[:size, :size]
    for severity in SEVERITIES:
        after = corrupt(before, name, severity, rng=np.random.default_rng(0))
        assert (after.shape, after.dtype) == (before.shape, before.dtype)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - NOT_MONOTONE))
def test_a_higher_severity_changes_more(photograph, name):
    found = [changed(photograph, name, severity) for severity in (0, *SEVERITIES)]
    assert found == sorted(found)


@pytest.mark.parametrize("name", sorted(NOT_MONOTONE))
def test_the_exceptions_change_the_picture_all_the_same(photograph, name):
    assert all(changed(photograph, name, severity) > 5 for severity in SEVERITIES)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_picture_that_is_corrupted_is_not_modified(photograph, name):
    before = photograph.copy()
    corrupt(photograph, name, 3, rng=np.random.default_rng(0))
    assert np.array_equal(photograph, before)


def test_contrast_keeps_the_mean_of_each_channel(photograph):
    after = corrupt(photograph, "contrast", 2, rng=np.random.default_rng(0))
    assert np.allclose(after.mean(axis=(0, 1)), photograph.mean(axis=(0, 1)), atol=0.5)


def test_impulse_noise_strikes_the_published_share(photograph):
    grey = np.full_like(photograph, 128)
    after = corrupt(grey, "impulse_noise", 5, rng=np.random.default_rng(0))
    assert (after != 128).mean() == pytest.approx(0.27, abs=0.01)


def test_glass_blur_only_moves_pixels_about(photograph):
    flat = np.full_like(photograph, 77)
    assert np.array_equal(corrupt(flat, "glass_blur", 4, rng=np.random.default_rng(0)), flat)


def test_an_unknown_corruption_is_named(photograph):
    with pytest.raises(SettingsError, match=r"'rain'.*gaussian_noise"):
        corrupt(photograph, "rain", 1, rng=np.random.default_rng(0))


def test_corrupted_images_depend_on_their_key_alone(tmp_path, photograph):
    images = images_of_files([(tmp_path / f"{i}.png", 0) for i in range(3)])
    cropped = np.stack([photograph[:32, :32]] * 3)
    together = corrupted(images, cropped, name="gaussian_noise", severity=3)
    alone = corrupted(images.select(np.array([2])), cropped[2:], name="gaussian_noise", severity=3)
    assert np.array_equal(together.read(2), alone.read(0))
    assert not np.array_equal(together.read(1), together.read(2))


@pytest.fixture(scope="module")
def linear():
    """Pixels (4, 3, 8, 8) in [0, 1], their labels, and a linear classifier of three classes."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(192, 3, generator=generator)
    pixels = torch.rand(4, 3, 8, 8, generator=generator)
    labels = (pixels.flatten(1) @ weights).argmax(dim=-1)
    return pixels, labels, lambda x: x.flatten(1) @ weights


@pytest.mark.parametrize("epsilon", [1 / 255, 4 / 255])
def test_an_attack_stays_within_epsilon_and_in_the_range_of_pixels(linear, epsilon):
    pixels, labels, classify = linear
    moved = attack(classify, pixels, labels, epsilon=epsilon)
    assert (moved - pixels).abs().max() <= epsilon + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_an_attack_lowers_the_margin_of_the_true_class(linear):
    pixels, labels, classify = linear

    def margin(x):
        logits, mine = classify(x), F.one_hot(labels, 3).bool()
        return logits[mine] - logits.masked_fill(mine, -torch.inf).amax(dim=-1)

    assert (margin(attack(classify, pixels, labels, epsilon=4 / 255)) < margin(pixels)).all()


def test_an_attack_on_two_classes_is_the_sign_of_the_slope(linear):
    pixels, _, classify = linear
    inner = pixels * 0.5 + 0.25  # away from 0 and 1
    two = lambda x: classify(x)[:, :2]  # noqa: E731
    labels = torch.zeros(4, dtype=torch.long)
    slope = classify(torch.eye(192).reshape(192, 3, 8, 8))  # (192, 3), the weights
    best = inner - 0.01 * (slope[:, 0] - slope[:, 1]).sign().reshape(3, 8, 8)
    assert torch.allclose(attack(two, inner, labels, epsilon=0.01), best, atol=1e-6)


def test_no_epsilon_is_no_attack(linear):
    pixels, labels, classify = linear
    assert torch.equal(attack(classify, pixels, labels, epsilon=0.0), pixels)
