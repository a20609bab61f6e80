"""The page's callbacks, called directly."""

from __future__ import annotations

import json
import re
from collections import Counter

import gradio as gr
import pytest
from analysed import ODD_NAMES
from furnished import FORM, FurnishedStudio
from gradio import Error
from tiny import noise_picture

from app.demo import build_demo
from app.page import Page
from app.studio import NO_PROMPTS, Studio

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


def last(steps):
    """What a callback shows in the end."""
    *_, shown = steps
    return shown


@pytest.fixture
def page(furnished):
    """The page's callbacks, five draws an overview."""
    page = Page(furnished[0])
    page.draws = 5
    return page


@pytest.fixture
def form(furnished):
    """A picture of noise, two classes and the form as it stands, changed."""
    _, backbone, prompts = furnished
    question = {"image": noise_picture(), "classes": "cat, dog"}
    model = {"backbone": backbone, "prompts": prompts}
    return lambda **changes: {**question, **model, **FORM, **changes}


@pytest.fixture
def visit(page, form):
    """Presses Analyse: the analysis, the overview with its draws, the payload, the classes."""
    return lambda **changes: last(page.analyse(**form(**changes)))


def counts(steps):
    """How many draws there are after each step."""
    return [payload["draws"]["count"] for _, payload in steps]


def test_an_analysis_comes_with_its_overview_before_any_draw(visit):
    analysis, (overview, batches), payload, target = visit()
    assert analysis.classes == ("cat", "dog")
    assert overview.analysis is analysis
    assert (batches, payload["draws"]) == ((), None)
    assert json.loads(json.dumps(payload)) == overview.payload() | {"note": ""}
    assert payload["id"] == overview.payload()["id"]
    assert {"Frozen: ", "adapted: "} <= {*re.findall(r"\w+: ", payload["sentences"]["answer"])}
    assert target.value in analysis.classes
    assert analysis.provenance["prompts_hash"][:6] in payload["provenance"]


def test_an_analysis_can_be_stopped_before_its_model_runs(page, form):
    *between, _ = page.analyse(**form())
    assert between == [(gr.skip(),) * 4] * 2


def test_draws_follow_batch_by_batch_and_each_message_is_whole(page, form, visit):
    analysis, drawn, first, _ = visit()
    steps = [*page.draw(drawn, **form())]
    assert counts(steps) == [1, 5]
    assert [sum(len(one.seeds) for one in batches) for (_, batches), _ in steps] == [1, 5]
    for (overview, _), payload in steps:
        assert overview.analysis is analysis
        assert payload["id"] == first["id"]
        assert payload["importance"] == first["importance"]
    assert "Over 5 draws" in steps[-1][1]["sentences"]["answer"]


def test_what_is_drawn_is_not_drawn_again(page, form, visit):
    drawn = visit()[1]
    half, _ = next(page.draw(drawn, **form()))
    assert counts(page.draw(half, **form())) == [1, 5]
    whole, _ = last(page.draw(half, **form()))
    assert [*page.draw(whole, **form())] == []
    assert [*page.draw(None, **form())] == []


def test_of_another_model_than_the_form_names_now_nothing_is_drawn(page, form, visit):
    drawn = visit()[1]
    assert [*page.draw(drawn, **form(prompts=NO_PROMPTS))] == []
    assert counts(page.draw(drawn, **form(classes="other", seed=9))) == [1, 5]


def test_another_pair_is_compared_on_the_same_analysis(page, form, visit):
    analysis, drawn, first, _ = visit()
    pair = {"compared": "cls", "against": "inverse"}
    other, payload = page.compare(drawn, **form(**pair))
    assert other[0].analysis is analysis
    assert (payload["pair"], payload["draws"]) == (["cls", "inverse"], None)
    assert payload["id"] != first["id"]
    assert last(page.draw(other, **form(**pair)))[1]["draws"]["count"] == 5
    assert visit(**pair)[2]["id"] == payload["id"]


def test_draws_are_of_the_pair_that_the_form_names_by_then(page, form, visit):
    drawn = visit()[1]
    whole = last(page.draw(drawn, **form()))[0]
    pair = {"compared": "cls", "against": "inverse"}
    (overview, batches), payload = last(page.draw(whole, **form(**pair)))
    assert overview.pair == ("cls", "inverse")
    assert {one.pair for one in batches} == {("cls", "inverse")}
    assert payload["draws"]["count"] == 5
    alike = form(compared="cls", against="cls")  # refused where it is chosen
    assert [*page.draw(whole, **alike)] == []


def test_a_dropout_is_not_compared_with_itself(page, form, visit):
    with pytest.raises(Error, match="two different dropouts"):
        page.compare(visit()[1], **form(compared="iwtd", against="iwtd"))


def test_before_an_analysis_another_pair_changes_nothing(page, form):
    assert page.compare(None, **form(against="cls")) == (gr.skip(), gr.skip())


