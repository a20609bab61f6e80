"""Class activation maps against autograd by hand, through open_clip's own blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny import noise_pixels, prompted, tiny_clip, wrap
from torch import nn
from torch.nn import functional as F

from drople.errors import SettingsError
from drople.gradcam import CAM_METHODS, class_maps
from drople.models.prompts import PromptPlan
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import TokenDropout
from drople.tokens.strategies import ImportanceWeighted

CLASSES = 5
SITES = pytest.mark.parametrize("layer", [3, 1, 0])  # the last block, and earlier ones


@pytest.fixture
def text(generator):
    """Unit class features (3 images, 5 classes, 32)."""
    return F.normalize(torch.randn(3, CLASSES, 32, generator=generator), dim=-1)


def walk(model, dropout=None):
    """Every record of a run, and what `class_maps` needs to know of it."""
    with torch.no_grad():
        records = list(model.image_layers(noise_pixels(), score=True, dropout=dropout))
    return records, {"prompts": model.prompts.image_steps(), "dropout": dropout}


def frozen_walk(backbone):
    with torch.no_grad():
        return list(backbone.image_layers(noise_pixels())), {}


def acting(mode, placement="next"):
    draws = SeededDraws([0, 1, 2], "image")
    return TokenDropout(ImportanceWeighted(), draws, 3, mode, placement, sigma=0.5)


def maps_by_hand(visual, records, text, target, layer, *, steps=(), dropout=None):
    """Grad-CAM (B, G, G) by autograd, through open_clip's own blocks.

    The drops of a run are carried out here again, from the decisions in its records.
    """
    tokens = records[layer].entering
    hidden = records[layer].hidden
    for depth in range(layer, len(records)):
        block = visual.transformer.resblocks[depth]
        if depth > layer:
            gone = records[depth - 1].drop.dropped if records[depth - 1].drop else None
            early = dropout is not None and dropout.placement == "post"
            if depth < len(steps) and not early:
                tokens = torch.cat([tokens[:, :17], steps[depth].inserted.expand(3, -1, -1)], 1)
                hidden = kept_for_patches(hidden)
            if gone is not None and dropout.mode == "zero":
                tokens = tokens * ~gone[..., None]
            if gone is not None and dropout.mode == "zero_scaled":
                stays = 1 - records[depth - 1].drop.probability
                tokens = tokens * ~gone[..., None] / stays[..., None]
            if gone is not None and dropout.mode == "noise":
                noise = dropout.draws.noise(depth - 1, tuple(tokens.shape))
                tokens = tokens * torch.where(gone[..., None], 1 + dropout.sigma * noise, 1)
            if gone is not None and dropout.mode == "hide":
                hidden = gone if hidden is None else hidden | gone
            if depth < len(steps) and early:
                tokens = torch.cat([tokens[:, :17], steps[depth].inserted.expand(3, -1, -1)], 1)
                hidden = kept_for_patches(hidden)
        y = block.ln_1(tokens)
        if depth == layer:
            y = site = y.detach().requires_grad_(True)
        tokens = tokens + block.ls_1(attend_by_torch(block.attn, y, hidden))
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    features = F.normalize(visual.ln_post(tokens[:, 0]) @ visual.proj, dim=-1)
    (gradient,) = torch.autograd.grad((features * text[:, target]).sum(), site)
    patches = slice(1, 17)
    weights = gradient[:, patches].mean(dim=1, keepdim=True)  # (B, 1, D)
    return (weights * site[:, patches]).sum(dim=-1).detach().view(3, 4, 4).numpy()


def attend_by_torch(attn, y, hidden):
    """nn.MultiheadAttention, where no row but itself sees a hidden one."""
    if hidden is None:
        return attn(y, y, y, need_weights=False)[0]
    unseen = hidden[:, None, :] & ~torch.eye(y.shape[1], dtype=torch.bool)  # (B, N, N)
    heads = unseen.repeat_interleave(attn.num_heads, dim=0)
    return attn(y, y, y, need_weights=False, attn_mask=heads)[0]


def kept_for_patches(hidden):
    """Fresh prompts are not hidden."""
    return None if hidden is None else hidden & (torch.arange(hidden.shape[1]) < 17)


def assert_same_maps(got, expected):
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)


@SITES
def test_a_map_of_the_frozen_branch_equals_autograd_by_hand(backbone, text, layer):
    records, run = frozen_walk(backbone)
    maps = class_maps(backbone.visual, records, text, classes=[2], layer=layer, **run)
    assert_same_maps(maps[:, 0], maps_by_hand(backbone.visual, records, text, 2, layer))


@SITES
def test_a_map_with_prompts_equals_autograd_by_hand(model, text, layer):
    records, run = walk(model)
    visual = model.backbone.visual
    maps = class_maps(visual, records, text, classes=[4], layer=layer, **run)
    by_hand = maps_by_hand(visual, records, text, 4, layer, steps=run["prompts"])
    assert_same_maps(maps[:, 0], by_hand)


@SITES
@pytest.mark.parametrize("placement", ["next", "post"])
@pytest.mark.parametrize("mode", ["zero", "zero_scaled", "hide", "noise"])
def test_a_map_replays_the_drops_of_its_run(model, text, mode, placement, layer):
    dropout = acting(mode, placement)
    records, run = walk(model, dropout)
    visual = model.backbone.visual
    maps = class_maps(visual, records, text, classes=[1], layer=layer, **run)
    by_hand = maps_by_hand(visual, records, text, 1, layer, steps=run["prompts"], dropout=dropout)
    assert_same_maps(maps[:, 0], by_hand)


def test_the_last_block_is_the_site_where_none_is_named(model, text):
    records, run = walk(model)
    named = class_maps(model.backbone.visual, records, text, classes=[0], layer=3, **run)
    assert np.array_equal(
        class_maps(model.backbone.visual, records, text, classes=[0], **run), named
    )


@pytest.mark.parametrize("mode", ["zero", "noise"])
def test_a_map_does_not_depend_on_the_other_classes(model, text, mode):
    records, run = walk(model, acting(mode))
    visual = model.backbone.visual
    together = class_maps(visual, records, text, classes=[3, 0, 2], layer=1, **run)
    for place, target in enumerate((3, 0, 2)):
        alone = class_maps(visual, records, text, classes=[target], layer=1, **run)
        assert_same_maps(together[:, place], alone[:, 0])


def test_modular_prompts_have_maps_at_every_layer(text):
    plan = PromptPlan("modular", image_count=1, text_count=1, image_depth=4, text_depth=4)
    model = prompted(wrap(tiny_clip()), plan)
    records, run = walk(model, acting("hide"))
    for layer in range(4):
        maps = class_maps(model.backbone.visual, records, text, classes=[0], layer=layer, **run)
        assert np.abs(maps).max() > 0


@SITES
@pytest.mark.parametrize("method", CAM_METHODS)
def test_every_method_gives_finite_maps_of_the_grid(model, text, method, layer):
    records, run = walk(model)
    maps = class_maps(
        model.backbone.visual, records, text, classes=[0, 1], layer=layer, method=method, **run
    )
    assert maps.shape == (3, 2, 4, 4)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("method", CAM_METHODS)
def test_a_method_depends_on_the_class_as_it_says(model, text, method):
    records, run = walk(model)
    maps = class_maps(model.backbone.visual, records, text, classes=[0, 1], method=method, **run)
    assert np.array_equal(maps[:, 0], maps[:, 1]) != CAM_METHODS[method].per_class


@pytest.mark.parametrize("method", CAM_METHODS)
def test_maps_that_are_shared_may_be_written_to(model, text, method):
    records, run = walk(model)
    maps = class_maps(model.backbone.visual, records, text, classes=[0, 1], method=method, **run)
    before = maps[:, 1].copy()
    maps[:, 0] = 9
    assert np.array_equal(maps[:, 1], before)


def test_two_threads_get_the_answers_of_one(model, text):
    runs = [walk(model, acting(mode)) for mode in ("zero", "hide")] * 4
    visual = model.backbone.visual

    def maps(numbered):
        place, (records, run) = numbered
        return class_maps(visual, records, text, classes=[place % CLASSES], layer=place % 4, **run)

    one_by_one = list(map(maps, enumerate(runs)))
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(maps, enumerate(runs)))
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_no_hook_is_left_behind(model, text):
    records, run = walk(model)
    class_maps(model.backbone.visual, records, text, classes=[0], **run)
    modules = [*model.backbone.clip.modules(), *model.modules()]
    assert not any(m._forward_hooks or m._backward_hooks for m in modules)


def test_no_hook_is_left_behind_by_a_failure(model, text):
    records, run = walk(model)
    with pytest.raises(IndexError):
        class_maps(model.backbone.visual, records, text, classes=[CLASSES], **run)
    assert not any(m._forward_hooks for m in model.backbone.clip.modules())


def test_a_map_changes_neither_records_nor_parameters(backbone, text):
    model = prompted(backbone).requires_grad_(True)  # as while it is being trained
    records, run = walk(model)
    before = [record.entering.clone() for record in records]
    class_maps(backbone.visual, records, text, classes=[0], layer=0, **run)
    assert all(torch.equal(r.entering, b) for r, b in zip(records, before, strict=True))
    assert not any(r.entering.requires_grad or r.entering.grad is not None for r in records)
    parameters: list[nn.Parameter] = [*model.parameters(), *backbone.clip.parameters()]
    assert all(parameter.grad is None for parameter in parameters)


def test_maps_work_where_gradients_are_off(model, text):
    records, run = walk(model)
    expected = class_maps(model.backbone.visual, records, text, classes=[0], **run)
    with torch.no_grad():
        assert np.array_equal(
            class_maps(model.backbone.visual, records, text, classes=[0], **run), expected
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "scorecam"}, "No map is called 'scorecam'; choose one of gradcam, gradcam"),
        ({"layer": 4}, "Layer 4 does not exist; the tower has 4"),
        ({"layer": -1}, "Layer -1 does not exist; the tower has 4"),
    ],
)
def test_a_map_that_cannot_be_made_is_refused(backbone, text, changes, message):
    records, run = frozen_walk(backbone)
    with pytest.raises(SettingsError, match=message):
        class_maps(backbone.visual, records, text, classes=[0], **changes, **run)
