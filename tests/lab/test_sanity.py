"""Cascading randomisation: copies that leave the model alone, and likeness by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysed import analysed, tiny
from computed import furnished_question, silent
from scipy.stats import spearmanr
from tiny import NAMES, noise_picture, prompted

from app.lab import sanity as tab
from app.lab.display.sanity import (
    cascade_figure,
    cascade_sentence,
    cascade_sheet,
    cascade_table,
)
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.lab.patch_maps import IMPORTANCE
from drople.lab.sanity import (
    Depth,
    Likeness,
    depths_of,
    likeness,
    run_cascade,
    with_blocks_randomised,
)
from drople.models.backbone import hash_weights
from drople.tokens.dropout import DropoutSettings

MODEL = prompted(tiny())


@pytest.fixture(scope="module")
def cascade():
    """All depths of the ordinary analysis."""
    texts = describe_classes(MODEL, NAMES)
    return [*run_cascade(MODEL, analysed(), texts, target=0, seed=3)]


def weights(model):
    return {name: value.clone() for name, value in model.backbone.clip.state_dict().items()}


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_the_last_blocks_are_redrawn_and_nothing_else(count):
    before = weights(MODEL)
    twin = with_blocks_randomised(MODEL, count, seed=0)
    changed = {
        name for name, value in weights(twin).items() if not torch.equal(value, before[name])
    }
    blocks = {int(n.split("resblocks.")[1].split(".")[0]) for n in changed}
    assert all(name.startswith("visual.transformer.resblocks.") for name in changed)
    assert blocks == set(range(4 - count, 4))
    for index in blocks:
        # Constant tensors (fresh biases and gains) are their own mean, and so stay.
        varied = {
            n for n, v in before.items()
            if n.startswith(f"visual.transformer.resblocks.{index}.") and v.std(correction=0) > 0
        }  # fmt: skip
        assert varied <= changed


def test_the_model_itself_is_never_touched():
    before, text = weights(MODEL), hash_weights(MODEL.state_dict())
    clean = analyse(MODEL, noise_picture(), NAMES)
    twin = with_blocks_randomised(MODEL, 4, seed=0)
    analyse(twin, noise_picture(), NAMES)
    assert all(torch.equal(value, before[name]) for name, value in weights(MODEL).items())
    assert hash_weights(MODEL.state_dict()) == text
    again = analyse(MODEL, noise_picture(), NAMES)
    np.testing.assert_array_equal(again.maps.values["iwtd"], clean.maps.values["iwtd"])
    assert twin.backbone is not MODEL.backbone and MODEL.backbone is tiny()


def test_all_that_is_not_redrawn_is_shared_memory():
    twin = with_blocks_randomised(MODEL, 1, seed=0)
    theirs = dict(twin.backbone.clip.named_parameters())
    for name, mine in MODEL.backbone.clip.named_parameters():
        assert (mine is theirs[name]) == (".resblocks.3." not in name or "visual" not in name)


def test_a_redrawn_tensor_keeps_its_mean_and_spread():
    twin = with_blocks_randomised(MODEL, 1, seed=0)
    old, new = (m.backbone.visual.transformer.resblocks[3].mlp[0].weight for m in (MODEL, twin))
    assert float(new.mean()) == pytest.approx(float(old.mean()), abs=4 * float(old.std()) / 128)
    assert float(new.std()) == pytest.approx(float(old.std()), rel=0.05)
    assert abs(np.corrcoef(old.flatten(), new.flatten())[0, 1]) < 0.05


def test_deeper_copies_hold_the_same_new_weights_and_seeds_differ():
    one, two, other = (
        with_blocks_randomised(MODEL, count, seed=seed) for count, seed in ((1, 0), (2, 0), (1, 1))
    )
    last = [m.backbone.visual.transformer.resblocks[3].mlp[0].weight for m in (one, two, other)]
    assert torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])


def test_a_backbone_without_prompts_is_redrawn_too():
    twin = with_blocks_randomised(tiny(), 2, seed=0)
    clean = analyse(tiny(), noise_picture(), NAMES)
    changed = analyse(twin, noise_picture(), NAMES)
    assert not np.allclose(clean.maps.values["frozen"], changed.maps.values["frozen"])


# --- the cascade ---


def test_depth_zero_is_the_analysis_and_wholly_like_itself(cascade):
    assert [one.randomised for one in cascade] == [0, 1, 2, 3, 4]
    for name, found in cascade[0].likeness.items():
        assert (found.spearman, found.top) == pytest.approx((1, 1))
        if name != IMPORTANCE:
            gone = analysed().maps.unavailable[name]
            expected = np.where(gone, np.nan, analysed().maps.values[name][0])
            np.testing.assert_array_equal(cascade[0].maps[name], expected)


def test_importance_cannot_change_before_its_own_layers_do():
    texts = describe_classes(MODEL, NAMES)
    settings = AnalysisSettings(dropout=DropoutSettings(image_depth=2), strategies=("iwtd",))
    shallow = analyse(MODEL, noise_picture(), NAMES, settings)
    found = [*run_cascade(MODEL, shallow, texts, target=0, seed=3)]
    for one in found[:3]:  # two layers of four: the two last blocks say nothing
        assert one.likeness[IMPORTANCE].spearman == pytest.approx(1)
        np.testing.assert_allclose(one.maps[IMPORTANCE], found[0].maps[IMPORTANCE], atol=1e-7)
    assert found[3].likeness[IMPORTANCE].spearman < 1


def test_a_grad_cam_changes_as_soon_as_the_last_block_does(cascade):
    assert cascade[1].likeness["adapted"].spearman < 0.999


@pytest.mark.parametrize(("blocks", "expected"), [(4, [1, 2, 3, 4]), (1, [1])])
def test_every_depth_of_a_small_tower_is_shown(blocks, expected):
    assert depths_of(blocks) == expected


def test_of_a_deep_tower_twelve_depths_are_shown_with_first_and_last():
    found = depths_of(24)
    assert (len(found), found[0], found[-1]) == (12, 1, 24)


# --- likeness ---


def test_likeness_is_spearmans_and_a_count():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 10, 10))
    found = likeness(a, b)
    assert found.spearman == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    tops = [set(np.argsort(-m.ravel())[:10]) for m in (a, b)]
    assert found.top == len(tops[0] & tops[1]) / 10
    assert likeness(a, np.exp(a)) == Likeness(pytest.approx(1), 1)
    assert likeness(a, -a).spearman == pytest.approx(-1)


def test_patches_without_a_value_are_left_out_and_a_flat_map_has_no_rank():
    a, b = np.random.default_rng(1).normal(size=(2, 4, 4))
    holed = a.copy()
    holed[0, 0] = np.nan
    expected = spearmanr(a.ravel()[1:], b.ravel()[1:]).statistic
    assert likeness(holed, b).spearman == pytest.approx(expected)
    assert likeness(a, np.ones((4, 4))).spearman is None


# --- words and the view ---


def test_a_map_that_barely_changes_is_warned_of(cascade):
    alike = {name: Likeness(0.95, 0.9) for name in cascade[0].maps}
    stubborn = [cascade[0], Depth(4, cascade[0].maps, alike)]
    said = cascade_sentence(analysed(), stubborn, 4)
    assert "⚠" in said and "not sensitive to the weights" in said
    unlike = {name: Likeness(0.02, 0.1) for name in cascade[0].maps}
    said = cascade_sentence(analysed(), [cascade[0], Depth(4, cascade[0].maps, unlike)], 4)
    assert "⚠" not in said
    assert "⚠" not in cascade_sentence(analysed(), cascade[:2], 4)


def test_strip_curve_and_table_hold_every_depth(cascade):
    analysis = analysed()
    for count in (1, 3, 5):
        part = cascade[:count]
        table = cascade_table(analysis, part)
        assert len(table["data"]) == count
        assert {len(row) for row in table["data"]} == {len(table["headers"])}
        assert cascade_sheet(analysis, part, "iwtd").pixels.shape[1] == min(count, 4) * 308 - 8
        figure = cascade_figure(part)
        assert {len(trace.x) for trace in figure.data} == {count}


@pytest.mark.parametrize("prompts", [True, False])
def test_the_view_runs_with_and_without_prompts(furnished, prompts):
    question = furnished_question(furnished, prompts=prompts)
    steps = list(tab.compute(question, progress=silent))
    sheet, _, figure, _, table = tab.draw(question.analysis, 1, steps[-1], "adapted")
    assert [len(depths) for depths in steps] == [1, 2, 3, 4, 5]
    assert sheet.value is not None and figure is not None and len(table["data"]) == 5
