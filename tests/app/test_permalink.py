"""Links and browsers bring settings back, and nothing that is not right."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest
from furnished import FurnishedStudio, save_fresh_prompts

from app import permalink
from app.examples import EXAMPLES
from app.form import SETTINGS, Form, dropout_values
from app.inputs import CUSTOM, build_inputs
from app.permalink import restored
from app.studio import NO_PROMPTS, Studio
from drople.models.backbone import load_backbone
from drople.storage.prompts import read_card, shipped_prompts
from drople.tokens.dropout import DropoutSettings

SHIPPED = sorted(shipped_prompts())


@pytest.fixture
def studio():
    return Studio("cpu")


@pytest.fixture
def page(studio):
    """The form with its buttons: what restores it, and the names of what is restored."""
    with gr.Blocks() as demo:
        inputs = build_inputs(studio, "CPU")
        inputs.target.render()
        with gr.Tabs() as tabs:
            for label in ("Overview", "Trained with"):
                gr.Tab(label, id=label[0])
        permalink.build(studio, inputs, demo, tabs={"tab": tabs})
    loading = [*demo.fns.values()][-1]
    named = {**inputs.form, "dropout": inputs.dropout, "example": inputs.example, "tabs": tabs}
    names = {id(component): name for name, component in named.items()}
    return SimpleNamespace(restore=loading.fn, names=[names[id(one)] for one in loading.outputs])


def visit(page, link=None, kept=None):
    """What a visit with a link and a browser's memory changes, by name."""
    values = page.restore(kept or {}, SimpleNamespace(query_params=link or {}))
    assert len(values) == len(page.names)
    return {n: v for n, v in zip(page.names, values, strict=True) if v != gr.skip()}


def test_a_link_brings_every_setting_back(page):
    link = {
        "example": "car", "classes": "cat, dog", "backbone": "mini", "prompts": SHIPPED[-1],
        "template": "art of a {}.", "mode": "hide", "placement": "post", "p_min": "0.25",
        "p_max": "0.75", "w_self": "2", "w_cls": "0", "w_cross": "0.5", "matched": "false",
        "p": "0.4", "drop_text": "true", "seed": "7", "compared": "cls", "against": "inverse",
        "cam_method": "layercam", "cam_layer": "3",
    }  # fmt: skip
    assert link.keys() == {"example", "classes", "backbone", "prompts", *SETTINGS}
    found = visit(page, link)
    prompts = found.pop("prompts")
    assert prompts.value == SHIPPED[-1]
    assert found.pop("image") == EXAMPLES[2].photo
    assert found.pop("dropout") == CUSTOM
    numbers = {"p_min": 0.25, "p_max": 0.75, "w_self": 2, "w_cls": 0, "w_cross": 0.5, "p": 0.4}
    del link["prompts"]
    others = dropout_values(DropoutSettings())  # of a knob that this link does not name
    whole = {"matched": False, "drop_text": True, "seed": 7, "cam_layer": 3}
    assert found == others | link | numbers | whole


def test_what_an_empty_form_says_comes_back_as_it_is(studio):
    """A link says every value there is, as text; what is empty is not in it."""
    said = {name: value for name, value in vars(Form()).items() if name in SETTINGS}
    texts = {name: str(value) for name, value in said.items() if value is not None}
    found = restored(studio, texts)
    assert {name: found[name] for name in texts} == {name: said[name] for name in texts}


def test_where_to_look_is_the_browsers_and_leaves_the_settings(page):
    looked = {"look-layer": "3", "look-class": "dog", "look-draw": "all"}
    assert visit(page, looked) == {}
    assert visit(page, looked, {"seed": 3})["seed"] == 3
    assert visit(page, looked | {"seed": "4"}, {"seed": 3}) == {"seed": 4}


def test_a_link_opens_the_tab_it_names(page):
    assert visit(page, {"look-tab": "Trained with"})["tabs"].selected == "T"
    assert visit(page, {"look-tab": "<b>"}) == visit(page, {"look-tab": ""}) == {}
    assert "tabs" not in visit(page, {"look-tab": "Trained with", "classes": "of another picture"})


def test_without_a_link_and_a_memory_nothing_changes(page):
    assert visit(page) == {}


