"""Deletion and insertion: planted signals must win, chance must be chance, areas be by hand."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from analysed import analysed, tiny
from computed import furnished_question, silent
from scipy.stats import t
from tiny import NAMES, noise_picture, prompted

from app.lab import faithfulness as tab
from app.lab.display.faithfulness import (
    HEADERS,
    curves_figure,
    faithfulness_sentence,
    faithfulness_table,
)
from drople.class_texts import describe_classes
from drople.lab.branch import Branch
from drople.lab.faithfulness import (
    BLURRED,
    MEAN_COLOUR,
    MEASURES,
    REPLACEMENTS,
    Curve,
    Erasure,
    Faithfulness,
    Measure,
    run_erasures,
)
from drople.lab.patch_maps import (
    CENTRE,
    EDGES,
    baseline_maps,
    centre_gaussian,
    edge_strength,
    judged_maps,
    patch_order,
)
from drople.statistics.intervals import prediction_interval
from drople.statistics.sparsity import gini_index

G, PATCH = 4, 8
PLANTED = (2, 3)  # the one patch that the toy model looks at
DELETION, INSERTION = Measure("deletion", MEAN_COLOUR), Measure("insertion", MEAN_COLOUR)


def toy_picture():
    """Grey but for one white patch."""
    pixels = np.full((G * PATCH, G * PATCH, 3), 100, dtype=np.uint8)
    row, column = (PATCH * i for i in PLANTED)
    pixels[row : row + PATCH, column : column + PATCH] = 255
    return pixels


def toy_model(pictures):
    """Answers 1 where the planted patch is as white as in the picture, else 0."""
    row, column = (PATCH * i + 1 for i in PLANTED)
    seen = (pictures[:, row, column, 0] == 255).astype(float)
    return np.stack([seen, seen / 2], axis=1)


def toy(maps, orders=6):
    """Everything measured on the toy."""
    return list(
        run_erasures(
            toy_model, toy_picture(), maps, replacements=[*REPLACEMENTS], orders=orders, seed=0
        )
    )


def planted_map(sign=1):
    found = np.zeros((G, G))
    found[PLANTED] = sign
    return found


def flat_curve(area):
    return Curve(np.array([0, 1.0]), np.full(2, area), np.full(2, area))


# --- planted signal ---


def test_the_planted_patch_wins_both_and_its_opposite_loses_both():
    maps = {"planted": planted_map(), "reversed": planted_map(-1), "flat": np.ones((G, G))}
    found = toy(maps)[-1].result
    for measure in MEASURES:
        areas = found.areas(measure, "probability")
        best, worst = ("planted", "reversed")
        signed = {name: measure.sign * area for name, area in areas.items()}
        assert max(signed, key=signed.get) == best
        assert min(signed, key=signed.get) == worst


def test_the_planted_maps_areas_are_known_in_closed_form():
    areas = toy({"planted": planted_map()})[-1].result
    # One patch of sixteen in four steps: deletion falls to 0 at the first step, a triangle.
    assert areas.areas(DELETION, "probability")["planted"] == pytest.approx(0.5 / G)
    assert areas.areas(INSERTION, "probability")["planted"] == pytest.approx(1 - 0.5 / G)
    assert areas.areas(INSERTION, "cosine")["planted"] == pytest.approx((1 - 0.5 / G) / 2)


def test_a_flat_map_is_one_more_random_order():
    pixels = toy_picture()
    areas = []
    for seed in range(200):
        order = patch_order(np.ones((G, G)), np.random.default_rng(seed))
        curve = Erasure.of(toy_model, pixels, (G, G), replacement=MEAN_COLOUR).curve(
            toy_model, order, "deletion"
        )
        areas.append(curve.area("probability"))
    # The planted patch goes in any step alike: mean of 1/8, 3/8, 5/8, 7/8; sd of it sqrt(5)/8.
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.sqrt(5) / 8 / np.sqrt(200))


def test_only_a_map_better_than_all_baselines_is_said_to_beat_them():
    curves = {
        CENTRE: flat_curve(0.5),
        EDGES: flat_curve(0.4),
        "good": flat_curve(0.1),
        "fair": flat_curve(0.45),
    }
    random = tuple(flat_curve(area) for area in (0.5, 0.52, 0.48, 0.51))
    found = Faithfulness({DELETION: curves}, {DELETION: random})
    assert found.beats_baselines("good", DELETION, "probability") is True
    assert found.beats_baselines("fair", DELETION, "probability") is False
    few = Faithfulness({DELETION: curves}, {DELETION: random[:1]})
    assert few.beats_baselines("good", DELETION, "probability") is None


def test_swapped_pairs_are_counted_with_small_deletion_areas_as_good():
    deleted = {"a": flat_curve(0.1), "b": flat_curve(0.2), "c": flat_curve(0.3)}
    inserted = {"a": flat_curve(0.7), "b": flat_curve(0.9), "c": flat_curve(0.8)}
    found = Faithfulness({DELETION: deleted, INSERTION: inserted})
    # Deletion says a, b, c; insertion says b, c, a: only the pairs with a are swapped.
    assert found.swapped_pairs(DELETION, INSERTION, "probability") == (2, 3)
    assert found.swapped_pairs(DELETION, DELETION, "cosine") == (0, 3)


# --- curves ---


def test_the_area_of_a_straight_line_is_its_middle():
    shares = np.array([0, 0.2, 0.5, 1.0])
    assert Curve(shares, 1 - shares, shares**0).area("probability") == pytest.approx(0.5)
    assert Curve(shares, 1 - shares, shares**0).area("cosine") == pytest.approx(1)


def test_both_ends_are_the_whole_and_the_wholly_replaced_picture():
    for step in toy({"planted": planted_map(), "flat": np.ones((G, G))}):
        for measure, curves in step.result.curves.items():
            for curve in curves.values():
                ends = curve.probability[[0, -1]].tolist()
                assert ends == ([1, 0] if measure.direction == "deletion" else [0, 1])


def test_each_step_takes_one_row_of_patches_away():
    seen = []

    def ask(pictures):
        seen.extend((pictures == 77).all(axis=3).sum(axis=(1, 2)).tolist())
        return np.zeros((len(pictures), 2))

    other = np.full_like(toy_picture(), 77)
    erasure = Erasure(toy_picture(), other, (G, G), np.zeros((2, 2)))
    order = np.random.default_rng(1).permutation(G * G)
    erasure.curve(ask, order, "deletion")
    assert seen == [n * G * PATCH**2 for n in (1, 2, 3)]


def test_a_mirrored_deletion_is_the_insertion_along_the_reverse():
    rng = np.random.default_rng(3)

    def ask(pictures):
        weights = np.random.default_rng(5).normal(size=pictures.shape[1:])
        said = (pictures * weights).sum(axis=(1, 2, 3))
        return np.stack([said, -said], axis=1)

    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    erasure = Erasure.of(ask, pixels, (G, G), replacement=BLURRED)
    order = rng.permutation(G * G)
    mirrored = erasure.curve(ask, order, "deletion").mirrored()
    straight = erasure.curve(ask, order[::-1], "insertion")
    np.testing.assert_allclose(mirrored.shares, straight.shares)
    np.testing.assert_allclose(mirrored.probability, straight.probability)


def test_the_mean_colour_is_the_pictures_mean_and_the_blur_keeps_a_flat_one():
    pixels = np.asarray(noise_picture(32, 32))
    mean = REPLACEMENTS[MEAN_COLOUR](pixels, PATCH)
    assert mean[0, 0] == pytest.approx(pixels.reshape(-1, 3).mean(axis=0), abs=0.5)
    assert (mean == mean[0, 0]).all()
    flat = np.full((32, 32, 3), 9, dtype=np.uint8)
    np.testing.assert_array_equal(REPLACEMENTS[BLURRED](flat, PATCH), flat)


# --- orders and baselines ---


def test_an_order_goes_down_and_ends_with_the_missing():
    values = np.array([[0.1, np.nan], [3.0, -2.0]])
    assert patch_order(values, np.random.default_rng(0)).tolist() == [2, 0, 3, 1]


def test_the_centre_falls_off_evenly_and_edges_are_where_the_step_is():
    centre = centre_gaussian((G, G))
    np.testing.assert_allclose(centre, centre.T)
    assert centre[1, 1] == pytest.approx(centre[2, 2]) and centre[1, 1] > centre[0, 1]
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:, 12:] = 200  # a step inside the second column of patches
    strength = edge_strength(pixels, (G, G))
    assert (strength.argmax(axis=1) == 1).all()
    assert (strength[:, [0, 3]] == 0).all()


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 1, 1, 1], 0), ([0, 0, 0, 5], 0.75), ([1, -3], 0.25)]
)
def test_ginis_index_by_hand(values, expected):
    assert gini_index(np.array(values, dtype=float)) == pytest.approx(expected)


def test_a_map_of_zeros_has_no_sparsity():
    assert gini_index(np.zeros((2, 2))) is None


def test_the_prediction_interval_is_students():
    values = np.array([0.2, 0.5, 0.4, 0.7])
    low, high = prediction_interval(values)
    half = t.ppf(0.975, 3) * values.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert prediction_interval(values[:1]) is None


# --- the tiny model, words and the view ---


@pytest.fixture(scope="module")
def measured():
    """The last step on the ordinary analysis, two random orders."""
    model = prompted(tiny())
    ask = partial(Branch.of(model, describe_classes(model, NAMES)).ask, 0)
    analysis = analysed()
    maps = {**judged_maps(analysis, 0), **baseline_maps(analysis)}
    steps = run_erasures(ask, analysis.pixels, maps, replacements=[*REPLACEMENTS], orders=2, seed=0)
    return maps, [*steps]


def test_the_whole_picture_is_what_the_analysis_saw(measured):
    said = analysed().predictions["adapted"]
    curve = measured[1][-1].result.curves[DELETION]["iwtd"]
    assert curve.probability[0] == pytest.approx(said.probabilities[0], abs=1e-5)
    assert curve.cosine[0] == pytest.approx(said.cosines[0], abs=1e-5)


def test_curves_come_one_at_a_time_and_are_counted(measured):
    maps, steps = measured
    assert [step.done for step in steps] == [*range(1, steps[-1].count + 1)]
    assert steps[-1].count == 2 * (2 * len(maps) + 2)
    assert all(len(a.result.curves) <= len(b.result.curves) for a, b in pairwise(steps))


@pytest.mark.parametrize("quantity", ["probability", "cosine"])
def test_every_step_can_be_drawn_and_said(measured, quantity):
    maps, steps = measured
    analysis = analysed()
    for step in steps:
        said = faithfulness_sentence(analysis, maps, step.result, target=0, quantity=quantity)
        assert said.startswith(NAMES[0])
        rows = faithfulness_table(analysis, maps, step.result, quantity=quantity)["data"]
        assert {len(row) for row in rows} == {len(HEADERS)}
        curves_figure(analysis, step.result, BLURRED, quantity=quantity)
    assert len(rows) == len(maps) + 1
    figure = curves_figure(analysis, step.result, MEAN_COLOUR, quantity=quantity)
    assert sum(trace.showlegend for trace in figure.data) == len(maps) + 2


def test_a_map_that_beats_nothing_is_called_no_evidence():
    maps = {"iwtd": planted_map(-1), CENTRE: planted_map(), EDGES: planted_map()}
    found = toy(maps)[-1].result
    said = faithfulness_sentence(analysed(), maps, found, target=0, quantity="probability")
    assert "no measure: Grad-CAM: IWTD" in said and "no evidence" in said
    assert "no value" not in said


def test_a_map_with_gaps_is_said_to_order_them_at_random():
    gaps = planted_map(-1).copy()
    gaps[0, :2] = np.nan
    maps = {"iwtd": gaps, CENTRE: planted_map(), EDGES: planted_map()}
    found = toy(maps)[-1].result
    said = faithfulness_sentence(analysed(), maps, found, target=0, quantity="probability")
    assert f"Grad-CAM: IWTD, one draw has no value at 2 of {gaps.size} patches" in said


def test_a_map_that_beats_all_is_not_warned_of():
    curves, random = {}, {}
    for measure in MEASURES:
        good = 0.5 + 0.4 * measure.sign
        curves[measure] = {
            "iwtd": flat_curve(good), CENTRE: flat_curve(0.5), EDGES: flat_curve(0.5),
        }  # fmt: skip
        random[measure] = tuple(flat_curve(area) for area in (0.49, 0.5, 0.51))
    said = faithfulness_sentence(
        analysed(), {}, Faithfulness(curves, random), target=0, quantity="probability"
    )
    assert "every measure: Grad-CAM: IWTD" in said
    assert "no evidence" not in said and "rank the maps alike" in said


@pytest.mark.parametrize("prompts", [True, False])
def test_the_view_measures_with_and_without_prompts(furnished, prompts):
    question = furnished_question(furnished, prompts=prompts)
    *_, last = tab.compute(question, ["iwtd"], 2, BLURRED, progress=silent)
    figure, _, table = tab.draw(question.analysis, 1, last, BLURRED, "cosine")
    assert figure is not None
    judged = {"iwtd"} if prompts else {"frozen", "importance"}
    assert last[0].keys() == judged | {CENTRE, EDGES}
    assert len(table["data"]) == len(judged) + 3
