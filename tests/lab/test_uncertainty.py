"""Many draws: intervals against published and exact values, draws against single analyses."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from analysed import analysed, tiny
from scipy.stats import t
from tiny import NAMES, noise_picture, prompted

from app.lab import uncertainty as tab
from app.lab.display.uncertainty import CAM, KEPT, draws_sentence, draws_sheet, draws_table
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.lab.uncertainty import MINIMUM, Moments, narrow_enough, run_draws
from drople.statistics.intervals import mean_interval, wilson_interval
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings

MODEL = prompted(tiny())


def drawn(settings=None, *, most=16, width=0.0, classes=NAMES):
    """The last statistics of a run of draws on the tiny model, and all before."""
    settings = settings or AnalysisSettings()
    texts = describe_classes(MODEL, classes)
    pixels = MODEL.backbone.pixels(noise_picture())
    return list(
        run_draws(
            MODEL, pixels, texts, settings=settings, target=0, plain=1, most=most, width=width
        )
    )


# --- intervals ---


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilsons_interval_is_the_published_one(hits, count, low, high):
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    np.testing.assert_allclose(wilson_interval(hits, count), (low, high), atol=5e-5)


def test_without_a_draw_a_rate_may_be_anything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_the_interval_of_a_mean_is_scipys():
    values = np.array([0.2, 0.5, 0.4, 0.9, 0.1])
    error = values.std(ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(mean_interval(values), t.interval(0.95, 4, values.mean(), error))
    assert mean_interval(values[:1]) is None


def coverage(rate: float, width: float, most: int, stops: Callable[..., bool]) -> float:
    """The exact chance that the interval reported at the end holds the rate.

    Worked out over all numbers of hits, with the rule asked after 1, 9, 16, 24, ... draws.
    """
    still, covered = {0: 1.0}, 0.0
    sizes = [1, 8, 7, *[8] * ((most - 16) // 8)]
    count = 0
    for size in sizes:
        count += size
        chances = [1.0]
        for _ in range(size):
            chances = [
                (chances[i] if i < len(chances) else 0) * (1 - rate)
                + (chances[i - 1] if i else 0) * rate
                for i in range(len(chances) + 1)
            ]
        after: dict[int, float] = {}
        for hits, chance in still.items():
            for more, share in enumerate(chances):
                after[hits + more] = after.get(hits + more, 0) + chance * share
        still = {}
        for hits, chance in after.items():
            if count == most or stops(hits, count, width):
                low, high = wilson_interval(hits, count)
                covered += chance * (low <= rate <= high)
            else:
                still[hits] = chance
    return covered


def test_stopping_early_costs_the_interval_little_of_its_coverage():
    rates = np.linspace(0.02, 0.98, 49)
    found = [coverage(rate, 0.2, 128, narrow_enough) for rate in rates]
    assert np.mean(found) > 0.94
    assert min(found) > 0.83  # near 0 and 1, where Wilson's own is no better


def test_the_rule_never_stops_before_its_minimum():
    assert not narrow_enough(0, MINIMUM - 1, 0.9)
    assert narrow_enough(0, MINIMUM, 0.2)
    assert not narrow_enough(8, MINIMUM, 0.2)


# --- running maps ---


def test_running_moments_are_numpys():
    values = np.random.default_rng(0).normal(size=(9, 3, 3))
    values[2, 0, 0] = values[5, 0, 0] = np.nan
    found = Moments.none((3, 3))
    for one in values:
        found = found.add(one)
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(found.sd, np.nanstd(values, axis=0, ddof=1))
    assert found.count[0, 0] == 7


def test_a_patch_without_any_value_has_no_mean():
    found = Moments.none((1, 2)).add(np.array([[np.nan, 1.0]]))
    assert np.isnan(found.mean[0, 0]) and found.mean[0, 1] == 1.0
    assert np.isnan(found.sd).all()


# --- draws ---


# Settings in which a draw could go its own way.
KINDS = [
    AnalysisSettings(seed=3),
    AnalysisSettings(matched=False, dropout=DropoutSettings(mode="hide")),
    AnalysisSettings(strategies=("vanilla", "iwtd", "inverse")),
    AnalysisSettings(dropout=OFFICIAL_CODE, drop_text=True),
]


@pytest.mark.parametrize("settings", KINDS, ids=["seed", "hide", "three", "official"])
def test_draws_in_batches_are_single_draws(settings):
    found = drawn(settings, most=9)[-1]
    maps: dict[str, list[np.ndarray]] = {name: [] for name in found}
    for i in range(9):
        asked = {**vars(settings), "seed": settings.seed + i}
        one = analyse(MODEL, noise_picture(), NAMES, AnalysisSettings(**asked))
        for name, many in found.items():
            said = one.predictions[name]
            assert many.probabilities[i] == pytest.approx(said.probabilities[0], abs=1e-5)
            assert many.answers[i] == said.cosines.argmax()
            gone = one.maps.unavailable[name]
            maps[name].append(np.where(gone, np.nan, one.maps.values[name][0]))
    for name, many in found.items():
        with warnings.catch_warnings():
            # A patch may be hidden in every draw; its mean is no number in both.
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = np.nanmean(maps[name], axis=0)
        np.testing.assert_allclose(many.cam.mean, expected, atol=1e-5)


def test_the_same_seeds_give_the_same_numbers():
    first, again = drawn()[-1], drawn()[-1]
    for name, one in first.items():
        np.testing.assert_array_equal(one.probabilities, again[name].probabilities)
        np.testing.assert_array_equal(one.cam.mean, again[name].cam.mean)


def test_the_first_draw_comes_alone_and_the_rest_in_batches():
    counts = [found["iwtd"].count for found in drawn(most=32)]
    assert counts == [1, 9, 16, 24, 32]


def test_it_stops_early_once_every_interval_is_narrow():
    even = AnalysisSettings(dropout=DropoutSettings(p_min=0, p_max=0))  # no draw can differ
    assert [found["iwtd"].count for found in drawn(even, most=64, width=0.25)] == [1, 9, 16]


def test_without_dropout_every_patch_is_kept_and_nothing_varies():
    found = drawn(AnalysisSettings(dropout=DropoutSettings(p_min=0, p_max=0)))[-1]["iwtd"]
    assert (found.kept.mean == 1).all()
    np.testing.assert_allclose(found.cam.sd, 0, atol=1e-6)
    assert found.probabilities.std() < 1e-6


def test_what_is_kept_is_one_less_p_on_average():
    settings = AnalysisSettings(dropout=DropoutSettings(p_min=0.3, p_max=0.3))
    found = drawn(settings, most=128)[-1]["iwtd"]
    assert found.kept.mean.mean() == pytest.approx(0.7, abs=0.02)


# --- words and pictures ---


def test_one_draw_is_called_one_draw():
    first, *_, last = drawn()
    one = draws_sentence(first, NAMES, 0, first_seed=5)
    assert one.startswith("One draw (seed 5)")
    assert "16 draws (seeds 5 to 20)" in draws_sentence(last, NAMES, 0, first_seed=5)
    assert all(len(row[3]) == len(row[7]) == 1 for row in draws_table(first)["data"])  # a dash


@pytest.mark.parametrize("what", [CAM, KEPT])
def test_the_sheet_has_a_column_a_dropout(what):
    for found in (drawn()[0], drawn()[-1]):
        assert draws_sheet(analysed(), found, what).pixels.shape[1] == 2 * 300 + 8


def test_draws_are_drawn():
    sheet, bars, _, table = tab.draw(analysed(), 0, drawn()[-1], CAM)
    assert sheet.value is not None and bars and table["data"]
