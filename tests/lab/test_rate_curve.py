"""Rate curves: rates that are reached, draws that are shared, areas and bands by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysed import analysed, ask, tiny
from scipy.stats import t
from tiny import NAMES, noise_picture, prompted

from app.lab import rate_curve as tab
from app.lab.display.rate_curve import (
    QUANTITIES,
    areas_table,
    bounded,
    difference_figure,
    points_table,
    rates_figure,
    rates_sentence,
)
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.lab.rate_curve import NONE, RATES, AtRate, Point, RateCurves, run_rates
from drople.tokens.dropout import COMPARED, DROP_MODES, DropoutSettings
from drople.tokens.strategies import Evidence, Vanilla

MODEL = prompted(tiny())


def steps(settings=None, *, draws=3, model=MODEL):
    """All steps of a run on the tiny model."""
    settings = settings or AnalysisSettings(seed=4)
    texts = describe_classes(model, NAMES)
    pixels = model.backbone.pixels(noise_picture())
    return [*run_rates(model, pixels, texts, settings=settings, target=0, draws=draws)]


@pytest.fixture(scope="module")
def curves():
    """Three draws."""
    return steps()[-1][1]


class Given:
    """A strategy with p given in the test."""

    def __init__(self, p):
        self.p = torch.tensor([p])

    def probability(self, evidence):
        return self.p


@pytest.mark.parametrize("rate", RATES)
def test_shifted_p_have_the_rate_as_their_mean_and_keep_their_order(rate):
    p = [0.1, 0.5, 0.2, 0.45, 0.3]
    eligible = torch.tensor([[True, True, True, True, False]])
    found = AtRate(Given(p), rate).probability(Evidence(0, None, eligible, eligible))[0, :4]
    assert float(found.mean()) == pytest.approx(rate, abs=1e-6)
    assert (found >= 0).all() and (found <= 1).all()
    assert (found[torch.tensor([0, 2, 3, 1])].diff() >= 0).all()


def test_vanilla_at_a_rate_is_that_p_for_all():
    eligible = torch.ones(2, 6, dtype=torch.bool)
    found = AtRate(Vanilla(0.3), 0.75).probability(Evidence(0, None, eligible, eligible))
    torch.testing.assert_close(found, torch.full((2, 6), 0.75))


def test_rate_zero_and_no_dropout_are_the_adapted_answer(curves):
    said = ask(seed=4).predictions["adapted"]
    for key in [(NONE, 0.9), *((name, 0.0) for name in COMPARED)]:
        point = curves.points[key]
        np.testing.assert_allclose(point.probability, said.probabilities[0], atol=1e-5)
        np.testing.assert_allclose(point.cosine, said.cosines[0], atol=1e-5)
        np.testing.assert_allclose(point.kept, 1, atol=1e-5)
        assert not point.flipped.any() and not point.reached.any()


def test_a_point_is_the_analysis_with_that_p(curves):
    for i in range(3):
        settings = AnalysisSettings(
            seed=4 + i, matched=False, dropout=DropoutSettings(p=0.6), strategies=("vanilla",)
        )
        one = analyse(MODEL, noise_picture(), NAMES, settings)
        said, point = one.predictions["vanilla"], curves.points["vanilla", 0.6]
        assert point.probability[i] == pytest.approx(said.probabilities[0], abs=1e-5)
        flips = said.cosines.argmax() != one.predictions["adapted"].cosines.argmax()
        assert point.flipped[i] == flips
        features = [one.images[c].features[0] for c in ("vanilla", "adapted")]
        assert point.kept[i] == pytest.approx(float(features[0] @ features[1]), abs=1e-5)
        layers = [layer for layer in one.images["vanilla"].layers if layer.dropped is not None]
        gone = sum(layer.dropped.sum() for layer in layers)
        # The last of four layers drops too in an analysis, but nothing comes after it.
        gone -= layers[-1].dropped.sum()
        count = sum(layer.eligible.sum() for layer in layers[:-1])
        assert point.reached[i] == pytest.approx(gone / count, abs=1e-6)


@pytest.mark.parametrize("mode", DROP_MODES)
def test_the_rate_asked_for_is_reached_in_every_mode(mode):
    found = steps(AnalysisSettings(dropout=DropoutSettings(mode=mode)), draws=12)[-1][1]
    for name in COMPARED:
        for rate, point in found.of(name).items():
            assert point.reached.mean() == pytest.approx(rate, abs=0.12)


def test_equal_p_give_equal_curves():
    even = AnalysisSettings(dropout=DropoutSettings(p_min=0.4, p_max=0.4))
    found = steps(even, draws=2)[-1][1]
    for rate in RATES:
        for name in ("iwtd", "self", "cls", "cross", "inverse"):
            np.testing.assert_allclose(
                found.points[name, rate].cosine, found.points["vanilla", rate].cosine, atol=1e-6
            )


def test_a_higher_rate_drops_more_in_the_same_draw(curves):
    for name in COMPARED:
        reached = np.stack([point.reached for point in curves.of(name).values()])
        assert (np.diff(reached, axis=0) >= 0).all() or name != "vanilla"
        assert reached[-1].mean() > reached[1].mean()


def test_points_come_rate_by_rate_and_draws_are_counted():
    found = steps(draws=2)
    assert [done for done, _ in found] == [0, *[0] * 5, 1, *[1] * 5, 2]
    assert found[1][1].points["iwtd", 0.15].count == 1
    assert ("iwtd", 0.3) not in found[1][1].points
    assert found[-1][1].points["iwtd", 0.9].count == 2


# --- areas, words and the view ---


def line(values):
    """Curves of one strategy: (draws, rates) probabilities."""
    columns = np.array(values, dtype=float).T
    zero = np.zeros(columns.shape[1])
    return {
        rate: Point(zero, column, zero, zero, zero)
        for rate, column in zip(RATES, columns, strict=True)
    }


def test_the_area_is_the_mean_height():
    falling = [1 - rate for rate in RATES]  # from 1 to 0.1 in a straight line
    flat = [0.3] * len(RATES)
    found = RateCurves({("iwtd", rate): p for rate, p in line([falling, flat]).items()})
    assert found.areas("iwtd", "probability") == pytest.approx([0.55, 0.3])
    assert not found.areas("vanilla", "probability").size


def test_the_difference_is_paired_by_draw():
    draws = np.array([[0.9], [0.5], [0.1], [0.6]]) * np.ones(len(RATES))
    points = {("vanilla", rate): p for rate, p in line(draws).items()}
    better = draws + np.array([[0.04], [0.05], [0.06], [0.05]])
    points |= {("iwtd", rate): p for rate, p in line(better).items()}
    said = rates_sentence(RateCurves(points), "cat", 4, first_seed=0)
    half = t.ppf(0.975, 3) * np.std([0.04, 0.05, 0.06, 0.05], ddof=1) / 2
    assert f"+0.050 more probability than vanilla dropout ({0.05 - half:+.3f}" in said
    assert "a difference on this picture" in said


def test_intervals_are_cut_at_what_is_possible():
    assert bounded((-0.4, 1.7), "probability") == (0, 1)
    assert bounded((-1.4, 0.7), "cosine") == (-1, 0.7)
    assert bounded((0.2, 0.3), "kept") == (0.2, 0.3)
    assert bounded(None, "kept") is None


def test_one_draw_is_called_one_draw(curves):
    assert "One draw (seed 4)" in rates_sentence(curves, "cat", 1, first_seed=4)
    assert "3 draws (seeds 4 to 6)" in rates_sentence(curves, "cat", 3, first_seed=4)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_step_can_be_drawn(quantity):
    for _, found in steps(draws=2):
        figure = rates_figure(found, quantity)
        assert sum(trace.showlegend is not False for trace in figure.data) == 1 + len(COMPARED)
        for table in (areas_table(found), points_table(found)):
            assert all(len(row) == len(table["headers"]) for row in table["data"])
    assert len(points_table(found)["data"]) == 1 + len(COMPARED) * len(RATES)


def test_curves_are_drawn():
    figure, said, areas, points = tab.draw(analysed(), 0, steps(draws=2)[-1], "kept", every=True)
    assert figure is not None and analysed().classes[0] in said
    assert areas["data"] and points["data"]


def test_the_difference_is_paired_and_has_a_band_from_eight_draws_on():
    def points(rng, count, shift):
        zeros = np.zeros(count)
        return Point(zeros, rng.random(count) + shift, zeros, zeros, zeros)

    for count, banded in ((7, False), (8, True)):
        vanilla = points(np.random.default_rng(0), count, 0.0)
        iwtd = points(np.random.default_rng(0), count, 0.125)  # the same draws, and an eighth more
        curves = RateCurves({("vanilla", 0.3): vanilla, ("iwtd", 0.3): iwtd})
        figure = difference_figure(curves, "probability")
        *bands, line = figure.data
        assert line.y == pytest.approx([0.125])
        assert bool(bands) == banded
        for band in bands:
            assert band.y == pytest.approx([0.125, 0.125])
