"""Attention: the model's own, rolled out as the paper says, with prompts as a source of theirs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from analysed import analysed, ask, tiny
from computed import asked, silent
from tiny import NAMES, noise_picture, prompted

from app.lab import attention_maps as tab
from app.lab.display.attention_maps import attention_sentence, heads_strip, heads_table
from app.lab.question import Result
from app.studio import Loaded
from app.tabs import texts
from drople.analysis import analyse
from drople.lab.attention_maps import attention_layers, roll_out
from drople.models.prompts import PromptPlan

MODEL = prompted(tiny())
MODULAR = prompted(tiny(), PromptPlan(kind="modular"), bridge=0)
PIXELS = MODEL.backbone.pixels(noise_picture())
BATCH = MODEL.backbone.normalise(PIXELS[None])


def records_of(model, **changes):
    """The layers of a run, their attention replaced where asked."""
    with torch.no_grad():
        records = list(model.image_layers(BATCH))
    return [replace(r, **{k: v(r) for k, v in changes.items()}) for r in records]


# --- rollout ---


def test_the_rollout_of_the_frozen_branch_is_the_product_of_the_layers():
    records = records_of(MODEL.backbone)
    product = torch.eye(17)
    for record, found in zip(records, roll_out(records, ()), strict=True):
        product = (record.attention[0].mean(0) / 2 + torch.eye(17) / 2) @ product
        torch.testing.assert_close(found[:, :17], product)
        assert (found[:, 17] == 0).all()


@pytest.mark.parametrize("model", [MODEL, MODULAR], ids=["replaced", "modular"])
def test_every_token_consists_of_its_sources(model):
    for one in attention_layers(model, PIXELS)["adapted"]:
        np.testing.assert_allclose(one.rollout.sum(axis=1), 1, rtol=1e-5)
        assert (one.rollout >= 0).all()
        assert len(one.rollout) == one.heads.shape[-1]


def test_with_attention_to_itself_alone_every_token_stays_what_it_was():
    stay = records_of(MODEL, attention=lambda r: torch.eye(r.tokens.shape[1])[None, None])
    for found in roll_out(stay, MODEL.prompts.image_steps()):
        torch.testing.assert_close(found[:17, :17], torch.eye(17))
        assert (found[17:, 17] == 1).all()


def test_fresh_prompts_forget_what_those_before_them_held():
    def look(record):  # all tokens look at patch 3 alone
        attention = torch.zeros(1, 1, record.tokens.shape[1], record.tokens.shape[1])
        attention[..., 3] = 1
        return attention

    found = roll_out(records_of(MODEL, attention=look), MODEL.prompts.image_steps())
    for one in found:  # fresh at each of the four layers, so half prompt after each of them
        torch.testing.assert_close(one[17:, 17], torch.full((4,), 0.5))
    torch.testing.assert_close(found[3][0, 0], torch.tensor(1 / 16))


# --- heads ---


def test_the_heads_are_the_models_own():
    for one, record in zip(
        attention_layers(MODEL, PIXELS)["adapted"], records_of(MODEL), strict=True
    ):
        np.testing.assert_allclose(one.heads, record.attention[0], atol=1e-3)
    assert list(attention_layers(MODEL.backbone, PIXELS)) == ["frozen"]


def test_rows_and_words_hold_the_shares():
    layers = attention_layers(MODEL, PIXELS)["adapted"]
    rows = heads_table(layers, 0)["data"]
    assert len(rows) == 4 * 4
    for row in rows:
        assert sum(float(cell.rstrip(" %")) for cell in row[2:5]) == pytest.approx(100, abs=0.3)
    assert attention_sentence(layers, 1, 0, name="it").startswith("Layer 2: it gives")
    shown = heads_strip(ask(), layers, 0, token=0)
    assert shown.pixels.shape[2] == 4
    assert shown.scales[0].low == 0


def test_a_prompt_that_later_layers_alone_have_can_be_looked_at():
    layers = attention_layers(MODULAR, PIXELS)["adapted"]
    last = layers[-1].heads.shape[-1] - 1
    assert last >= layers[0].heads.shape[-1]
    assert 0 < len(heads_table(layers, last)["data"]) < 16
    assert heads_strip(ask(), layers, 3, token=last).scales[0].high > 0


# --- the view ---


def read():
    return attention_layers(MODEL, PIXELS)


@pytest.mark.parametrize("kind", [tab.CLS, tab.PATCH, tab.PROMPT])
@pytest.mark.parametrize("branch", ["frozen", "adapted"])
def test_every_token_of_both_branches_is_drawn(kind, branch):
    drawn = tab.draw(analysed(), 0, read(), branch, kind, 14, 14, 12)
    assert drawn[0] is not None
    assert "Layer 4" in drawn[4]
    assert len(tab.draw_table(analysed(), 0, read(), branch, kind, 1, 1)["data"]) == 16


def test_the_animation_ends_after_the_last_layer():
    result = Result(analysed(), None, read())
    assert tab.next_layer(3, result)[0] == 4
    for layer, known in ((4, result), (1, None)):
        assert tab.next_layer(layer, known)[1].active is False


def test_the_view_reads_what_the_analysis_was_made_with():
    studio = SimpleNamespace(load=lambda *a: Loaded(MODEL, None, "p", ""))
    (attention,) = tab.compute(asked(studio, ask(), 0), progress=silent)
    assert list(attention) == ["frozen", "adapted"]


# --- all texts ---


def test_every_class_has_its_strip_on_one_scale():
    bar, strips = texts.draw(analysed("odd names"), 2, "blend", "adapted")
    assert strips.count("<table") == 8
    assert "<img" not in strips
    assert strips.index("leopard") < strips.index("&lt;img")  # the class looked at comes first
    assert bar.count("lens-bar-colours") == 1
    frozen = analyse(MODEL.backbone, noise_picture(), NAMES)
    assert texts.draw(frozen, 0, "p", "adapted")[1].count("<table") == 3
