"""Prompt plans: which parameters stand in which rows on entering which layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import NAMES, noise_pixels, prompted, tiny_clip, wrap

from drople.errors import SettingsError
from drople.models.prompted_clip import PromptedClip
from drople.models.prompts import PromptPlan
from drople.tokens.layout import PromptStep, TokenLayout
from drople.training.config import METHODS

COUPLED = PromptPlan("coupled", image_count=2, image_depth=3, text_count=2, text_depth=3)
MODULAR = PromptPlan("modular", image_count=1, text_count=1, image_depth=9, text_depth=9)


def image_entering(model):
    """The tokens entering each layer, and the rows that hold prompts there."""
    records = list(model.image_layers(noise_pixels(2)))
    return [(r.entering, r.layout.prompts) for r in records], [r.tokens for r in records]


def text_entering(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    records = list(model.text_layers(ids))
    return [(r.entering, r.layout.prompts) for r in records], [r.tokens for r in records]


def test_image_prompts_stand_last_and_pass_the_first_norm(model):
    entering, _ = image_entering(model)
    tokens, rows = entering[0]
    assert (rows.start, rows.stop, tokens.shape[1]) == (17, 21, 21)
    expected = model.backbone.visual.ln_pre(model.prompts.image[0])
    torch.testing.assert_close(tokens[:, 17:], expected.expand(2, -1, -1))


def test_deep_image_prompts_replace_the_old_ones():
    model = prompted(wrap(tiny_clip()), PromptPlan(image_depth=3))
    entering, leaving = image_entering(model)
    for depth in (1, 2):
        tokens, rows = entering[depth]
        assert torch.equal(tokens[0, rows], model.prompts.image[depth])
        assert torch.equal(tokens[:, : rows.start], leaving[depth - 1][:, : rows.start])
    assert torch.equal(entering[3][0], leaving[2])  # after the last prompted layer all goes on


def test_deep_text_prompts_replace_the_rows_after_sos():
    model = prompted(wrap(tiny_clip()), PromptPlan(text_depth=2))
    entering, leaving = text_entering(model)
    tokens, rows = entering[1]
    assert (rows.start, rows.stop) == (1, 5)
    assert torch.equal(tokens[:, 1:5], model.prompts.text[1].expand(3, -1, -1))
    assert torch.equal(tokens[:, 5:], leaving[0][:, 5:])
    assert torch.equal(entering[2][0], leaving[1])


def test_first_text_prompts_are_written_after_the_positions(model):
    tokens, _ = text_entering(model)[0][0]
    assert torch.equal(tokens[:, 1:5], model.prompts.text[0].expand(3, -1, -1))


def test_positioned_text_prompts_get_the_positional_embedding(backbone):
    model = prompted(backbone, PromptPlan(positioned=True))
    tokens, _ = text_entering(model)[0][0]
    expected = model.prompts.text[0] + backbone.text.positional_embedding[1:5]
    torch.testing.assert_close(tokens[:, 1:5], expected.expand(3, -1, -1))


def test_what_is_not_a_prompt_enters_the_text_tower_as_in_clip(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    text = model.backbone.text
    embedded = text.token_embedding(ids) + text.positional_embedding[: ids.shape[1]]
    tokens, _ = text_entering(model)[0][0]
    assert torch.equal(tokens[:, 5:], embedded[:, 5:])
    assert torch.equal(tokens[:, 0], embedded[:, 0])


@pytest.mark.parametrize("positioned", [False, True])
def test_fresh_text_prompts_read_like_a_photo_of_a(backbone, positioned):
    plan = PromptPlan(text_depth=1, image_count=0, image_depth=0, positioned=positioned)
    model = PromptedClip(backbone, plan)
    words = backbone.encode_text(["a photo of a cat"])
    torch.testing.assert_close(model.encode_text(["cat"]), words, rtol=1e-5, atol=1e-6)


def test_fresh_image_prompts_are_drawn_as_in_the_released_code(backbone):
    values = PromptedClip(backbone, PromptPlan()).prompts.image.detach()
    bound = (4 * 64) ** -0.5  # kaiming_uniform_(a=sqrt 5) over fan-in 4 x 64
    assert values.shape == (4, 4, 64)
    assert 0.95 * bound < float(values.max()) <= bound
    assert -bound <= float(values.min()) < -0.95 * bound


def test_depths_are_capped_at_the_towers(model):
    assert (model.plan.image_depth, model.plan.text_depth) == (4, 4)
    assert len(model.prompts.image_steps()) == len(model.prompts.text_steps()) == 4


def test_coupled_depths_are_capped_together():
    plan = PromptPlan("coupled", image_depth=9, text_depth=9).capped(12, 8)
    assert (plan.image_depth, plan.text_depth) == (8, 8)


def test_coupled_image_prompts_are_linear_images_of_the_text_prompts(backbone):
    model = prompted(backbone, COUPLED)
    for depth, step in enumerate(model.prompts.image_steps()):
        weight, bias = model.prompts.couple[depth].weight, model.prompts.couple[depth].bias
        torch.testing.assert_close(step.inserted, model.prompts.text[depth] @ weight.T + bias)


def test_modular_image_prompts_grow_by_one_a_layer():
    model = prompted(wrap(tiny_clip(vision={"layers": 10}, text={"layers": 9})), MODULAR)
    entering, _ = image_entering(model)
    counts = [rows.stop - rows.start for _, rows in entering]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert [tokens.shape[1] for tokens, _ in entering] == [17 + count for count in counts]


def test_modular_prompts_lose_the_newest_and_carry_the_rest(backbone):
    model = prompted(backbone, MODULAR)
    entering, leaving = image_entering(model)
    fresh = model.prompts.image_steps()[2].inserted  # two prompts
    tokens, _ = entering[2]
    carried = leaving[1][:, : 17 + 2 - 1]  # two stood there, the last goes
    torch.testing.assert_close(tokens, torch.cat([carried, fresh.expand(2, -1, -1)], dim=1))


def test_modular_prompts_are_made_by_a_map_of_their_own(backbone):
    model = prompted(backbone, MODULAR)
    second = model.prompts.image_steps()[1].inserted
    text = model.prompts.text[1]
    expected = [text @ made.weight.T + made.bias for made in model.prompts.add[0]]
    torch.testing.assert_close(second, torch.cat(expected))


@pytest.mark.parametrize("plan", [PromptPlan(), COUPLED, MODULAR], ids=lambda plan: plan.kind)
def test_parameters_hold_no_weight_of_the_clip(backbone, plan):
    model = PromptedClip(backbone, plan, bridge_tokens=8)
    clips = {id(parameter) for parameter in backbone.clip.parameters()}
    assert not clips & {id(parameter) for parameter in model.parameters()}
    parts = {name.split(".")[0] for name in model.state_dict()}
    assert parts == {"prompts", "bridge", "logit_scale"}


def test_drople_learns_as_many_numbers_as_the_released_code():
    vision = {"image_size": 32, "patch_size": 16, "width": 768, "layers": 6, "head_width": 64}
    clip = tiny_clip(vision=vision, text={"width": 512, "heads": 8, "layers": 9})
    model = PromptedClip(wrap(clip), PromptPlan(), bridge_tokens=64)
    prompts = sum(p.numel() for p in model.prompts.parameters())
    assert prompts == 6 * 4 * 768 + 9 * 4 * 512 == 36_864  # METHOD.md 1.5
    # There the joint width is 512; here it is 32, so the bridge is narrower.
    expected = 64 * 32 + (32 * 768 + 32) + (32 * 512 + 32)
    assert sum(p.numel() for p in model.bridge.parameters()) == expected


def test_no_prompts_are_the_frozen_clip(backbone, pixels):
    model = PromptedClip(backbone, PromptPlan(text_count=0, image_count=1, image_depth=0))
    assert torch.equal(model.encode_image(pixels), backbone.encode_image(pixels))
    assert torch.equal(model.encode_text(["a cat"]), backbone.encode_text(["a cat"]))


def test_the_readout_moves_with_prompts_in_front_of_it():
    content = torch.tensor([[True, True, True, False]])
    layout = TokenLayout(torch.tensor([3]), content, content, slice(1, 2))
    step = PromptStep(removed=1, inserted=torch.full((3, 2), 7.0))
    tokens = torch.arange(8.0).view(1, 4, 2)
    assert layout.write_prompts(tokens, step)[0, :, 0].tolist() == [0, 7, 7, 7, 4, 6]
    after = layout.after(step)
    assert (after.readout.tolist(), after.prompts) == ([5], slice(1, 4))
    assert after.content.tolist() == [[True] * 5 + [False]]


def test_modular_prompts_that_would_run_out_are_refused():
    with pytest.raises(SettingsError, match=r"n_rm < n_add \* n_ctx \+ 1, got n_rm=3, n_add=2"):
        PromptPlan("modular", text_count=1, n_add=2, n_rm=3)


def test_modular_prompts_that_would_remove_patches_are_refused():
    with pytest.raises(SettingsError, match=r"n_rm <= n_ctx, got n_rm=3, n_ctx=2.*patches"):
        PromptPlan("modular", text_count=2, n_add=2, n_rm=3)  # 2 prompts, then 4 are added
    assert PromptPlan("modular", text_count=2, n_add=2, n_rm=2).n_rm == 2


@pytest.mark.parametrize("count", [1, 2])
def test_mpls_first_text_prompts_start_from_the_letter_x(backbone, count):
    """trainers/mpl.py: "X" for every prompt, then "a photo of a" as fixed words."""
    plan = replace(METHODS["mpl"].plan, image_count=count, text_count=count)
    model = PromptedClip(backbone, plan)
    (x,) = backbone.tokenise(["X"])[:, 1:-1]
    expected = backbone.text.token_embedding(x)
    torch.testing.assert_close(model.prompts.text[0], expected.expand(count, -1))


def test_maples_first_text_prompts_start_from_a_photo(backbone):
    """trainers/maple.py: the first n_ctx words of "a photo of a"."""
    model = PromptedClip(backbone, METHODS["maple"].plan)
    ids = backbone.tokenise(["a photo"])[0, 1:-1]
    torch.testing.assert_close(model.prompts.text[0], backbone.text.token_embedding(ids))


def test_maples_deeper_maps_start_as_clones_of_one(backbone):
    first, *deeper = PromptedClip(backbone, METHODS["maple"].plan).prompts.couple
    assert len({tuple(one.weight.flatten().tolist()) for one in deeper}) == 1
    assert not torch.equal(first.weight, deeper[0].weight)
    assert len({id(one.weight) for one in deeper}) == len(deeper) == 3  # equal, but not shared


def test_mpls_deeper_maps_start_as_clones_of_one(backbone):
    prompts = PromptedClip(backbone, METHODS["mpl"].plan).prompts
    deeper = [one for maps in prompts.add for one in maps]
    assert len({tuple(one.weight.flatten().tolist()) for one in deeper}) == 1
    assert not torch.equal(prompts.first.weight, deeper[0].weight)
    assert len({id(one.weight) for one in deeper}) == len(deeper) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "shallow"}, r"'shallow'; choose one of \('replace', 'coupled', 'modular'\)"),
        ({"image_depth": -1}, r"plan\.image_depth is -1; it must lie in \[0, 1024\]"),
        ({"image_count": 0, "text_count": 0}, "Neither tower has prompts"),
        ({"text_depth": 0}, "Text prompts need a text_depth of at least 1, got 0"),
        ({"phrase": "a photo"}, r"'a photo' has no \{\} for the class name"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        PromptPlan(**changes)
