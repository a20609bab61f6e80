"""Dropout: which tokens are dropped, and what a drop does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from planted import evidence
from tiny import NAMES, noise_pixels, prompted, tiny_clip, wrap

from drople import DROP_MODES, STRATEGIES, DropoutSettings
from drople.draws import SeededDraws
from drople.dropout import OFFICIAL_CODE, PLACEMENTS, TokenDrop, TokenDropout
from drople.errors import SettingsError
from drople.importance import SignalWeights
from drople.models.prompts import PromptPlan
from drople.models.towers import last, read_image, read_text
from drople.strategies import ImportanceWeighted, Nothing, SideBySide, Vanilla

DEPTH = 3  # of the tower's four layers
MODES = pytest.mark.parametrize("mode", DROP_MODES)
PLACED = pytest.mark.parametrize("placement", PLACEMENTS)


def acting(strategy, mode="zero", placement="next", *, seed=0, rows=3, depth=DEPTH, sigma=0.03):
    draws = SeededDraws([seed] * rows, "image")
    return TokenDropout(strategy, draws, depth, mode, placement, sigma)


def image_records(model, dropout=None, **changes):
    return list(model.image_layers(noise_pixels(), score=True, dropout=dropout, **changes))


def image_features(model, dropout):
    return read_image(model.backbone.visual, image_records(model, dropout)[-1])


# --- which tokens ---------------------------------------------------------------------------


@MODES
@PLACED
def test_zero_probability_changes_nothing(model, mode, placement):
    dropout = acting(Vanilla(0.0), mode, placement)
    assert torch.equal(image_features(model, dropout), image_features(model, None))


@MODES
@PLACED
def test_zero_probability_changes_nothing_in_text(model, mode, placement):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    dropout = acting(Vanilla(0.0), mode, placement)
    plain = last(model.text_layers(ids))
    run = last(model.text_layers(ids, dropout=dropout, drop_sos=True))
    assert torch.equal(run.tokens, plain.tokens)


@PLACED
def test_a_drop_is_felt_in_every_mode(model, placement):
    plain = image_features(model, None)
    for mode in DROP_MODES:
        features = image_features(model, acting(Vanilla(0.5), mode, placement))
        assert torch.isfinite(features).all()
        assert not torch.allclose(features, plain, atol=1e-6)


def test_a_token_is_dropped_where_the_draw_is_below_its_probability(model):
    for record in image_records(model, acting(ImportanceWeighted()))[:DEPTH]:
        drop = record.drop
        assert torch.equal(drop.dropped, drop.uniform < drop.probability)
        assert not drop.probability.masked_fill(record.layout.droppable, 0).any()


@dataclass(frozen=True)
class Lowest:
    """Draws of nothing but zero, the lowest u there is."""

    def uniform(self, depth, shape):
        return torch.zeros(shape)


def test_the_lowest_draw_spares_what_is_dropped_with_probability_zero():
    seen = evidence([0.2, 0.8], eligible=torch.tensor([[True, False]]))
    for p, expected in ((0.0, [False, False]), (0.01, [True, False])):
        drop = TokenDropout(Vanilla(p), Lowest(), depth=1).draw(seen)
        assert drop.dropped[0].tolist() == expected


def test_dropout_acts_after_its_first_layers_only(model):
    records = image_records(model, acting(Vanilla(1.0), depth=2))
    assert [record.drop is not None for record in records] == [True, True, False, False]


def test_patches_and_prompts_are_dropped_but_never_cls(model):
    for record in image_records(model, acting(Vanilla(1.0)))[:DEPTH]:
        assert record.drop.dropped[0].tolist() == [False] + [True] * 20


@pytest.mark.parametrize("drop_sos", [False, True])
def test_only_text_prompts_are_dropped_and_sos_on_request(model, drop_sos):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    records = model.text_layers(ids, dropout=acting(Vanilla(1.0)), drop_sos=drop_sos)
    expected = [drop_sos] + [True] * 4 + [False] * (ids.shape[1] - 5)
    for record in list(records)[:DEPTH]:
        assert record.drop.dropped.tolist() == [expected] * 3


def test_the_frozen_text_has_nothing_to_drop(backbone):
    ids = backbone.tokenise(["a photo of a cat."])
    records = list(backbone.text_layers(ids, dropout=acting(Vanilla(1.0), rows=1)))
    assert not any(record.drop.dropped.any() for record in records[:DEPTH])


@MODES
def test_equal_probability_means_equal_masks(model, mode):
    """Two strategies that agree on p for a token agree on the token, whatever else they do."""
    first = image_records(model, acting(Vanilla(0.3), mode))[0].drop
    second = image_records(model, acting(ImportanceWeighted(0.3, 0.3), "zero"))[0].drop
    torch.testing.assert_close(first.probability, second.probability)
    assert torch.equal(first.dropped, second.dropped)
    assert first.dropped.any()


@MODES
def test_the_mode_changes_no_draw(model, mode):
    expected = [r.drop.uniform for r in image_records(model, acting(Vanilla(0.5)))[:DEPTH]]
    run = image_records(model, acting(Vanilla(0.5), mode))[:DEPTH]
    assert all(torch.equal(r.drop.uniform, u) for r, u in zip(run, expected, strict=True))


def test_a_seed_fixes_the_drops_and_another_changes_them(model):
    once, again, other = (
        image_records(model, acting(Vanilla(0.5), seed=seed))[0].drop.dropped for seed in (3, 3, 4)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_strategy_that_needs_importance_says_so(model, pixels):
    with pytest.raises(ValueError, match="run the layers with score=True"):
        list(model.image_layers(pixels, dropout=acting(ImportanceWeighted())))


def test_a_higher_rate_drops_all_that_a_lower_rate_drops(model):
    few, many = (image_records(model, acting(Vanilla(p)))[0].drop.dropped for p in (0.2, 0.6))
    assert not (few & ~many).any()


def test_scores_and_draws_keep_full_precision_under_autocast(model):
    with torch.autocast("cpu", torch.bfloat16):
        record = image_records(model, acting(ImportanceWeighted()))[0]
    assert record.attention.dtype == torch.bfloat16
    for values in (record.importance.blend(), record.drop.probability, record.drop.uniform):
        assert values.dtype == torch.float32


# --- what a drop does ------------------------------------------------------------------------


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
        acting(Nothing(), "zero", placement, rows=2).erase(tokens, None, drop, 0)[0]
        for placement in PLACEMENTS
    ]
    assert torch.equal(*results)
    assert not results[0][gone].any()


def test_scaled_zero_divides_by_the_share_that_stays():
    p = torch.tensor([[0.0, 0.5, 0.2, 1.0]])
    drop = TokenDrop(p, torch.tensor([[0.5, 0.1, 0.9, 0.9]]), torch.tensor([[0, 1, 0, 1]]).bool())
    dropout = acting(Nothing(), "zero_scaled", rows=1)
    tokens, hidden = dropout.erase(torch.ones(1, 4, 2), None, drop, 0)
    torch.testing.assert_close(tokens[0, :, 0], torch.tensor([1.0, 0.0, 1.25, 0.0]))
    assert hidden is None


def test_scaled_zero_keeps_the_mean_of_a_token():
    p = torch.full((1, 20_000), 0.3)
    draws = SeededDraws([0], "image")
    u = draws.uniform(0, (1, 20_000))
    dropout = TokenDropout(Vanilla(0.3), draws, 1, "zero_scaled")
    tokens, _ = dropout.erase(torch.ones(1, 20_000, 1), None, TokenDrop(p, u, u < p), 0)
    assert float(tokens.mean()) == pytest.approx(1, abs=0.02)  # four standard errors


def test_noise_multiplies_dropped_tokens_by_one_plus_sigma_epsilon():
    tokens = torch.randn(1, 200, 64, generator=torch.Generator().manual_seed(0)) + 3
    gone = torch.arange(200)[None] % 2 == 0
    drop = TokenDrop(gone.float(), torch.zeros(1, 200), gone)
    noised, _ = acting(Nothing(), "noise", rows=1, sigma=0.03).erase(tokens, None, drop, 0)
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


# --- settings ---------------------------------------------------------------------------------


def test_a_dropout_is_what_its_settings_say():
    chosen = DropoutSettings(strategy="vanilla", mode="hide", placement="post", p=0.2, sigma=0.1)
    dropout = TokenDropout.of(chosen, SeededDraws([0], "image"), depth=5)
    assert dropout.strategy == Vanilla(0.2)
    assert (dropout.mode, dropout.placement) == ("hide", "post")
    assert (dropout.sigma, dropout.depth) == (0.1, 5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_gives_probabilities(model, name):
    dropout = TokenDropout.of(
        DropoutSettings(strategy=name), SeededDraws([0] * 3, "image"), depth=DEPTH
    )
    for record in image_records(model, dropout)[:DEPTH]:
        p = record.drop.probability
        assert p.shape == (3, 21)
        assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": 1.5}, r"p is 1\.5; it must lie in \[0, 1\]"),
        ({"p_min": -0.1}, r"p_min is -0\.1; it must lie in \[0, 1\]"),
        ({"p_max": float("nan")}, r"p_max is nan; it must lie in \[0, 1\]"),
        ({"p_min": 0.6, "p_max": 0.5}, r"p_min \(0\.6\) is above p_max \(0\.5\); swap them"),
        ({"strategy": "random"}, "strategy is 'random'; choose one of none, vanilla, "),
        ({"mode": "mask"}, "mode is 'mask'; choose one of zero, zero_scaled, hide, noise"),
        ({"placement": "before"}, "placement is 'before'; choose one of next, post"),
        ({"normalisation": "z"}, "normalisation is 'z'; choose one of minmax"),
        ({"sigma": -1.0}, r"sigma is -1\.0; it must be at least 0"),
        ({"weights": SignalWeights(-1, 1, 1)}, r"at least 0, got SignalWeights\(s_self=-1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        DropoutSettings(**changes)


def test_side_by_side_reads_each_row_on_its_own():
    rows = SideBySide((Vanilla(0.2), ImportanceWeighted(0, 1)), {})
    p = rows.probability(evidence([[0.9, 0.1], [0.9, 0.1]]))
    torch.testing.assert_close(p, torch.tensor([[0.2, 0.2], [0.0, 1.0]]))


def test_text_features_feel_a_dropped_prompt(model):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    dropout = replace(acting(Vanilla(1.0)), draws=SeededDraws([0] * 3, "text", NAMES))
    plain = read_text(model.backbone.text, last(model.text_layers(ids)))
    dropped = read_text(model.backbone.text, last(model.text_layers(ids, dropout=dropout)))
    assert not torch.allclose(plain, dropped, atol=1e-5)
