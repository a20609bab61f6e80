"""Draws of two dropouts, against the analysis of each seed; with and without prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, ask, mean_p, tiny
from tiny import NAMES, noise_picture, prompted

from drople.analysis import AnalysisSettings, analyse
from drople.branches import ADAPTED, FROZEN
from drople.class_texts import describe_classes
from drople.errors import SettingsError
from drople.models.prompts import PromptPlan
from drople.paired_draws import DrawBatch, first_draw, run_paired, would_drop
from drople.tokens.dropout import DROP_MODES, DropoutSettings

PAIR = ("iwtd", "vanilla")
PIXELS = tiny().pixels(noise_picture())


def draw(model=None, settings=None, *, pair=PAIR, seeds=range(6), **others) -> list[DrawBatch]:
    model = model or prompted(tiny())
    texts = describe_classes(model, NAMES)
    return [
        *run_paired(
            model,
            PIXELS,
            texts,
            settings=settings or AnalysisSettings(),
            pair=pair,
            seeds=seeds,
            **others,
        )
    ]


def assert_same(one: DrawBatch, other: DrawBatch) -> None:
    assert one.seeds == other.seeds
    for name in one.pair:
        np.testing.assert_array_equal(one.dropped[name], other.dropped[name])
        np.testing.assert_array_equal(one.eligible[name], other.eligible[name])
        for field in ("probability", "cosines", "maps"):
            a, b = getattr(one, field)[name], getattr(other, field)[name]
            np.testing.assert_allclose(a, b, atol=2e-6, err_msg=field)


@pytest.mark.parametrize("mode", DROP_MODES)
@pytest.mark.parametrize("depth", [2, 4])
def test_every_draw_is_the_analysis_with_its_seed(mode, depth):
    settings = AnalysisSettings(dropout=DropoutSettings(mode=mode, image_depth=depth))
    batches = draw(None, settings, seeds=(3, 8, 1), map_classes=range(3))
    for i, seed in enumerate((3, 8, 1)):
        asked = replace(settings, seed=seed)
        alone = first_draw(analyse(prompted(tiny()), noise_picture(), NAMES, asked), PAIR)
        (batch,) = batches
        row = DrawBatch(
            PAIR, (seed,),
            *({n: part[n][i : i + 1] for n in PAIR}
              for part in (batch.dropped, batch.eligible, batch.probability, batch.cosines)),
            batch.logit_scale, {n: batch.maps[n][i : i + 1] for n in PAIR},
        )  # fmt: skip
        assert_same(row, alone)


def test_the_batch_size_changes_nothing(monkeypatch):
    together = draw(map_classes=range(2))
    monkeypatch.setattr("drople.paired_draws.BATCH", 1)
    alone = draw(map_classes=range(2))
    assert [len(one.seeds) for one in together] == [4, 2]
    assert len(alone) == 6
    for name in PAIR:
        joined = np.concatenate([one.dropped[name] for one in together])
        np.testing.assert_array_equal(joined, np.concatenate([one.dropped[name] for one in alone]))


def test_the_first_draws_have_maps_and_the_others_none():
    batches = draw(map_classes=[1], maps_for=5)
    assert [(len(one.seeds), one.maps is not None) for one in batches] == [
        (4, True), (1, True), (1, False)]  # fmt: skip
    side = tiny().grid_size
    assert batches[0].maps["iwtd"].shape == (4, 1, side, side)


def test_vanilla_takes_the_rate_of_its_own_draws_iwtd():
    settings = AnalysisSettings(dropout=DropoutSettings(mode="hide"))
    for batch in draw(None, settings):
        # What `hide` leaves differs from draw to draw, and so does IWTD's mean p.
        iwtd = np.nanmean(batch.probability["iwtd"], axis=2)
        np.testing.assert_allclose(
            np.nanmean(batch.probability["vanilla"], axis=2), iwtd, atol=1e-6
        )
    assert np.ptp(iwtd[:, 1]) > 1e-4


def test_both_of_a_draw_compare_one_random_number():
    for batch in draw(pair=("vanilla", "inverse")):
        a, b = (batch.probability[name][:, 0] for name in batch.pair)
        dropped = [batch.dropped[name][:, 0] for name in batch.pair]
        assert not (dropped[0] & ~dropped[1] & (a <= b)).any()
        assert not (dropped[1] & ~dropped[0] & (b <= a)).any()


def test_a_pair_without_iwtd_has_the_firsts_rate():
    (batch,) = draw(pair=("cls", "vanilla"), seeds=[0])
    rates = [np.nanmean(batch.probability[name], axis=2) for name in batch.pair]
    np.testing.assert_allclose(*rates, atol=1e-6)
    (alone,) = draw(pair=("none", "cls"), seeds=[0])
    assert not alone.dropped["none"].any()
    np.testing.assert_allclose(alone.probability["cls"], batch.probability["cls"], atol=1e-6)


def test_without_prompts_the_frozen_branch_drops():
    batches = draw(tiny(), map_classes=range(3))
    patches = tiny().grid_size ** 2
    assert batches[0].dropped["iwtd"].shape == (4, 4, patches)
    assert batches[0].dropped["iwtd"].any()
    plain = analyse(tiny(), noise_picture(), NAMES).predictions[FROZEN]
    assert not np.allclose(batches[0].cosines["iwtd"], plain.cosines)
    nothing = draw(tiny(), pair=("none", "vanilla"), seeds=[0])
    np.testing.assert_allclose(nothing[0].cosines["none"][0], plain.cosines, atol=1e-6)


def test_two_alike_or_an_unknown_one_are_refused():
    with pytest.raises(SettingsError, match="choose two that differ"):
        draw(pair=("iwtd", "iwtd"))
    with pytest.raises(SettingsError, match="strategy is 'half'"):
        draw(pair=("iwtd", "half"))


@pytest.mark.parametrize("depth", [0, 4])
@pytest.mark.parametrize("kind", ["modular", "replace"])
def test_layers_of_different_lengths_are_filled_up(kind, depth):
    settings = AnalysisSettings(dropout=DropoutSettings(image_depth=depth))
    (batch,) = draw(prompted(tiny(), PromptPlan(kind=kind)), settings, seeds=[0, 1])
    for name in PAIR:
        assert batch.dropped[name].shape == batch.probability[name].shape
        assert batch.dropped[name].shape[:2] == (2, depth)
        assert np.isfinite(batch.probability[name][batch.eligible[name]]).all()
        assert not batch.dropped[name][~batch.eligible[name]].any()


def test_text_prompts_drop_too_where_the_settings_say_so():
    with_text = draw(None, AnalysisSettings(drop_text=True), seeds=[0])[0]
    without = draw(seeds=[0])[0]
    np.testing.assert_array_equal(with_text.dropped["iwtd"], without.dropped["iwtd"])
    assert not np.allclose(with_text.cosines["iwtd"], without.cosines["iwtd"])


def test_an_analysis_without_the_pair_holds_no_draw_of_it():
    assert first_draw(analysed("frozen only"), PAIR) is None
    assert first_draw(analysed(), ("iwtd", "cls")) is None
    assert first_draw(analysed("three dropouts"), ("inverse", "vanilla")) is None  # IWTD's rate
    assert first_draw(analysed("three dropouts"), ("iwtd", "inverse")) is not None


def test_what_would_be_dropped_is_what_the_trace_says():
    analysis = ask()
    for layer in analysis.images[ADAPTED].layers:
        p = would_drop(layer, analysis.settings, PAIR)
        np.testing.assert_allclose(
            p["iwtd"][layer.eligible[0]], layer.probability[0][layer.eligible[0]], atol=1e-6
        )
        assert np.isnan(p["iwtd"][~layer.eligible[0]]).all()
        assert np.nanmean(p["vanilla"]) == pytest.approx(mean_p(layer), abs=1e-6)
        assert np.ptp(p["vanilla"][layer.eligible[0]]) < 1e-6
