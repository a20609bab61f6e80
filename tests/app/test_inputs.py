"""What a visitor fills in: the form as settings, examples and presets."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import fields
from types import SimpleNamespace

import gradio as gr
import pytest
from furnished import FORM, FurnishedStudio, save_fresh_prompts, save_tiny_clip
from PIL import Image

from app.examples import EXAMPLES
from app.form import SEED, SETTINGS, Form, settings_of
from app.inputs import (
    CODE,
    CUSTOM,
    KNOBS,
    OWN_CLASSES,
    PAPER,
    PRESETS,
    TRAINED,
    build_inputs,
    build_picker,
    choose_example,
    next_seed,
    preset_classes,
    preset_dropout,
)
from app.studio import Studio
from drople.analysis import AnalysisSettings
from drople.classes import parse_class_list
from drople.errors import SettingsError
from drople.models.backbone import load_backbone
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings
from drople.tokens.importance import SignalWeights
from drople.training.config import OUR_DROPOUT


@pytest.fixture
def inputs():
    with gr.Blocks():
        inputs = build_inputs(FurnishedStudio(), "CPU")
        inputs.target.render()
    return inputs


def test_the_form_starts_with_the_hosts_prompts_and_their_classes(tmp_path):
    file = save_fresh_prompts(tmp_path / "mine.safetensors", load_backbone("mini"))
    with gr.Blocks():
        form = build_inputs(Studio("cpu", own_files=False, prompts=str(file)), "CPU").form
    assert (form["backbone"].value, form["prompts"].value) == ("mini", "mine")
    assert form["classes"].value == "cheetah, lion"
    assert ("mine", "mine") in form["prompts"].choices


def test_a_form_that_says_nothing_of_dropout_means_that_of_the_prompts():
    trained = DropoutSettings(strategy="vanilla", mode="hide", p=0.7, drop_sos=True)
    assert settings_of(Form(), trained=trained) == AnalysisSettings(dropout=trained)


def test_the_form_as_it_stands_means_the_defaults():
    settings = settings_of(Form(**FORM), trained=DropoutSettings())
    assert settings.dropout == DropoutSettings()
    assert (settings.seed, settings.target, settings.matched) == (0, None, True)


def test_what_the_form_cannot_say_is_as_the_prompts_were_trained():
    trained = DropoutSettings(image_depth=2, text_depth=3, sigma=0.5, normalisation="rank")
    dropout = settings_of(Form(**FORM), trained=trained).dropout
    assert dropout == trained


def test_every_value_of_the_form_reaches_the_settings():
    changes = {"p": 0.7, "p_min": 0.2, "p_max": 0.9, "w_self": 3, "w_cls": 2, "w_cross": 0}
    settings = settings_of(Form(**FORM | changes | {"seed": 9}), trained=DropoutSettings())
    dropout = settings.dropout
    assert (dropout.p, dropout.p_min, dropout.p_max) == (0.7, 0.2, 0.9)
    assert dropout.weights == SignalWeights(s_self=3, s_cls=2, s_cross=0)
    assert settings.seed == 9


@pytest.mark.parametrize(("shown", "layer"), [(0, None), (None, None), (1, 0), (3.0, 2)])
def test_maps_are_asked_of_a_block_counted_from_one_or_of_the_last(shown, layer):
    form = Form(**FORM, cam_method="layercam", cam_layer=shown)
    settings = settings_of(form, trained=DropoutSettings())
    assert (settings.cam_method, settings.cam_layer) == ("layercam", layer)


def test_what_is_only_looked_at_makes_no_analysis_stale(inputs):
    shown = (inputs.target, *inputs.pair)
    edited = [event.__self__ for event in inputs.edited()]
    assert not {id(one) for one in shown} & {id(one) for one in edited}
    assert len(edited) == len(inputs.form) - len(shown) + 1  # the preset of the dropout


@pytest.mark.parametrize("seed", [None, 0, 3.0])
def test_a_seed_is_a_whole_number(seed):
    expected = int(seed or 0)
    assert settings_of(Form(**FORM | {"seed": seed}), trained=DropoutSettings()).seed == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p_min": 0.6}, "swap them"),
        ({"p_max": 1.5}, "must lie in"),
        ({"mode": "burn"}, "choose one of zero"),
        ({"placement": "before"}, "choose one of next"),
        ({"w_cls": -1}, "must lie in"),
    ],
)
def test_a_value_out_of_its_range_is_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        settings_of(Form(**FORM | change), trained=DropoutSettings())


def test_the_form_has_a_component_for_every_setting_and_a_field_for_every_component(inputs):
    assert {one.name for one in fields(Form)} == {*inputs.form}


def test_the_page_refuses_what_a_link_may_not_say(inputs):
    for name, setting in SETTINGS.items():
        component = inputs.form[name]
        if isinstance(component, gr.Slider | gr.Number):
            assert setting.read(component.maximum) == component.maximum
            assert setting.read(component.maximum + 1) is None
            assert setting.read(component.minimum - 1) is None


def test_a_draw_follows_every_draw():
    assert [next_seed(seed) for seed in (None, 0, 7, SEED["maximum"])] == [1, 1, 8, 0]


# --- examples and presets ---


def test_the_picker_offers_every_example_with_its_photograph():
    with gr.Blocks():
        html = build_picker().html_template
    assert re.findall('data-name="(.*?)"', html) == [one.name for one in EXAMPLES]
    photos = re.findall('src="data:image/jpeg;base64,(.*?)"', html)
    sizes = [Image.open(io.BytesIO(base64.b64decode(one))).size for one in photos]
    assert len(sizes) == len(EXAMPLES)
    assert all(wide <= 208 and high <= 156 for wide, high in sizes)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_an_example_brings_its_photograph_and_classes(example):
    chosen = choose_example(SimpleNamespace(name=example.name))
    assert chosen == (example.photo, example.classes, example.name)


def test_an_example_that_does_not_exist_is_the_first():
    assert choose_example(SimpleNamespace(name="../etc"))[2] == EXAMPLES[0].name


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """A studio with one file of prompts, the file's name and its backbone."""
    folder = tmp_path_factory.mktemp("furnished")
    name = save_tiny_clip(folder / "tiny")
    path = save_fresh_prompts(folder / "fresh.safetensors", load_backbone(name))
    return FurnishedStudio(path), str(path), name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_list_of_distinct_classes(furnished, preset):
    names = preset_classes(furnished[0], preset, *furnished[1:]).split(", ")
    assert parse_class_list(", ".join(names)) == tuple(names)


