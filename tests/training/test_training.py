"""Training on coloured squares: what is learnt, what stays, and that a run can be repeated."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from squares import coloured_squares
from tiny import tiny_clip, wrap

from drople import METHODS, fit
from drople.errors import SettingsError
from drople.tokens.importance import SignalWeights
from drople.training.augment import flip, patch_randaugment
from drople.training.config import TrainConfig
from drople.training.loop import build_model, lr_at

LEARNING = [name for name, config in METHODS.items() if config.learns()]
TEXT_ONLY = {"prompts.text"}
BOTH = {"prompts.text", "prompts.image"}
BRIDGE = {f"bridge.{part}.{kind}" for part in ("image", "text") for kind in ("weight", "bias")}
BRIDGE |= {"bridge.tokens"}
LEARNT = {
    "coop": TEXT_ONLY,
    "kgcoop": TEXT_ONLY,
    "ivlp": BOTH,
    "promptsrc": BOTH,
    "maple": TEXT_ONLY | {f"prompts.couple.{i}.{k}" for i in range(4) for k in ("weight", "bias")},
    "mpl": TEXT_ONLY
    | {f"prompts.first.{k}" for k in ("weight", "bias")}
    | {f"prompts.add.{i}.{a}.{k}" for i in range(3) for a in range(2) for k in ("weight", "bias")},
    # Nothing but the alignment loss trains a bridge (METHOD.md 2.1), so it has none.
    "drople-no-alignment": BOTH | {"logit_scale"},
}
DROPLE = BOTH | BRIDGE | {"logit_scale"}
# B starts at zero, so that the first step reaches A through nothing.
LEARNT["drople-lora"] = DROPLE | {"lora.query_up", "lora.value_up"}


@pytest.fixture(scope="module")
def squares():
    return coloured_squares()


def toy(method="drople", **changes):
    """A method's configuration for two epochs of three steps, in full precision."""
    small = {"epochs": 2, "batch": 4, "precision": "fp32", "lr": 0.01} | changes
    config = METHODS[method]
    return replace(config, bridge_tokens=min(config.bridge_tokens, 4), **small)


def trained(backbone, task, config, **where):
    model = build_model(backbone, config)
    return model, list(fit(model, task, config, **where))


def assert_equal_parameters(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


# --- what is learnt -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ivlp", "drople"])
def test_training_lowers_the_loss(backbone, squares, method):
    config = toy(method, epochs=6, augment="none", lr=0.02)
    _, reports = trained(backbone, squares, config)
    first, last = (
        np.mean([r.terms["total"] for r in reports if r.epoch == epoch]) for epoch in (0, 5)
    )
    assert last < 0.8 * first


def test_training_learns_the_colours(backbone, squares):
    config = toy("ivlp", epochs=12, augment="none", lr=0.02)
    model, _ = trained(backbone, squares, config)
    pixels = np.stack([backbone.pixels(squares.train.read(i)) for i in range(12)])
    images = model.encode_image(backbone.normalise(pixels))
    text = torch.nn.functional.normalize(model.encode_text(squares.classes), dim=-1)
    assert (images @ text.T).argmax(dim=-1).tolist() == squares.train.labels.tolist()


@pytest.mark.parametrize("method", LEARNING)
def test_gradients_reach_exactly_what_a_method_learns(backbone, squares, method):
    config = toy(method)
    model = build_model(backbone, config)
    next(fit(model, squares, config))
    felt = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert felt == LEARNT.get(method, DROPLE)


@pytest.mark.parametrize("method", ["coop", "drople"])
def test_a_step_changes_what_is_learnt_and_nothing_else(backbone, squares, method):
    config = toy(method, epochs=1, lr_warm=0.01)
    before = build_model(backbone, config).state_dict()
    model, _ = trained(backbone, squares, config)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == LEARNT.get(method, DROPLE)


def test_the_frozen_clip_feels_no_gradient_and_stays(squares):
    clip = tiny_clip()
    backbone, before = wrap(clip), {n: v.clone() for n, v in clip.state_dict().items()}
    trained(backbone, squares, toy())
    assert all(parameter.grad is None for parameter in clip.parameters())
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())


def test_a_logit_scale_that_is_not_learnt_stays_as_it_was(squares):
    clip = tiny_clip(init_logit_scale=math.log(100))  # a little above the bound of one that is
    model, _ = trained(wrap(clip), squares, toy("ivlp", epochs=1))
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100), abs=1e-6)


