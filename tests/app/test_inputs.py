"""What a visitor gives: pictures of every make, presets, and the form as settings."""

from __future__ import annotations

import base64
import io
import os
import re
from dataclasses import fields
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from furnished import FORM, FurnishedStudio, save_fresh_prompts, save_tiny_clip
from gradio.data_classes import ImageData
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
    SafeImage,
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
from drople.images import MAX_SIDE, read_image
from drople.models.backbone import load_backbone
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings
from drople.tokens.importance import SignalWeights
from drople.training.config import OUR_DROPOUT


def given(path):
    """What the app makes of a file that a visitor gave."""
    return SafeImage(type="pil").preprocess(ImageData(path=str(path), orig_name=path.name))


@pytest.fixture
def noise():
    """Pixels of noise, (40, 30, 3)."""
    return np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


# --- pictures ---


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "gif", "tiff"])
def test_every_usual_format_is_read_as_rgb(tmp_path, noise, ending):
    path = tmp_path / f"picture.{ending}"
    Image.fromarray(noise).save(path)
    picture = given(path)
    assert (picture.mode, picture.size) == ("RGB", (30, 40))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path, noise, mode):
    path = tmp_path / "picture.tiff"
    Image.fromarray(noise[..., 0]).convert(mode if mode != "I;16" else "I").convert(mode).save(path)
    assert given(path).mode == "RGB"


def test_a_cmyk_picture_keeps_its_colours(tmp_path):
    path = tmp_path / "red.jpg"
    Image.new("RGB", (32, 32), "red").convert("CMYK").save(path, quality=100)
    red, green, blue = np.asarray(given(path))[16, 16]
    assert red > 220
    assert max(green, blue) < 40


def test_a_picture_of_16_bits_is_scaled_and_not_clipped(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((32, 32), 32768, dtype=np.uint16)).save(path)
    np.testing.assert_array_equal(np.asarray(given(path)), 128)


def test_what_is_transparent_becomes_white(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(path)
    np.testing.assert_array_equal(np.asarray(given(path)), 255)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, ending):
    path = tmp_path / f"moving.{ending}"
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("blue", "red", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(np.asarray(given(path))[16, 16]) == (0, 0, 255)


def test_a_photograph_is_turned_upright_and_loses_its_metadata(tmp_path, noise):
    path, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # turn it to the right; who made it
    Image.fromarray(noise).save(path, exif=exif)
    picture = given(path)
    np.testing.assert_array_equal(np.asarray(picture), np.rot90(noise, -1))
    assert not picture.getexif()


def test_a_large_photograph_is_shrunk(tmp_path):
    path = tmp_path / "large.png"
    Image.new("1", (MAX_SIDE * 2, 64)).save(path)
    assert given(path).size == (MAX_SIDE, 32)


def of_text(path):
    path.write_text("I am no picture")


def empty(path):
    path.write_bytes(b"")


def cut_off(path):
    Image.effect_noise((64, 64), 50).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])


def of_one_pixel(path):
    Image.new("RGB", (1, 1)).save(path, "PNG")


def enormous(path):
    Image.new("1", (6000, 6000)).save(path, "PNG")


def drawn_as_svg(path):
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (of_text, "not a picture that can be read here"),
        (empty, "empty"),
        (cut_off, "damaged or incomplete"),
        (of_one_pixel, "at least 16 pixels a side"),
        (enormous, "megapixels"),
        (drawn_as_svg, "not a picture that can be read here"),
    ],
)
def test_a_file_that_is_no_good_picture_is_refused_in_words(tmp_path, make, words):
    path = tmp_path / "picture.jpg"
    make(path)
    with pytest.raises(gr.Error) as caught:
        given(path)
    assert words in caught.value.message


def test_a_picture_inside_an_address_is_refused(noise):
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    with pytest.raises(gr.Error) as caught:
        SafeImage(type="pil").accept({"url": url})
    assert caught.value.message == "Send the picture as a file."


def test_no_picture_is_none():
    assert SafeImage(type="pil").preprocess(None) is None


def test_a_picture_is_decoded_once_until_its_file_changes(tmp_path, monkeypatch):
    read, file = [], tmp_path / "a.png"
    monkeypatch.setattr("app.inputs.read_image", lambda path: read.append(path) or read_image(path))
    for value, events in ((10, 3), (20, 2)):
        Image.new("RGB", (20, 20), (value, 0, 0)).save(file)
        os.utime(file, ns=(value, value))
        image = SafeImage(type="pil")
        payload = ImageData(path=str(file), orig_name=file.name)
        assert {image.preprocess(payload).getpixel((0, 0))[0] for _ in range(events)} == {value}
    assert len(read) == 2


# --- the form ---


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
