"""Prompts from layer to layer: counted as the forward carries them; and what a file holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from analysed import COOP, KINDS, analysed, ask
from furnished import FurnishedStudio

from app.lab import prompts as tab
from app.lab.bench import NO_DROPOUT_HERE
from app.lab.display.prompts import counts_sentence, counts_table, learnt_table, prompts_figure
from drople.lab.prompts import clip_parameters, count_prompts, counterpart, learnt_numbers
from drople.models.backbone import CHECKPOINTS
from drople.models.prompts import PromptPlan
from drople.models.stem import build_clip
from drople.storage.prompts import load_prompts, read_card, shipped_prompts
from drople.training.config import METHODS

LAYERS = {"image_layers": 4, "text_layers": 4}  # of the tiny model
PLANS = {
    "ordinary": PromptPlan(),
    "modular prompts": PromptPlan(kind="modular"),
    "coupled prompts, no bridge": PromptPlan(kind="coupled"),
    "text prompts alone": COOP,
}
MPL = METHODS["mpl"].plan


@pytest.mark.parametrize("kind", PLANS)
def test_the_counts_are_those_of_the_forward(kind):
    analysis = analysed(kind)
    counts = count_prompts(PLANS[kind], **LAYERS)
    for tower, traces in (("image", analysis.images), ("text", analysis.texts)):
        seen = [stop - start for start, stop in (one.prompts for one in traces["adapted"].layers)]
        assert [one.total for one in counts[tower]] == seen, tower


@pytest.mark.parametrize("plan", [*PLANS.values(), MPL])
def test_what_is_carried_is_what_was_there_and_not_removed(plan):
    for layers in count_prompts(plan, **LAYERS).values():
        before = 0
        for one in layers:
            assert one.carried + one.removed == before
            before = one.total


def test_replaced_prompts_are_never_carried_while_fresh_ones_come():
    layers = count_prompts(METHODS["drople"].plan, image_layers=12, text_layers=12)["image"]
    assert [one.carried for one in layers] == [0] * 6 + [4] * 6
    assert [one.removed for one in layers] == [0] + [4] * 5 + [0] * 6


def test_mpl_grows_by_one_a_layer():
    """n_ctx + (l - 1)(n_add n_ctx - n_rm), METHOD.md 8.1: 1 + (l - 1)(2 - 1)."""
    layers = count_prompts(MPL, image_layers=12, text_layers=12)["image"]
    assert [one.total for one in layers] == [*range(1, 10), 9, 9, 9]
    assert [one.carried for one in layers] == [0, *range(8), 9, 9, 9]
    assert [one.added for one in layers] == [1] + [2] * 8 + [0] * 3


def test_beside_replacing_stands_carrying_and_the_other_way_round():
    assert counterpart(PromptPlan()).kind == "modular"
    assert counterpart(MPL).kind == "replace"


@pytest.mark.parametrize("name", ["caltech101-drople", "caltech101-mpl"])
def test_the_numbers_are_those_of_the_loaded_model(name, mini):
    (found,) = (one for one in learnt_numbers() if one.name == name)
    model, _ = load_prompts(shipped_prompts()[name], mini)
    parts = {part: 0 for part in ("prompts", "bridge", "logit_scale")}
    for key, value in model.named_parameters():
        parts[key.split(".")[0]] += value.numel()
    assert (found.prompts, found.bridge, found.others) == tuple(parts.values())
    assert found.clip == clip_parameters("mini")
    config = json.loads((CHECKPOINTS / "mini" / "open_clip_config.json").read_text())
    assert found.clip == sum(value.numel() for value in build_clip(config).parameters())
    assert found.share == pytest.approx(sum(parts.values()) / found.clip)


def test_every_shipped_file_has_a_row():
    rows = learnt_table(learnt_numbers())["data"]
    assert [row[0] for row in rows] == [*shipped_prompts()]
    assert [row[1] for row in rows] == [read_card(one).method for one in shipped_prompts().values()]


# --- the picture and the view ---


@pytest.mark.parametrize("plan", [*PLANS.values(), MPL])
def test_bars_and_table_hold_the_counts(plan):
    counts = count_prompts(plan, **LAYERS)
    carried, added, removed = prompts_figure(counts["image"]).data
    for i, one in enumerate(counts["image"]):
        bars = (carried.y[i], added.y[i], -(removed.y[i] or 0))
        assert bars == (one.carried, one.added, one.removed)
        row = [str(n) for n in (i + 1, one.removed, one.added, one.carried, one.total)]
        assert counts_table(counts)["data"][i][:5] == row
    assert counts_sentence(plan, counts).endswith(".")


@pytest.fixture
def drawn(furnished):
    """The view, drawn for an analysis and what the form names."""
    studio, backbone, file = furnished

    def draw(analysis, prompts=file):
        return tab.draw(studio, analysis, 0, backbone, prompts)

    return draw


def named(analysis, prompts):
    return replace(analysis, provenance={**analysis.provenance, "prompts": prompts})


def test_the_view_shows_the_plan_of_the_loaded_prompts(drawn):
    note, own, beside, other, table, *_ = drawn(named(ask(), "fresh"))
    assert "Prompts are replaced" in note
    assert "carried, MPL" in beside.replace("\\", "")
    layers = count_prompts(METHODS["drople"].plan, **LAYERS)["image"]
    assert list(own.data[1].y) == [one.added for one in layers]
    assert list(other.data[1].y) == [1, 2, 2, 2]
    assert len(table["data"]) == 4


def test_of_other_prompts_than_the_analysis_has_nothing_is_drawn(drawn):
    note, own, _, other, table, learnt, sizes = drawn(named(ask(), "others"))
    assert note == tab.plain_text(tab.OTHER_PROMPTS)
    assert own is other is None
    assert table["data"] == []
    assert learnt
    assert len(sizes["data"]) == len(learnt_numbers())


def test_a_file_that_is_gone_is_said(drawn):
    assert "Give the path" in drawn(named(ask(), "gone"), "gone.safetensors")[0]


def test_without_prompts_there_is_nothing_to_count(drawn):
    assert drawn(analysed("frozen only"))[0] == tab.plain_text(NO_DROPOUT_HERE)


@pytest.mark.parametrize("kind", KINDS)
def test_any_analysis_can_be_looked_at(kind):
    shown = tab.draw(FurnishedStudio(), analysed(kind), 0, "tiny", "none")
    assert len(shown) == 7
