"""Low-rank changes are learnt beside the prompts, at their own rate, and load as imported ones."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from squares import coloured_squares

from drople.errors import SettingsError
from drople.models.towers import image_features, last
from drople.storage.prompts import load_prompts, save_prompts
from drople.tokens.draws import StreamDraws
from drople.training.config import METHODS, LoraSettings
from drople.training.loop import build_model, fit, lr_at
from drople.training.objective import Objective
from drople.training.processes import ALONE
from drople.training.run import describe

CONFIG = replace(METHODS["drople-lora"], bridge_tokens=4, epochs=2, batch=4, augment="none", seed=3)


@pytest.fixture(scope="module")
def task():
    return coloured_squares()


def trained(backbone, task, **changes):
    config = replace(CONFIG, lora=replace(CONFIG.lora, **changes))
    model = build_model(backbone, config)
    for _ in fit(model, task, config):
        pass
    return model, config


def test_at_first_nothing_is_changed(backbone, task):
    model = build_model(backbone, CONFIG)
    plain = build_model(backbone, replace(METHODS["drople"], bridge_tokens=4))
    pixels = torch.randn(2, 3, model.backbone.image_size, model.backbone.image_size)
    plain.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(model.encode_image(pixels), plain.encode_image(pixels))
    assert model.lora.query_down.std() > 0


def test_both_factors_are_learnt_and_the_backbone_is_not(backbone, task):
    before = backbone.weights_hash
    model, config = trained(backbone, task)
    assert model.lora.query_up.abs().max() > 0
    assert model.lora.value_up.abs().max() > 0
    assert not torch.equal(model.lora.value_down, build_model(backbone, config).lora.value_down)
    assert model.backbone.weights_hash == before


def test_without_a_rate_they_stay_as_they_were(backbone, task):
    model, _ = trained(backbone, task, lr=0.0, lr_warm=0.0)
    assert model.lora.query_up.abs().max() == 0


def test_their_rate_is_a_tenth_and_falls_to_a_quarter():
    at = {"step": 20, "steps": 40}
    assert lr_at(CONFIG, epoch=0, low_rank=True, **at) == pytest.approx(2e-4)
    assert lr_at(CONFIG, epoch=0, **at) == pytest.approx(2e-3)
    last = replace(CONFIG, epochs=20)
    assert lr_at(last, epoch=19, low_rank=True, **at) == pytest.approx(5e-5)
    assert lr_at(last, epoch=0, step=3, steps=40, low_rank=True) == pytest.approx(5e-6)


def test_what_was_learnt_is_saved_and_loads(backbone, task, tmp_path):
    model, config = trained(backbone, task)
    save_prompts(tmp_path / "p.safetensors", model, describe(model, task, config))
    loaded, card = load_prompts(tmp_path / "p.safetensors", backbone)
    assert card.lora == model.lora.plan
    pixels = torch.randn(2, 3, model.backbone.image_size, model.backbone.image_size)
    assert torch.equal(loaded.encode_image(pixels), model.encode_image(pixels))


def test_merged_into_a_clip_of_its_own_they_are_what_the_branch_computes(backbone, task, pixels):
    model, _ = trained(backbone, task)
    clip = deepcopy(backbone.clip)
    missing = clip.load_state_dict(model.lora.merged_weights(backbone.visual), strict=False)
    assert not missing.unexpected_keys
    changed = last(backbone.image_layers(pixels, visual=model.visual))
    expected = image_features(backbone.visual, changed)
    torch.testing.assert_close(clip.encode_image(pixels), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(backbone.encode_image(pixels), expected, rtol=1e-4, atol=1e-5)


def test_the_frozen_branch_moves_only_where_it_is_asked_to(backbone, task, pixels):
    kept, index = {}, np.arange(3)
    for frozen in ("apart", "code"):
        config = replace(CONFIG, lora=replace(CONFIG.lora, frozen=frozen))
        model = build_model(backbone, config)
        objective = Objective.of(model, task, config, cache=None, processes=ALONE)

        def frozen_features(objective=objective):
            draws = StreamDraws(torch.Generator().manual_seed(0))
            return objective.features(index, pixels, draws).frozen_image

        first = frozen_features()
        with torch.no_grad():
            model.lora.value_up.fill_(0.1)
        kept[frozen] = first, frozen_features()
    assert torch.equal(*kept["apart"])
    torch.testing.assert_close(kept["code"][0], kept["apart"][0], atol=1e-6, rtol=0)
    assert (kept["code"][1] - kept["code"][0]).abs().max() > 1e-3


def test_a_rank_out_of_range_is_refused():
    with pytest.raises(SettingsError, match="rank"):
        LoraSettings(rank=-1)
