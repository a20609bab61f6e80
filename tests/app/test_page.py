"""The page's callbacks, called directly."""

from __future__ import annotations

from collections import Counter

import pytest
from analysed import ODD_NAMES
from furnished import FORM, FurnishedStudio
from gradio import Error
from tiny import noise_picture

from app.demo import build_demo
from app.page import Page
from app.studio import NO_PROMPTS

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


def last(steps):
    """What a callback shows in the end."""
    *_, shown = steps
    return shown


@pytest.fixture
def visit(furnished):
    """Presses Analyse with a picture of noise, two classes and the form as it stands."""
    studio, backbone, prompts = furnished

    def press(**changes):
        question = {"image": noise_picture(), "classes": "cat, dog"}
        model = {"backbone": backbone, "prompts": prompts}
        return last(Page(studio).analyse(**{**question, **model, **FORM, **changes}))

    return press


def test_an_analysis_comes_with_the_answer_in_words(visit):
    analysis, answer, target, foot = visit()
    assert analysis.classes == ("cat", "dog")
    for name in ("Frozen", "Adapted", "Vanilla dropout", "IWTD"):
        assert f"{name}: " in answer
    assert target.value in analysis.classes
    assert analysis.provenance["prompts_hash"][:6] in foot


def test_the_answer_says_which_classes_the_prompts_learnt(visit):
    _, answer, *_ = visit(classes="lion, a <b>dog")
    assert "The prompts learnt 1 of 2 listed classes." in answer
    assert "Learnt: lion. New to the prompts: a &lt;b&gt;dog." in answer
    assert "The prompts learnt" not in visit(prompts=NO_PROMPTS)[1]


def test_without_prompts_the_frozen_branch_alone_answers(visit):
    analysis, answer, *_ = visit(prompts=NO_PROMPTS)
    assert analysis.conditions == ("frozen",)
    assert "only the frozen branch is shown" in answer


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("cat, Cat , dog\nCAT", ("cat", "dog")),
        ("cat", ("cat",)),
        ("cat;dog\r\n\r\n  sea   lion ", ("cat", "dog", "sea lion")),
        ("c\x00at, \u202edog\u200b", ("c at", "dog")),
        ("cat\ud800, dog", ("cat?", "dog")),
    ],
)
def test_a_class_list_is_read_as_a_person_meant_it(visit, classes, expected):
    analysis, answer, target, _ = visit(classes=classes)
    assert analysis.classes == expected
    assert answer.encode()
    assert target.choices == [(name, name) for name in expected]


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if ";" not in name])
def test_a_name_that_looks_like_markup_is_shown_as_text(visit, name):
    analysis, answer, target, _ = visit(classes=name)
    assert analysis.classes == (name,)
    assert target.value == name
    assert "<img" not in answer


def test_one_class_is_certain(visit):
    analysis, answer, *_ = visit(classes="cat")
    assert "Frozen: cat 1.00" in answer
    assert analysis.predictions["iwtd"].probabilities.tolist() == [1.0]


@pytest.mark.slow
def test_two_thousand_classes_are_analysed(visit):
    analysis, _, target, _ = visit(classes=", ".join(f"thing {i}" for i in range(2000)))
    assert len(analysis.classes) == 2000
    assert len(analysis.maps.classes) == len(target.choices) == 10


def test_the_class_looked_at_stays_and_has_a_map(visit):
    names = [f"thing {i}" for i in range(30)]
    for name in names[::10]:
        analysis, _, target, _ = visit(classes=", ".join(names), target=name)
        assert target.value == name
        assert analysis.classes.index(name) in analysis.maps.classes


def test_maps_of_another_method_and_layer_can_be_computed(visit):
    maps = visit(cam_method="layercam", cam_layer=2)[0].maps
    assert (maps.method, maps.layer) == ("layercam", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "There is no picture yet."),
        ({"classes": ""}, "The class list is empty."),
        ({"classes": " ,;\n\u200b"}, "The class list is empty."),
        ({"classes": ",".join(map(str, range(2001)))}, "2,001 names; at most 2,000"),
        ({"classes": "a " * 100}, "tokens long"),
        ({"template": "a photo"}, "must hold {} once"),
        ({"template": "{} and {}"}, "must hold {} once"),
        ({"p_min": 0.6}, "p_min (0.6) is above p_max (0.5); swap them."),
        ({"mode": "burn"}, "mode is 'burn'; choose one of zero"),
        ({"prompts": "nothing"}, "There is no file 'nothing'."),
        ({"backbone": "nothing"}, "No CLIP is called 'nothing'."),
        ({"cam_layer": 99}, "Layer 98 does not exist"),
        ({"cam_method": "magic"}, "No map is called 'magic'"),
    ],
)
def test_what_cannot_be_analysed_is_said_in_a_sentence(visit, change, words):
    with pytest.raises(Error) as caught:
        visit(**change)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


class BrokenStudio(FurnishedStudio):
    """A studio in which something unforeseen happens."""

    def load(self, *_):
        raise RuntimeError("/home/somebody/secret.py broke")


def test_an_unforeseen_failure_tells_no_secrets():
    with pytest.raises(Error) as caught:
        last(Page(BrokenStudio()).analyse(image=noise_picture(), classes="cat"))
    assert "Something went wrong on our side" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "There is no picture yet."),
        ({"classes": ""}, "The class list is empty."),
        ({"prompts": "nothing"}, "There is no file 'nothing'."),
        ({"backbone": "nothing"}, "No CLIP is called 'nothing'."),
    ],
)
def test_a_program_is_told_in_the_same_words(furnished, change, words):
    studio, backbone, prompts = furnished
    asked = {"image": noise_picture(), "classes": "cat", "backbone": backbone, "prompts": prompts}
    with pytest.raises(Error) as caught:
        Page(studio).api_analyse(**asked | change)
    assert words in caught.value.message


def test_what_the_page_chooses_itself_is_not_drawn_twice(furnished):
    demo = build_demo(furnished[0])
    target = next(i for i, block in demo.blocks.items() if block.elem_id == "target")
    events = [event for one in demo.fns.values() for i, event in one.targets if i == target]
    assert events == ["select"]


def test_no_two_callbacks_keep_each_other_going(furnished):
    """Gradio repeats all callbacks of an event where one was asked again: `independent_event`."""
    demo = build_demo(furnished[0])
    patient = Counter(
        target
        for one in demo.fns.values()
        for target in one.targets
        if one.trigger_mode == "always_last" and one.fn is not None and target[0] in demo.blocks
    )
    assert max(patient.values()) == 1