def test_a_logit_scale_that_is_learnt_stays_at_most_a_hundred(squares):
    clip = tiny_clip(init_logit_scale=5.5)
    model, _ = trained(wrap(clip), squares, toy("drople", epochs=1))
    assert float(model.logit_scale.detach()) <= 4.605 + 1e-6


def test_drople_without_alignment_has_no_bridge(backbone):
    config = METHODS["drople-no-alignment"]
    assert build_model(backbone, config).bridge is None
    assert config.dropout.weights.s_cross == config.losses.alignment == 0
    assert replace(config.dropout, weights=SignalWeights()) == METHODS["drople"].dropout


def test_a_precision_that_only_a_command_knows_is_refused():
    with pytest.raises(SettingsError, match="precision is 'auto'; expected one of fp32, bf16"):
        TrainConfig(precision="auto")


def test_zero_shot_learns_nothing():
    assert not METHODS["zero-shot"].learns()
    assert all(METHODS[name].learns() for name in LEARNING)


# --- what is reported ----------------------------------------------------------------------------


def test_a_report_is_made_for_every_step(backbone, squares):
    _, reports = trained(backbone, squares, toy(batch=5))  # 12 images: batches of 5, 5 and 2
    assert [(r.epoch, r.step) for r in reports] == [(e, s) for e in range(2) for s in range(3)]
    assert {r.steps for r in reports} == {3}


def test_every_epoch_sees_each_image_once_in_an_order_of_its_own(backbone, squares):
    config = toy("ivlp", lr=0.0, lr_warm=0.0, augment="none")  # nothing changes but the order
    _, reports = trained(backbone, squares, config)
    first, second = (
        [r.terms["cross_entropy"] for r in reports if r.epoch == epoch] for epoch in (0, 1)
    )
    assert np.mean(first) == pytest.approx(np.mean(second), rel=1e-5)
    assert first != pytest.approx(second, rel=1e-5)


def test_a_report_can_be_written_as_json(backbone, squares):
    report = trained(backbone, squares, toy())[1][0]
    assert json.loads(json.dumps(asdict(report))) == asdict(report)
    assert all(math.isfinite(value) for value in report.terms.values())


def test_the_total_is_the_weighted_sum_of_the_terms(backbone, squares):
    terms = trained(backbone, squares, toy())[1][-1].terms
    expected = (
        terms["cross_entropy"]
        + 25 * terms["text_l1"]
        + 10 * terms["image_l1"]
        + 2.5 * terms["distillation"]
        - 0.05 * (terms["entropy_image"] + terms["entropy_text"])
        + 30 * terms["alignment"]
    )  # METHOD.md 5.1
    assert terms["total"] == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_alone_has_no_other_term(backbone, squares):
    terms = trained(backbone, squares, toy("ivlp"))[1][0].terms
    assert terms.keys() == {"cross_entropy", "total"}
    assert terms["total"] == terms["cross_entropy"]


def test_kgcoop_adds_the_distance_to_the_frozen_text(backbone, squares):
    terms = trained(backbone, squares, toy("kgcoop"))[1][0].terms
    assert terms["total"] == pytest.approx(terms["cross_entropy"] + 8 * terms["knowledge"])


# --- the learning rate ---------------------------------------------------------------------------


def test_the_learning_rate_follows_the_released_code():
    """METHOD.md 5.2, times 1e-4: warm-up, epoch 0, then epochs 1 to 18."""
    config = TrainConfig(lr=2e-4, lr_floor=0.05, lr_warm=1e-5, epochs=20)
    printed = [
        *(1.9877, 1.9511, 1.891, 1.809, 1.7071, 1.5878, 1.454, 1.309, 1.1564),
        *(1, 0.8436, 0.691, 0.546, 0.4122, 0.2929, 0.191, 0.109, 0.1),
    ]
    found = [lr_at(config, epoch=epoch, step=0, steps=50) * 1e4 for epoch in range(1, 19)]
    assert found == pytest.approx(printed, abs=6e-5)
    warm = [lr_at(config, epoch=0, step=step, steps=50) * 1e4 for step in (0, 4, 5, 49)]
    assert warm == pytest.approx([0.1, 0.1, 2, 2])


def test_the_learning_rate_is_reported_with_each_step(backbone, squares):
    config = toy(epochs=3)
    _, reports = trained(backbone, squares, config)
    assert [r.lr for r in reports] == [
        lr_at(config, epoch=r.epoch, step=r.step, steps=3) for r in reports
    ]


