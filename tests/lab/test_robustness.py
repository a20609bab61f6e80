"""The robustness strip: severity 0 is the clean picture, attacks keep their bound, words count."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from analysed import analysed, ask, tiny
from computed import furnished_question, silent, views_of
from PIL import Image
from scipy.stats import spearmanr
from tiny import NAMES, noise_picture, prompted

from app.lab import robustness as tab
from app.lab.display.robustness import (
    kinds_figure,
    kinds_sentence,
    kinds_table,
    strip_sentence,
    strip_sheet,
    strip_table,
)
from app.lab.question import Result
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.lab.branch import Branch
from drople.lab.robustness import (
    CLEAN,
    VERSIONS,
    Version,
    corrupted_picture,
    drop_likeness,
    map_likeness,
    run_kinds,
    run_versions,
)
from drople.perturb.corruptions import CORRUPTIONS

MODEL = prompted(tiny())
TEXTS = describe_classes(MODEL, NAMES)
BRANCH = Branch.of(MODEL, TEXTS)
PIXELS = MODEL.backbone.pixels(noise_picture())


@pytest.fixture(scope="module")
def strip():
    """All versions of the ordinary picture under Gaussian noise."""
    return [*run_versions(BRANCH, analysed(), TEXTS, target=1, kind="gaussian_noise")]


# --- severity 0 ---


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_severity_zero_is_the_clean_picture(kind):
    np.testing.assert_array_equal(corrupted_picture(PIXELS, kind, 0, seed=3), PIXELS)


def test_an_analysis_at_severity_zero_is_the_clean_one():
    picture = Image.fromarray(corrupted_picture(analysed().pixels, "fog", 0, seed=0))
    again = analyse(MODEL, picture, NAMES, analysed().settings)
    clean = analysed()
    np.testing.assert_array_equal(again.pixels, clean.pixels)
    for condition in clean.conditions:
        a, b = (one.predictions[condition].cosines for one in (again, clean))
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(again.maps.values[condition], clean.maps.values[condition])
        layers = zip(again.images[condition].layers, clean.images[condition].layers, strict=True)
        for x, y in layers:
            if y.dropped is not None:
                np.testing.assert_array_equal(x.dropped, y.dropped)


def test_the_clean_column_is_the_analysis_itself_and_like_itself(strip):
    assert strip[0].name == "clean" and strip[0].analysis is analysed()
    assert map_likeness(analysed(), analysed(), condition="iwtd", target=1) == pytest.approx(1)
    assert drop_likeness(analysed(), analysed(), condition="iwtd", layer=0).jaccard == 1


def test_a_corruption_is_the_same_for_the_same_seed_and_grows():
    pictures = [corrupted_picture(PIXELS, "gaussian_noise", s, seed=2) for s in range(6)]
    again = corrupted_picture(PIXELS, "gaussian_noise", 3, seed=2)
    np.testing.assert_array_equal(pictures[3], again)
    off = [np.abs(p.astype(int) - PIXELS).mean() for p in pictures]
    assert off == sorted(off) and off[1] > 0


# --- the branch and the attack ---


def test_the_branch_says_what_the_analysis_said():
    said = BRANCH.answers(PIXELS[None])
    expected = analysed().predictions["adapted"]
    np.testing.assert_allclose(said.cosines[0], expected.cosines, atol=1e-5)
    np.testing.assert_allclose(said.probabilities[0], expected.probabilities, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4])
def test_an_attack_stays_within_its_distance_and_takes_the_answer_down(steps):
    label = analysed().answer
    moved = BRANCH.attacked(PIXELS, label, steps / 255)
    assert moved.dtype == np.uint8
    assert 0 < np.abs(moved.astype(int) - PIXELS).max() <= steps
    before, after = BRANCH.answers(np.stack([PIXELS, moved])).probabilities[:, label]
    assert after < before


def test_an_attack_leaves_no_gradient_on_the_prompts():
    BRANCH.attacked(PIXELS, 0, 1 / 255)
    assert all(p.grad is None for p in MODEL.parameters())
    assert torch.is_grad_enabled()


def test_every_version_comes_in_order(strip):
    assert [one.name for one in strip] == [
        "clean",
        *(f"severity {n}" for n in range(1, 6)),
        *(f"PGD 1/{n}" for n in (2040, 1020, 510, 255)),
    ]
    assert len(strip) == VERSIONS
    attacked = strip[-1].analysis.pixels.astype(int)
    assert np.abs(attacked - analysed().pixels).max() <= 4


# --- likeness, pictures and words ---


def test_likeness_is_over_the_patches_both_have(strip):
    clean, other = strip[0].analysis, strip[3].analysis
    gone = clean.maps.unavailable["iwtd"] | other.maps.unavailable["iwtd"]
    maps = [one.maps.values["iwtd"][1][~gone] for one in (clean, other)]
    assert map_likeness(clean, other, condition="iwtd", target=1) == pytest.approx(
        spearmanr(*maps).statistic
    )
    sets = [set(np.flatnonzero(one.images["iwtd"].layers[0].dropped[0])) for one in (clean, other)]
    found = drop_likeness(clean, other, condition="iwtd", layer=0)
    assert found.jaccard == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
    shallow = ask(plan=None, dropout=replace(AnalysisSettings().dropout, image_depth=1))
    assert drop_likeness(shallow, shallow, condition="iwtd", layer=2) is None


def test_one_scale_covers_all_versions(strip):
    top = max(np.abs(one.analysis.maps.values["adapted"][1]).max() for one in strip)
    (scale,) = strip_sheet(strip, "adapted", 0, target=1).scales
    assert (scale.low, scale.high) == pytest.approx((-top, top))


@pytest.mark.parametrize("condition", ["frozen", "iwtd"])
def test_strip_and_table_have_a_place_for_every_version(strip, condition):
    for count in (1, len(strip)):
        found = strip[:count]
        sheet = strip_sheet(found, condition, 0, target=1)
        assert sheet.pixels.shape[1] == min(count, 4) * 308 - 8
        table = strip_table(found, condition, 0, target=1)
        rows = table["data"]
        assert len(rows) == count
        assert {len(row) for row in rows} == {len(table["headers"])}
    assert rows[0][-2:] == ["1.00", "1.00 (1.00)"]


def test_a_changed_answer_is_said(strip):
    stays = [strip[0], Version("severity 1", strip[0].analysis)]
    assert "on all others so far" in strip_sentence(stays, "fog", "adapted", target=1)
    other = next(i for i in range(3) if i != analysed().answer)
    said = analysed().predictions["adapted"]
    flipped = replace(said, cosines=np.eye(3)[other].astype(np.float32))
    changed = replace(analysed(), predictions={**analysed().predictions, "adapted": flipped})
    found = [strip[0], Version("severity 4", changed)]
    assert f"{NAMES[other]} at severity 4" in strip_sentence(found, "fog", "adapted", target=1)


def test_all_kinds_begin_with_the_clean_answer():
    steps = run_kinds(BRANCH, analysed(), 1)
    clean = analysed().predictions["adapted"].probabilities[1]
    found = {}
    for kind, rows in steps:
        assert rows.shape == (6, 2)
        assert rows[0].tolist() == pytest.approx([clean, 1], abs=1e-5)
        found[kind] = rows
    assert [*found] == [*CORRUPTIONS]
    assert len(kinds_figure(found).data[0].z) == 15
    assert {len(row) for row in kinds_table(found)["data"]} == {7}


def test_kept_answers_are_counted_and_the_costliest_kind_named():
    mild, harsh = (np.stack([np.array([0.8, *[p] * 5]), [1, *stay]], axis=1)
                   for p, stay in ((0.7, [1] * 5), (0.2, [1, 1, 0, 0, 0])))  # fmt: skip
    said = kinds_sentence({"fog": mild, "glass_blur": harsh})
    assert said.startswith("7 of 10 corrupted pictures keep")
    assert "glass blur, 0.60 on average" in said
    assert kinds_table({"glass_blur": harsh})["data"][0][3:5] == ["0.200", "0.200 ✗"]


# --- the view ---


@pytest.mark.parametrize("prompts", [True, False])
def test_the_view_runs_with_and_without_prompts(furnished, prompts):
    question = furnished_question(furnished, prompts=prompts)
    *_, versions = tab.compute(question, "fog", progress=silent)
    sheet, _, _, table = tab.draw(question.analysis, 1, versions, "fog", "iwtd", 1)
    assert sheet.value is not None and len(table["data"]) == VERSIONS
    *_, kinds = tab.compute_kinds(question, progress=silent)
    assert len(tab.draw_kinds(question.analysis, 1, kinds)[3]["data"]) == 15


def test_the_strip_of_another_corruption_is_not_shown():
    clean = (Version(CLEAN, analysed()),)
    result = Result(analysed(), 1, clean, ("fog",))
    shown = partial(views_of(tab)[0].draw, analysed(), 1, result)
    assert shown("fog", "iwtd", 1)[0] is not None
    assert "Press Compare" in shown("snow", "iwtd", 1)[2]
