"""Modes side by side: each is the analysis with that mode, and draws the same tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, ask, tiny
from tiny import NAMES, noise_picture, prompted

from app.lab import modes as tab
from app.lab.display.modes import modes_figure, modes_sentence, modes_table
from drople.analysis import AnalysisSettings
from drople.class_texts import describe_classes
from drople.lab.modes import OFFICIAL, mode_effect, variants
from drople.tokens.dropout import DROP_MODES, OFFICIAL_CODE, DropoutSettings

MODEL = prompted(tiny())
SETTINGS = AnalysisSettings(seed=2)


def effects_of(mode, settings=SETTINGS):
    """Both dropouts' effects in one mode on the tiny model."""
    texts = describe_classes(MODEL, NAMES)
    pixels = MODEL.backbone.pixels(noise_picture())
    return mode_effect(MODEL, pixels, texts, settings=settings, target=1, mode=mode)


@pytest.mark.parametrize("mode", DROP_MODES)
def test_an_effect_is_what_an_analysis_in_that_mode_finds(mode):
    one = ask(seed=2, dropout=DropoutSettings(mode=mode))
    for effect in effects_of(mode):
        said, plain = one.predictions[effect.strategy], one.predictions["adapted"]
        change = said.logit_scale * (said.cosines[1] - plain.cosines[1])
        assert effect.logit_change == pytest.approx(float(change), abs=1e-4)
        assert effect.probability == pytest.approx(said.probabilities[1], abs=1e-5)
        assert effect.answer == said.cosines.argmax()


def test_the_preset_is_the_released_code():
    one = ask(seed=2, dropout=OFFICIAL_CODE)
    for effect in effects_of(OFFICIAL):
        said = one.predictions[effect.strategy]
        assert effect.probability == pytest.approx(said.probabilities[1], abs=1e-5)


def test_without_any_chance_of_a_drop_no_mode_changes_anything():
    never = replace(SETTINGS, dropout=DropoutSettings(p_min=0, p_max=0))
    for mode in DROP_MODES:
        assert all(abs(e.logit_change) < 1e-4 and e.drawn == 0 for e in effects_of(mode, never))


def test_noise_of_no_size_changes_nothing():
    still = replace(SETTINGS, dropout=DropoutSettings(sigma=0))
    for effect in effects_of("noise", still):
        assert effect.logit_change == pytest.approx(0, abs=1e-4)
        assert effect.drawn > 0


def test_the_preset_keeps_the_depths_of_the_prompts():
    code = variants(DropoutSettings(image_depth=2, text_depth=3, sigma=1.0))[OFFICIAL]
    assert (code.image_depth, code.text_depth) == (2, 3)
    assert replace(code, image_depth=6, text_depth=9) == OFFICIAL_CODE


def test_rows_words_and_bars_name_every_mode():
    modes = variants(SETTINGS.dropout)
    assert len(modes) > 4
    found = [effect for mode in modes for effect in effects_of(mode)]
    assert len(modes_table(found, NAMES)["data"]) == 2 * len(modes)
    assert [len(trace.y) for trace in modes_figure(found).data] == [len(modes)] * 2
    flipped = [replace(found[0], answer=0), *found[1:]]
    assert "zero" in modes_sentence(flipped, NAMES[1], NAMES)


def test_effects_are_drawn():
    figure, said, table = tab.draw(analysed(), 0, effects_of("zero"))
    assert figure is not None and "One draw" in said and len(table["data"]) == 2


def test_numbers_are_finite_with_one_class():
    texts = describe_classes(MODEL, NAMES[:1])
    pixels = MODEL.backbone.pixels(noise_picture())
    for effect in mode_effect(MODEL, pixels, texts, settings=SETTINGS, target=0, mode="zero"):
        assert np.isfinite(effect.logit_change)
        assert effect.probability == pytest.approx(1)