def test_a_browser_remembers_and_a_link_wins(page):
    assert visit(page, kept={"seed": 3})["seed"] == 3
    assert visit(page, {"seed": "4"}, {"seed": 3})["seed"] == 4
    assert visit(page, {"__theme": "dark"}, {"seed": 3})["seed"] == 3


@pytest.mark.parametrize(
    "link",
    [
        {"p_min": "2"}, {"p_max": "-0.1"}, {"p": "nan"}, {"p": "many"}, {"seed": "1e99"},
        {"seed": "-1"}, {"mode": "burn"}, {"placement": ""}, {"template": "no place"},
        {"template": "{} and {}"}, {"matched": "perhaps"}, {"example": "../../etc/passwd"},
        {"classes": "  "}, {"backbone": "local-dir:/etc"}, {"w_self": "inf"},
        {"unknown": "1"}, {"look-layer": "1"}, {"compared": "dropout"}, {"against": ""},
        {"cam_method": "magic"}, {"cam_layer": "100"}, {"cam_layer": "-1"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_right_changes_nothing(studio, link):
    assert restored(studio, link) == {}


def test_a_link_reads_no_file_of_the_machine(studio, tmp_path):
    path = save_fresh_prompts(tmp_path / "mine.safetensors", load_backbone("mini"))
    assert restored(studio, {"prompts": str(path)})["prompts"].value == SHIPPED[0]


def test_prompts_alone_bring_their_own_dropout(tmp_path):
    path = save_fresh_prompts(tmp_path / "fresh.safetensors", load_backbone("mini"))
    found = restored(FurnishedStudio(path), {"prompts": str(path)})
    trained = read_card(path).dropout
    assert (found["p_min"], found["p_max"], found["mode"]) == (
        trained.p_min, trained.p_max, trained.mode,
    )  # fmt: skip
    assert "dropout" not in found


def test_the_frozen_branch_alone_can_be_linked_to(studio):
    assert restored(studio, {"prompts": NO_PROMPTS})["prompts"].value == NO_PROMPTS


def test_a_long_class_list_is_cut_off_and_not_the_page(studio):
    found = restored(studio, {"classes": "cat, " * 100_000})
    assert len(found["classes"]) == permalink.MAX_CLASSES


@pytest.mark.parametrize("value", [None, [], {}, 3, "x", True])
def test_a_memory_of_any_shape_is_survived(studio, value):
    found = restored(studio, dict.fromkeys(["seed", "mode", "prompts", "classes", "p"], value))
    assert set(found) <= {"seed", "backbone", "prompts", "p", "classes", "dropout", "image",
                          "example", *permalink.KNOBS}  # fmt: skip


def test_a_link_made_for_an_uploaded_picture_does_not_show_an_example(studio):
    found = restored(studio, {"classes": "zebra, horse", "seed": "1"})
    assert (found["image"], found["example"], found["classes"]) == (None, "", "zebra, horse")


def test_a_link_of_settings_alone_leaves_the_example(studio):
    assert "image" not in restored(studio, {"seed": "1"})


def test_prompts_of_one_s_own_come_back_from_the_browser(studio, tmp_path):
    path = save_fresh_prompts(tmp_path / "mine.safetensors", load_backbone("mini"))
    memory = {"backbone": "mini", "prompts": str(path)}
    found = restored(studio, memory, own=True)
    assert found["prompts"].value == str(path)
    assert permalink.gone(memory, found) == []


def test_prompts_that_are_gone_are_said_to_be(studio, tmp_path):
    memory = {"backbone": "mini", "prompts": str(tmp_path / "gone<b>.safetensors")}
    found = restored(studio, memory, own=True)
    (said,) = permalink.gone(memory, found)
    assert "gone&lt;b&gt;.safetensors" in said
    assert SHIPPED[0] in said
    assert found["prompts"].value == SHIPPED[0]


def test_a_backbone_that_is_gone_is_said_to_be(studio, tmp_path):
    memory = {"backbone": f"local-dir:{tmp_path / 'gone'}", "prompts": "none"}
    assert len(permalink.gone(memory, restored(studio, memory, own=True))) == 2
    memory = {"backbone": f"local-dir:{tmp_path}", "prompts": "none"}
    assert permalink.gone(memory, restored(studio, memory, own=True)) == []
