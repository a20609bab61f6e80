"""Dropout: which tokens are dropped, and what its settings may be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from planted import DEPTH, acting, evidence, image_features, image_records
from tiny import NAMES

from drople import DROP_MODES, STRATEGIES, DropoutSettings
from drople.errors import SettingsError
from drople.models.towers import last, text_features
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import PLACEMENTS, TokenDropout
from drople.tokens.strategies import ImportanceWeighted, SideBySide, Vanilla

MODES = pytest.mark.parametrize("mode", DROP_MODES)
PLACED = pytest.mark.parametrize("placement", PLACEMENTS)


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
        ({"sigma": -1.0}, r"sigma is -1\.0; it must lie in \[0, 1000000\]"),
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
    plain = text_features(model.backbone.text, last(model.text_layers(ids)))
    dropped = text_features(model.backbone.text, last(model.text_layers(ids, dropout=dropout)))
    assert not torch.allclose(plain, dropped, atol=1e-5)
