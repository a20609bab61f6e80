"""Sinks: a planted one is found, nothing else is, and p without it is spread out again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from analysed import ask, tiny
from computed import asked, silent, views_of
from tiny import NAMES, noise_picture, prompted

from app.figures.patches import outline
from app.lab import sinks as tab
from app.lab.display.sinks import effects_table, p_sheet, sinks_sentence, sinks_sheet, sinks_table
from app.lab.question import Result
from app.studio import Loaded
from drople.analysis import analyse
from drople.errors import SettingsError
from drople.lab.sinks import (
    far_out,
    find_sinks,
    layer_sinks,
    received_attention,
    sink_effects,
    without_sinks,
)
from drople.models.towers import LayerRecord
from drople.tokens.dropout import DropoutSettings
from drople.tokens.layout import TokenLayout

MODEL = prompted(tiny())
PIXELS = MODEL.backbone.pixels(noise_picture())
LAYOUT = TokenLayout(
    torch.zeros(1, dtype=torch.long), torch.arange(11)[None] > 0, torch.arange(11)[None] > 0,
    slice(10, 11), (3, 3),
)  # fmt: skip


def record(norms, attention):
    """One layer with these norms (11,) and attention (11, 11)."""
    tokens = torch.eye(11)[None] * torch.tensor(norms)[:, None]
    return LayerRecord(
        0, LAYOUT, tokens, None, tokens, torch.tensor(attention)[None, None], None, None, None
    )


def planted(place, share=0.5):
    """Rows of attention that each give `share` to one place and the rest evenly to all others."""
    attention = np.full((11, 11), (1 - share) / 10)
    attention[:, place] = share
    return attention.astype(np.float32)


# --- the rule ---


def test_a_planted_sink_is_found_by_its_norm_and_by_its_attention():
    norms = [1.0, 2, 2.1, 2.2, 9, 2.3, 2, 2.1, 2.2, 2.3, 2.1]
    one = layer_sinks(record(norms, planted(4)))
    assert one.high_norm.nonzero()[0].tolist() == [4]
    assert one.high_attention.nonzero()[0].tolist() == [4]
    assert one.share == pytest.approx(0.5 * 10 / (0.5 * 10 + 0.05 * 10 * 9 + 0.05 * 10), rel=1e-5)
    np.testing.assert_allclose(one.norms, norms, rtol=1e-6)


def test_the_class_token_is_never_a_sink():
    norms = [50.0, *[2.0] * 10]
    one = layer_sinks(record(norms, planted(0)))
    assert not one.high_norm.any()
    assert not one.high_attention.any()


def test_a_prompt_can_be_a_sink():
    one = layer_sinks(record([2.0] * 11, planted(10)))
    assert one.high_attention.nonzero()[0].tolist() == [10]
    sentence = sinks_sentence({"adapted": [one]}, 0)
    assert "none of them has both; among the latter learned prompts P1" in sentence


def test_the_fence_is_three_quartile_widths_above_the_upper_quartile():
    values = np.array([0, 1, 2, 3, 4, 100.0, 9.99, 10.01])
    scope = np.arange(8) < 5  # quartiles 1 and 3: the fence is at 9
    assert not far_out(values, scope).any()
    inside = np.array([0, 1, 2, 3, 9.01])
    assert far_out(inside, np.ones(5, dtype=bool)).tolist() == [False] * 4 + [True]
    assert not far_out(np.array([0, 1, 2, 3, 9.0]), np.ones(5, dtype=bool)).any()


def test_even_attention_is_one_share_for_everybody():
    even = torch.full((2, 3, 5, 5), 0.2)
    torch.testing.assert_close(received_attention(even), torch.ones(2, 5))


def test_a_token_that_attends_to_itself_receives_nothing():
    torch.testing.assert_close(received_attention(torch.eye(4)[None, None]), torch.zeros(1, 4))


# --- of a model ---


def test_both_branches_are_read_as_they_enter_each_layer():
    found = find_sinks(MODEL, PIXELS)
    batch = MODEL.backbone.normalise(PIXELS[None])
    for name, records in (
        ("frozen", MODEL.backbone.image_layers(batch)),
        ("adapted", MODEL.image_layers(batch)),
    ):
        for one, made in zip(found[name], records, strict=True):
            np.testing.assert_allclose(one.norms, made.entering[0].norm(dim=-1), rtol=1e-6)
    assert len(found["adapted"][0].norms) == len(found["frozen"][0].norms) + 4
    assert list(find_sinks(MODEL.backbone, PIXELS)) == ["frozen"]
    assert sinks_sheet(ask(), found, 1).pixels.shape[1] == 2 * 300 + 8
    assert len(sinks_table(found)["data"]) == 8


def test_without_sinks_only_the_scale_of_p_changes():
    before = ask(seed=3)
    settings = without_sinks(before.settings)
    assert settings.dropout == replace(before.settings.dropout, normalisation="no_sinks")
    after = analyse(MODEL, noise_picture(), NAMES, settings)
    effects = sink_effects(before, after)
    assert len(effects) == 4
    for one, a, b in zip(
        effects, before.images["adapted"].layers, after.images["adapted"].layers, strict=True
    ):
        np.testing.assert_array_equal(a.blend, b.blend)
        assert one.mean_p[0] == pytest.approx(a.probability[a.eligible].mean())
        assert one.mean_p[1] <= one.mean_p[0] + 1e-6  # the scale can only become narrower
        assert one.dropped[0] == before.images["iwtd"].layers[one.depth].dropped.sum()
        aside = far_out(a.blend[0], a.content[0])
        assert one.set_aside == aside.sum()
        np.testing.assert_allclose(b.probability[0][aside], settings.dropout.p_min, atol=1e-6)
    assert len(effects_table(effects)["data"]) == 4


def test_no_p_is_drawn_where_no_dropout_acts():
    shallow = ask(dropout=DropoutSettings(image_depth=1))
    assert p_sheet(shallow, shallow, 0) is not None
    assert p_sheet(shallow, shallow, 2) is None
    assert len(sink_effects(shallow, shallow)) == 1


def test_a_frame_leaves_the_rest_of_a_picture_alone():
    picture = np.full((40, 40, 3), 100, dtype=np.uint8)
    marked = np.zeros((4, 4), dtype=bool)
    marked[1, 2] = True
    framed = outline(picture, marked)
    changed = (framed != picture).any(axis=2)
    assert changed[10:20, 20:30].any()
    changed[10:20, 20:30] = False
    assert not changed.any()


# --- the view ---


class TinyStudio:
    """Stands in for a studio: does what it is asked with the tiny model."""

    def load(self, backbone, prompts):
        return Loaded(MODEL if prompts else MODEL.backbone, None, "p", "")

    def analyse(self, loaded, image, classes, settings):
        return analyse(loaded.model, image, classes, settings)


def test_the_view_shows_the_sinks_first_and_then_what_they_do():
    first, second = tab.compute(asked(TinyStudio(), ask(), 0), progress=silent)
    assert (first[1] is None, second[1] is None) == (True, False)
    assert tab.draw(ask(), 0, first, 2)[0] is not None
    assert tab.draw_again(ask(), 0, first, 2)[0] is None
    assert "One draw" in tab.draw_again(ask(), 0, second, 2)[2]


def test_without_prompts_the_frozen_branch_is_shown_alone():
    frozen = analyse(MODEL.backbone, noise_picture(), NAMES)
    (found,) = tab.compute(asked(TinyStudio(), frozen, 0, prompts=""), progress=silent)
    assert list(found[0]) == ["frozen"]
    assert "nothing to drop" in tab.draw_again(frozen, 0, found, 1)[2]


def test_sinks_are_those_of_every_class_and_of_no_other_picture():
    show, result = views_of(tab)[0].draw, Result(ask(), None, (find_sinks(MODEL, PIXELS), None))
    assert show(ask(), 0, result, 1)[0] is not None
    assert show(ask(), 1, result, 1)[0] is not None
    assert show(ask(seed=9), 0, result, 1)[2] == tab.PRESS


def test_another_model_on_the_left_is_refused():
    with pytest.raises(SettingsError, match="no longer those of this analysis"):
        next(tab.compute(asked(TinyStudio(), ask(), 0, prompts=""), progress=silent))
