"""Every tab over every kind of analysis: it draws, from the analysis alone, what it names."""

from __future__ import annotations

import gc
import weakref

import gradio as gr
import pytest
from analysed import KINDS, MANY_NAMES, analysed
from gradio.blocks import Block
from tiny import NAMES, noise_picture, prompted, tiny_clip, wrap

from app.figures.importance import SIGNAL_NAMES
from app.tabs import cams, dropped, importance, predictions
from app.tabs.shared import target_index
from drople.analysis import analyse


@pytest.fixture(scope="module")
def views():
    """The views of all tabs, as the page holds them."""
    with gr.Blocks():
        state = gr.State(None)
        tabs = [predictions.build(), importance.build(state), dropped.build(), cams.build()[0]]
    return [view for tab in tabs for view in tab]


def drawn(view, analysis, target=None):
    """What a view shows in each of its outputs, with its controls as they stand at first."""
    values = view.drawn(analysis, target, *(control.value for control in view.controls))
    return list(values) if len(view.outputs) > 1 else [values]


def assert_fits(component, value):
    """The value can be sent to the component, or is a change of such a component."""
    if isinstance(value, Block):
        assert type(value) is type(component)
    elif not isinstance(value, dict) or "__type__" not in value:
        component.postprocess(value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_tab_draws_every_kind_of_analysis(views, kind):
    for view in views:
        values = drawn(view, analysed(kind))
        assert len(values) == len(view.outputs)
        for component, value in zip(view.outputs, values, strict=True):
            assert_fits(component, value)


def test_before_the_first_analysis_nothing_changes(views):
    for view in views:
        assert drawn(view, None) == [gr.skip()] * len(view.outputs)


def test_drawing_needs_no_model(views):
    model = prompted(wrap(tiny_clip()))
    analysis = analyse(model, noise_picture(), NAMES)
    gone = weakref.ref(model.backbone.clip)
    del model
    gc.collect()
    assert gone() is None
    for view in views:
        assert len(drawn(view, analysis)) == len(view.outputs)


def test_every_class_of_a_long_list_can_be_looked_at(views):
    for view in views:
        for target in (MANY_NAMES[0], MANY_NAMES[-1]):
            assert len(drawn(view, analysed("many classes"), target)) == len(view.outputs)


def test_the_class_looked_at_is_found_by_its_name():
    assert target_index(analysed(), NAMES[2]) == 2


@pytest.mark.parametrize(("kind", "branch"), [("ordinary", "adapted"), ("frozen only", "frozen")])
@pytest.mark.parametrize("target", [None, "", "no such class"])
def test_without_a_class_to_look_at_it_is_the_answer(kind, branch, target):
    expected = analysed(kind).predictions[branch].cosines.argmax()
    assert target_index(analysed(kind), target) == expected


# --- token importance ---


@pytest.mark.parametrize("signal", SIGNAL_NAMES)
@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "coupled prompts, no bridge"])
def test_every_signal_can_be_asked_for_at_every_layer(kind, signal):
    for layer in (1, 4, 12):
        caption, figure, *_ = importance.draw_large(
            analysed(kind), 0, signal, "adapted", layer, 0.5, True
        )
        assert caption.startswith(f"Layer {min(layer, 4)};")
        assert figure.data[0].z.shape == (4, 4)


def test_only_the_signals_there_are_can_be_chosen():
    analysis = analysed("coupled prompts, no bridge")
    _, _, choice, _ = importance.draw_strip(analysis, 0, "s_cross", "adapted", 1, True)
    assert [key for _, key in choice.choices] == ["blend", "s_self", "s_cls", "p"]
    assert choice.value == "blend"


def test_the_layer_slider_reaches_as_far_as_the_tower():
    *_, slider = importance.draw_strip(analysed(), 0, "blend", "adapted", 1, True)
    assert slider.maximum == 4