# --- repeating a run -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["drople", "drople-code", "drople-zero", "promptsrc"])
def test_the_same_seed_learns_the_same_prompts(backbone, squares, method):
    config = toy(method, augment="patch")
    assert_equal_parameters(*(trained(backbone, squares, config)[0] for _ in range(2)))


def test_another_seed_learns_other_prompts(backbone, squares):
    one, other = (trained(backbone, squares, toy(seed=seed))[0] for seed in (1, 2))
    assert not torch.equal(one.prompts.image, other.prompts.image)


@pytest.mark.parametrize("method", ["drople", "promptsrc"])
def test_a_run_cut_off_in_an_epoch_goes_on_as_if_it_had_not_been(
    backbone, squares, method, tmp_path
):
    config, state = toy(method, epochs=3), tmp_path / "runs" / "a.state"
    whole, _ = trained(backbone, squares, config)
    first = fit(build_model(backbone, config), squares, config, state=state)
    for _ in range(5):  # three steps of epoch 0, two of epoch 1
        next(first)
    first.close()
    resumed, reports = trained(backbone, squares, config, state=state)
    assert reports[0].epoch == 1
    assert_equal_parameters(resumed, whole)


def test_a_damaged_state_is_set_aside_and_the_training_begins_anew(
    backbone, squares, tmp_path, caplog
):
    config, state = toy(), tmp_path / "a.state"
    whole, reports = trained(backbone, squares, config, state=state)
    data = state.read_bytes()
    state.write_bytes(data[:600] + b"?" + data[601:])
    again, redone = trained(backbone, squares, config, state=state)
    assert len(redone) == len(reports)
    assert_equal_parameters(again, whole)
    assert "a.state is damaged" in caplog.text
    assert (tmp_path / "a.state.damaged").is_file()


def test_a_finished_run_is_read_from_its_state(backbone, squares, tmp_path):
    config, state = toy("promptsrc"), tmp_path / "a.state"
    whole, _ = trained(backbone, squares, config, state=state)
    again, reports = trained(backbone, squares, config, state=state)
    assert reports == []
    assert_equal_parameters(again, whole)


def test_training_draws_nothing_from_torchs_global_generator(backbone, squares):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trained(backbone, squares, toy(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_cached_features_change_nothing(backbone, squares, tmp_path):
    config = toy()
    plain, _ = trained(backbone, squares, config)
    for _ in range(2):  # written, then read
        cached, _ = trained(backbone, squares, config, cache=tmp_path)
        assert_equal_parameters(cached, plain)


def test_promptsrc_ends_with_a_weighted_mean_over_its_epochs(backbone, squares):
    """Gaussian weights over epochs; with one of nearly no width, the epoch at its mean alone."""
    config = toy("promptsrc", epochs=4, gaussian_epochs=(0.5, 0.01))  # the second of four
    averaged, _ = trained(backbone, squares, config)
    plain = replace(config, gaussian_epochs=None)
    model = build_model(backbone, plain)
    for report in fit(model, squares, plain):
        if (report.epoch, report.step) == (2, 0):
            break
        expected = {n: v.clone() for n, v in model.state_dict().items()}
    for name, value in averaged.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_half_precision_learns_too(backbone, squares):
    _, reports = trained(backbone, squares, toy(precision="bf16", epochs=1))
    assert all(math.isfinite(report.terms["total"]) for report in reports)


# --- augmentation --------------------------------------------------------------------------------


def test_a_flip_mirrors_half_of_the_images_and_no_other():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)
    flipped = flip(pixels, np.random.default_rng(1))
    kept = (flipped == pixels).all(axis=(1, 2, 3))
    mirrored = (flipped == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept | mirrored).all()
    assert 160 < mirrored.sum() < 240


def test_patches_are_augmented_each_by_itself():
    """What becomes of a patch does not depend on the others, and the borders stay."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    changed = pixels.copy()
    changed[:, 8:, 8:] = 0
    whole, other = (patch_randaugment(p, np.random.default_rng(3), 8) for p in (pixels, changed))
    assert np.array_equal(whole[:, :8], other[:, :8])
    assert not np.array_equal(whole, pixels)
    assert (whole.shape, whole.dtype) == (pixels.shape, np.uint8)


def test_augmentation_leaves_its_input_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    before = pixels.copy()
    flip(pixels, np.random.default_rng(1))
    patch_randaugment(pixels, np.random.default_rng(1), 8)
    assert np.array_equal(pixels, before)