def test_the_payload_says_which_classes_the_prompts_learnt(visit):
    assert visit(classes="Lion, a <b>dog")[2]["learnt"] == [True, False]
    assert visit(prompts=NO_PROMPTS)[2]["learnt"] is None


def test_without_prompts_the_frozen_branch_alone_answers(page, form, visit):
    analysis, drawn, payload, _ = visit(prompts=NO_PROMPTS)
    assert analysis.conditions == ("frozen",)
    assert payload["branches"] == ["frozen"]
    assert payload["notes"]
    _, drawn_on = last(page.draw(drawn, **form(prompts=NO_PROMPTS)))
    assert drawn_on["draws"]["count"] == 5


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
    analysis, _, payload, target = visit(classes=classes)
    assert analysis.classes == expected
    assert json.dumps(payload, ensure_ascii=False).encode()
    assert target.choices == [(name, name) for name in expected]


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if ";" not in name])
def test_a_name_that_looks_like_markup_stays_as_it_is(visit, name):
    analysis, _, payload, target = visit(classes=name)
    assert analysis.classes == (name,)
    assert payload["classes"] == [name]
    assert target.value == name


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("cat, " + "x" * 201, "has 201 characters"),
        ("x," * 250_000, "has 500,000 characters"),
        (", ".join(f"class {i}" for i in range(2001)), "has 2,001 names"),
    ],
)
def test_a_list_too_long_is_refused_before_a_model_is_asked_for(form, classes, said):
    class NoModel(Studio):
        def load(self, *asked):
            raise AssertionError("a model was asked for")

    with pytest.raises(Error, match=said):
        last(Page(NoModel("cpu")).analyse(**form(classes=classes)))


def test_names_given_twice_are_said(visit, monkeypatch):
    said = []
    monkeypatch.setattr(gr, "Info", said.append)
    assert visit(classes="crane, dog, Crane")[0].classes == ("crane", "dog")
    assert said == ["Named more than once, and one class each (CLIP reads no capitals): “Crane”."]


def test_one_class_is_certain(visit):
    analysis, _, payload, _ = visit(classes="cat")
    assert "Frozen: cat 1.00 (the only class listed)" in payload["sentences"]["answer"]
    assert analysis.predictions["iwtd"].probabilities.tolist() == [1.0]


@pytest.mark.slow
def test_two_thousand_classes_are_analysed(visit):
    analysis, _, payload, target = visit(classes=", ".join(f"thing {i}" for i in range(2000)))
    assert len(analysis.classes) == 2000
    assert len(analysis.maps.classes) == len(payload["shown"]) == len(target.choices) == 10


def test_the_class_looked_at_stays_and_has_a_map(visit):
    names = [f"thing {i}" for i in range(30)]
    for name in names[::10]:
        analysis, _, payload, target = visit(classes=", ".join(names), target=name)
        assert target.value == name
        assert analysis.classes.index(name) in payload["shown"]


def test_maps_of_another_method_and_layer_can_be_computed(visit):
    analysis, _, payload, _ = visit(cam_method="layercam", cam_layer=2)
    assert (analysis.maps.method, analysis.maps.layer) == ("layercam", 1)
    assert (payload["maps"]["method"], payload["maps"]["layer"]) == ("LayerCAM", 1)


def test_a_link_without_its_picture_says_so_and_leaves_the_rest(page, form):
    ((analysis, drawn, payload, target),) = page.open(**form(image=None))
    assert {*payload} == {"message"}
    assert "but not the picture" in payload["message"]
    assert [analysis, drawn, target] == [gr.skip()] * 3


def test_the_page_opens_with_the_answer_as_the_class_looked_at(page, form):
    analysis, _, _, target = last(page.open(**form(target="dog")))
    best = analysis.predictions["adapted"].cosines.argmax()
    assert target.value == analysis.classes[best]


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
        ({"prompts": "nothing"}, "There are no prompts 'nothing'."),
        ({"backbone": "nothing"}, "No backbone is called 'nothing'."),
        ({"cam_layer": 99}, "Layer 98 does not exist"),
        ({"cam_method": "magic"}, "No map is called 'magic'"),
    ],
)
def test_what_cannot_be_analysed_is_said_in_a_sentence(visit, change, words):
    with pytest.raises(Error) as caught:
        visit(**change)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "change",
    [{"image": None}, {"classes": ","}, {"p_min": 0.6}, {"template": "a"}, {"prompts": "nothing"}],
    ids=str,
)
def test_a_form_is_checked_without_a_model(form, monkeypatch, furnished, change):
    page = Page(furnished[0])
    monkeypatch.setattr(furnished[0], "load", None)  # would be called
    assert page.check(**form()) is None
    with pytest.raises(Error):
        page.check(**form(**change))


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
        ({"prompts": "nothing"}, "There are no prompts 'nothing'."),
        ({"backbone": "nothing"}, "No backbone is called 'nothing'."),
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
