"""What becomes of a dropped token: zero, scaled zero, noise, hiding, and when they act."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from planted import DEPTH, acting, image_records
from tiny import prompted, tiny_clip, wrap

from drople.errors import SettingsError
from drople.models.prompts import PromptPlan
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import DROP_MODES, OFFICIAL_CODE, PLACEMENTS, TokenDrop, TokenDropout
from drople.tokens.strategies import NoDropout, Vanilla

PLACED = pytest.mark.parametrize("placement", PLACEMENTS)


def test_zero_removes_the_tokens_on_entering_the_next_layer(model):
    first, second = image_records(model, acting(Vanilla(0.5)))[:2]
    gone = first.drop.dropped
    assert not second.entering[gone].any()
    kept = torch.cat([first.tokens[:, :17], model.prompts.image[1].expand(3, -1, -1)], dim=1)
    assert torch.equal(second.entering[~gone], kept[~gone])


def test_a_decision_on_a_replaced_prompt_falls_on_the_fresh_one(model):
    first, second = image_records(model, acting(Vanilla(0.5)))[:2]
    gone = first.drop.dropped[:, 17:]
    assert gone.any()
    assert not gone.all()
    assert torch.equal((second.entering[:, 17:] == 0).all(dim=-1), gone)


def test_a_drop_right_after_the_layer_spares_fresh_prompts(model):
    first, second = image_records(model, acting(Vanilla(1.0), placement="post"))[:2]
    assert not second.entering[:, 1:17].any()
    assert torch.equal(second.entering[:, 17:], model.prompts.image[1].expand(3, -1, -1))
    assert torch.equal(second.entering[:, 0], first.tokens[:, 0])


def test_placements_agree_on_the_last_prompted_layer():
    """Where no fresh prompts come, it does not matter when the drop is carried out."""
    torch.manual_seed(0)
    tokens = torch.randn(2, 5, 3)
    gone = torch.tensor([[False, True, False, True, False]] * 2)
    drop = TokenDrop(gone.float(), 1 - gone.float(), gone)
    results = [
        acting(NoDropout(), "zero", placement, rows=2).erase(tokens, None, drop, depth=0)[0]
        for placement in PLACEMENTS
    ]
    assert torch.equal(*results)
    assert not results[0][gone].any()


def test_scaled_zero_divides_by_the_share_that_stays():
    p = torch.tensor([[0.0, 0.5, 0.2, 1.0]])
    drop = TokenDrop(p, torch.tensor([[0.5, 0.1, 0.9, 0.9]]), torch.tensor([[0, 1, 0, 1]]).bool())
    dropout = acting(NoDropout(), "zero_scaled", rows=1)
    tokens, hidden = dropout.erase(torch.ones(1, 4, 2), None, drop, depth=0)
    torch.testing.assert_close(tokens[0, :, 0], torch.tensor([1.0, 0.0, 1.25, 0.0]))
    assert hidden is None


def test_scaled_zero_keeps_the_mean_of_a_token():
    p = torch.full((1, 20_000), 0.3)
    draws = SeededDraws([0], "image")
    u = draws.uniform(0, (1, 20_000))
    dropout = TokenDropout(Vanilla(0.3), draws, 1, "zero_scaled")
    tokens, _ = dropout.erase(torch.ones(1, 20_000, 1), None, TokenDrop(p, u, u < p), depth=0)
    assert float(tokens.mean()) == pytest.approx(1, abs=0.02)  # four standard errors


def test_noise_multiplies_dropped_tokens_by_one_plus_sigma_epsilon():
    tokens = torch.randn(1, 200, 64, generator=torch.Generator().manual_seed(0)) + 3
    gone = torch.arange(200)[None] % 2 == 0
    drop = TokenDrop(gone.float(), torch.zeros(1, 200), gone)
    noised, _ = acting(NoDropout(), "noise", rows=1, sigma=0.03).erase(tokens, None, drop, depth=0)
    factors = noised / tokens
    assert torch.equal(noised[~gone], tokens[~gone])
    assert float(factors[gone].mean()) == pytest.approx(1, abs=2e-3)
    assert float(factors[gone].std()) == pytest.approx(0.03, abs=2e-3)


def test_the_official_preset_is_what_the_released_code_does():
    preset = (OFFICIAL_CODE.strategy, OFFICIAL_CODE.p_min, OFFICIAL_CODE.p_max)
    assert preset == ("iwtd", 0.1, 0.5)
    assert (OFFICIAL_CODE.mode, OFFICIAL_CODE.sigma) == ("noise", 0.03)
    assert (OFFICIAL_CODE.placement, OFFICIAL_CODE.drop_sos) == ("post", True)


@PLACED
def test_no_other_token_attends_to_a_hidden_one_ever_after(placement):
    model = prompted(wrap(tiny_clip()), PromptPlan(image_depth=1))  # the prompts stay the same
    records = image_records(model, acting(Vanilla(0.4), "hide", placement))
    gone = torch.zeros(3, 21, dtype=torch.bool)
    for before, record in pairwise(records):
        gone |= before.drop.dropped
        seen = record.attention.masked_fill(torch.eye(21, dtype=torch.bool), 0)
        assert not seen.masked_select(gone[:, None, None, :].expand_as(seen)).any()
    assert gone.any()


def test_attention_rows_sum_to_one_where_tokens_are_hidden(model):
    for record in image_records(model, acting(Vanilla(0.5), "hide")):
        sums = record.attention.sum(dim=-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_hidden_token_still_attends_to_itself(model):
    records = image_records(model, acting(Vanilla(1.0), "hide"))
    own = records[1].attention.diagonal(dim1=-2, dim2=-1)[..., 1:17]
    assert (own > 0).all()


def test_hiding_all_but_cls_leaves_cls_alone(model):
    attention = image_records(model, acting(Vanilla(1.0), "hide"))[1].attention
    torch.testing.assert_close(attention[:, :, 0, 0], torch.ones(3, 4))


def test_a_hidden_patch_is_not_dropped_twice(model):
    records = image_records(model, acting(Vanilla(0.5), "hide"))[:DEPTH]
    first, second, third = (record.drop.dropped[:, 1:17] for record in records)
    assert not (first & second).any()
    assert not ((first | second) & third).any()
    assert not records[1].drop.probability[:, 1:17][first].any()


def test_a_fresh_prompt_is_hidden_only_by_the_decision_it_inherits(model):
    records = image_records(model, acting(Vanilla(0.5), "hide"))
    for before, record in pairwise(records[:DEPTH]):
        assert torch.equal(record.hidden[:, 17:], before.drop.dropped[:, 17:])


def test_a_fresh_prompt_is_unhidden_where_drops_act_right_after_the_layer(model):
    records = image_records(model, acting(Vanilla(1.0), "hide", "post"))
    for record in records[1:DEPTH]:
        assert record.hidden[:, 1:17].all()
        assert not record.hidden[:, 17:].any()


def test_modular_prompts_carry_their_hiding_on():
    plan = PromptPlan("modular", image_count=1, text_count=1, image_depth=4, text_depth=4)
    model = prompted(wrap(tiny_clip()), plan)
    records = image_records(model, acting(Vanilla(0.6), "hide"))
    first, second = records[1], records[2]
    # Two prompts stood in the second layer; the older is carried and keeps what it was.
    carried = first.hidden[:, 17] | first.drop.dropped[:, 17]
    assert torch.equal(second.hidden[:, 17], carried)
    # The newest goes; the first fresh one inherits its decision, the second has none.
    assert torch.equal(second.hidden[:, 18], first.drop.dropped[:, 18])
    assert not second.hidden[:, 19].any()


def test_every_mode_says_in_one_sentence_what_it_does():
    assert all(mode.description.count(".") == 1 for mode in DROP_MODES.values())


def test_an_unknown_mode_is_an_error():
    with pytest.raises(SettingsError, match="mode is 'mask'; choose one of zero, zero_scaled"):
        acting(Vanilla(0.5), "mask")
