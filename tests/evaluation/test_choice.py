"""How far IWTD chooses, measured on images."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from squares import coloured_squares
from tiny import prompted

from drople.errors import SettingsError
from drople.evaluation import choice, sections
from drople.evaluation.choice import (
    Choice,
    choices,
    choices_of,
    evaluate_choice,
    read_choices,
    top_gap,
)
from drople.evaluation.protocols import Setting
from drople.models.prompts import PromptPlan
from drople.tokens.dropout import DropoutSettings
from drople.traces import LayerTrace
from drople.training.config import METHODS

FORMER = Path(__file__).parents[2] / "docs" / "results" / "mini-0.1" / "runs.zip"


@pytest.fixture(scope="module")
def images():
    return coloured_squares().test


def by_name(found: list[Choice]) -> dict[str, Choice]:
    return {one.normalisation: one for one in found}


def test_one_p_for_all_differs_from_vanilla_nowhere(model, images):
    for one in choices(model, images, DropoutSettings(p_min=0.3, p_max=0.3)):
        assert one.differing == pytest.approx(0, abs=1e-3)
        assert one.protected == 0
        assert one.mean_p == pytest.approx(30, abs=1e-3)
        assert one.overlap == pytest.approx(100, abs=1e-2)
        assert one.p_patches == pytest.approx(30, abs=1e-3)


def test_ranks_differ_by_a_quarter_of_the_range(model, images):
    """p of N ranks is even over the range, so its mean distance from its mean is nearly a quarter:
    N / (4 (N - 1)) of it for an even N; 16 patches and 4 prompts here."""
    found = by_name(choices(model, images, DropoutSettings(p_min=0.1, p_max=0.5)))["rank"]
    assert found.differing == pytest.approx(100 * 0.4 * 20 / (4 * 19), rel=1e-3)
    assert (16 * found.p_patches + 4 * found.p_prompts) / 20 == pytest.approx(30, rel=1e-3)
    assert found.mean_p == pytest.approx(30, rel=1e-3)
    assert found.overlap == pytest.approx(
        100 * (30 - found.differing / 2) / (30 + found.differing / 2)
    )
    assert found.one_token < 100


def test_every_normalisation_keeps_p_in_its_range(model, images):
    for one in choices(model, images, DropoutSettings(p_min=0.1, p_max=0.5)):
        assert 10 <= min(one.p_patches, one.p_prompts) <= max(one.p_patches, one.p_prompts) <= 50


@pytest.mark.parametrize(
    ("blend", "share"),
    [
        ([0, 1, 2, 3, 4], 1 / 4),  # evenly spread: one of four steps
        ([0.2, 0.1, 0.1, 0.6], 0.8),  # (0.6 - 0.2) / (0.6 - 0.1)
        ([0, 0, 0, 1], 1),  # a sink leaves nothing to the others
        ([0.3, 0.1, 0.3], 0),  # two lead alike
        ([0.5, 0.5], 0),
    ],
)
def test_the_first_token_takes_its_lead_over_the_second(blend, share):
    assert top_gap(np.array(blend)) == pytest.approx(share)


def planted(*blends):
    """One layer, an image for each list of importances: [CLS], the tokens, the last two prompts."""
    blend = np.array([[0.0, *one] for one in blends], dtype="f4")
    blend /= blend.sum(axis=1, keepdims=True)
    tokens = np.tile(np.arange(blend.shape[1]) > 0, (len(blend), 1))
    return LayerTrace(
        depth=0,
        shares=dict.fromkeys(("s_self", "s_cls", "s_cross"), blend),
        totals={},
        blend=blend,
        content=tokens,
        eligible=tokens,
        probability=np.zeros_like(blend),
        uniform=None,
        dropped=None,
        norms=blend,
        prompts=(blend.shape[1] - 2, blend.shape[1]),
        grid=(1, blend.shape[1] - 3),
        attention=None,
    )


def test_each_layer_is_told_by_itself():
    """p is 0.5, 0.4, 0.3, 0.2, 0.1 around 0.3, or four times 0.5 and 0.1 around 0.42."""
    even, sink = [1, 2, 3, 4, 5], [1, 1, 1, 1, 11]
    dropout = DropoutSettings(p_min=0.1, p_max=0.5)
    found = by_name(choices_of([[planted(even, even), planted(sink, even)]], dropout))
    assert found["minmax"].differing_by_layer == pytest.approx((12, (12.8 + 12) / 2), abs=1e-3)
    assert found["minmax"].differing == pytest.approx((12 + 12.4) / 2, abs=1e-3)
    assert found["rank"].differing_by_layer == pytest.approx((12, 12), abs=1e-3)
    for one in found.values():
        assert one.top_gap_by_layer == pytest.approx((25, (100 + 25) / 2), abs=1e-3)


def test_batches_of_images_are_one_mean():
    dropout = DropoutSettings(p_min=0.1, p_max=0.5)
    images = [[1, 2, 3, 4, 5], [1, 1, 1, 1, 11], [3, 1, 4, 2, 6]]
    together = choices_of([[planted(*images)]], dropout)
    assert choices_of([[planted(*images[:1])], [planted(*images[1:])]], dropout) == together


def test_what_an_earlier_version_stored_is_read_without_layers(tmp_path):
    with ZipFile(FORMER) as runs:
        runs.extractall(tmp_path)
    stored = [one for run in read_choices(tmp_path) for one in run.choices]
    assert stored
    assert all(one.differing_by_layer == one.top_gap_by_layer == () for one in stored)


def test_a_branch_without_prompts_has_no_p_of_prompts(backbone, images):
    model = prompted(backbone, PromptPlan(image_count=0, image_depth=0))
    assert all(np.isnan(one.p_prompts) for one in choices(model, images, DropoutSettings()))


def test_what_was_measured_is_kept_and_reported(backbone, tmp_path, monkeypatch):
    config = replace(METHODS["drople"], epochs=1, shots=2, batch=4, precision="fp32")
    setting = Setting(backbone, coloured_squares())
    measured = evaluate_choice(setting, config, tmp_path, data_option="DATA/squares")
    assert measured.images == 8  # the base half: two of three classes
    monkeypatch.setattr(choice, "choices", None)  # nothing is measured again
    again = evaluate_choice(setting, config, tmp_path, data_option="DATA/squares")
    assert [asdict(one) for one in read_choices(tmp_path)] == [asdict(again)] == [asdict(measured)]
    (row,) = [line for line in sections.choices([measured]) if "| minmax |" in line]
    assert row.startswith(
        f"| squares, {backbone.name}@{backbone.weights_hash[:6]} "
        "| drople (epochs 1, batch 4, shots 2, seed 1) | minmax | "
    )
    assert f"| {measured.choices[0].differing:.2f} |" in row
    share = f"{measured.choices[0].differing:.2f}"
    assert f"{share} to {share} % of their decisions" in " ".join(
        sections.difference_of_dropouts([measured])
    )


def test_what_learns_nothing_has_no_choices(backbone, tmp_path):
    setting = Setting(backbone, coloured_squares())
    with pytest.raises(SettingsError, match="zero-shot learns nothing"):
        evaluate_choice(setting, METHODS["zero-shot"], tmp_path, data_option="DATA/squares")