def test_the_classes_of_the_prompts_can_be_chosen(furnished):
    assert preset_classes(furnished[0], OWN_CLASSES, *furnished[1:]) == "cheetah, lion"


def test_choosing_the_official_code_lets_sos_be_dropped_too(furnished):
    chosen = dict(zip(KNOBS, preset_dropout(furnished[0], CODE, *furnished[1:]), strict=True))
    assert settings_of(Form(**FORM | chosen), trained=DropoutSettings()).dropout == OFFICIAL_CODE


@pytest.mark.parametrize(
    ("preset", "expected"),
    [(TRAINED, OUR_DROPOUT), (PAPER, DropoutSettings()), (CODE, OFFICIAL_CODE)],
)
def test_a_dropout_preset_fills_the_form(furnished, preset, expected):
    values = preset_dropout(furnished[0], preset, *furnished[1:])
    assert values[:4] == [expected.mode, expected.placement, expected.p_min, expected.p_max]
    assert values[4:] == [*vars(expected.weights).values()]


def test_values_set_by_hand_are_left_alone(furnished):
    assert preset_dropout(furnished[0], CUSTOM, *furnished[1:]) == [gr.skip()] * len(KNOBS)


def test_own_prompts_show_what_they_were_trained_with(tmp_path):
    from app.form import dropout_values
    from app.studio import Studio
    from drople.models.backbone import load_backbone
    from drople.storage.prompts import read_card

    path = save_fresh_prompts(tmp_path / "mine.safetensors", load_backbone("mini"))
    values = preset_dropout(Studio("cpu"), TRAINED, str(path), "mini")
    assert values == [*dropout_values(read_card(path).dropout).values()]