def test_each_layer_has_a_map_of_its_own():
    figures = [
        importance.draw_large(analysed(), 0, "blend", "adapted", layer, 0.5, True)[1]
        for layer in (1, 2, 3, 4)
    ]
    assert len({figure.data[0].z.tobytes() for figure in figures}) == 4


@pytest.mark.parametrize(("x", "y", "layer"), [(80, 80, 1), (240, 80, 2), (550, 80, 4)])
def test_clicking_a_tile_gives_its_layer(x, y, layer):
    click = gr.SelectData(None, {"index": [x, y], "value": None})
    assert importance.chosen_layer(analysed(), 9, click) == layer


def test_clicking_beside_the_tiles_changes_nothing():
    click = gr.SelectData(None, {"index": [80, 300], "value": None})
    assert importance.chosen_layer(analysed(), 9, click) == gr.skip()


def test_the_words_shown_are_those_of_the_class_looked_at():
    tables = [importance.draw_words(analysed(), i, "blend", "adapted") for i in range(3)]
    assert "retriever" in tables[2]
    assert "retriever" not in tables[0]


# --- dropped tokens ---


def test_without_prompts_nothing_is_dropped_and_it_is_said():
    *_, said = dropped.draw(analysed("frozen only"), 0, 1, dropped.ONE)
    assert said == "Without trained prompts there is nothing to drop from."


@pytest.mark.parametrize("view", [dropped.ONE, dropped.OFTEN])
@pytest.mark.parametrize("kind", ["shallow dropout", "no image dropout", "modular prompts"])
def test_dropped_tokens_are_drawn_for_every_layer(kind, view):
    for layer in (1, 4, 12):
        left, right, bar, said = dropped.draw(analysed(kind), 0, layer, view)
        assert left.value is not None
        assert right.value is not None
        assert said
        assert bar


def test_both_dropouts_are_drawn_at_the_layer_asked_for():
    analysis = analysed("shallow dropout")
    acting, idle = (dropped.draw(analysis, 0, layer, dropped.ONE) for layer in (1, 4))
    assert acting[3].startswith("After layer 1")
    assert idle[3].startswith("No dropout acts after layer 4")


# --- class activation maps ---


def test_a_condition_that_is_missing_hides_its_panel():
    values = cams.draw(analysed("frozen only"), 0, 0.5)
    shown = [values[i].visible for i in (0, 2, 4, 6)]
    assert shown == [True, False, False, False]


def test_a_class_without_a_map_says_how_to_get_one():
    analysis = analysed("many classes")
    missing = next(i for i in range(30) if i not in analysis.maps.classes)
    said = cams.draw(analysis, missing, 0.5)[-1]
    assert "Press Analyse" in said
    assert cams.draw_wipe(analysis, missing, 0.5, "vanilla", "iwtd", "A") == (None, None)


def test_a_map_tells_its_condition_to_those_who_cannot_see_it():
    values = cams.draw(analysed(), 0, 0.5)
    said = [values[i].alt_text.split(":")[0] for i in (1, 3, 5, 7)]
    assert said == ["Frozen", "Adapted", "Vanilla dropout", "IWTD"]


@pytest.mark.parametrize(("side", "chosen"), [("A", 0), ("B", 1)])
def test_flipping_shows_one_of_the_two_that_are_wiped(side, chosen):
    pair, flipped = cams.draw_wipe(analysed(), 0, 0.5, "frozen", "iwtd", side)
    shown = flipped.value["path"] if isinstance(flipped.value, dict) else flipped.value
    assert flipped.alt_text == f"{side}: {('Frozen', 'IWTD')[chosen]}"
    assert shown is not None
    assert (pair[0] != pair[1]).any()


def test_without_prompts_the_frozen_map_is_wiped_against_itself():
    pair, _ = cams.draw_wipe(analysed("frozen only"), 0, 0.5, "vanilla", "iwtd", "A")
    assert (pair[0] == pair[1]).all()


def test_maps_can_be_asked_for_as_deep_as_the_tower():
    assert cams.draw_reach(analysed(), 0).maximum == 4
