"""The examples, and whether what was computed of them beforehand still holds."""

from __future__ import annotations

import pytest
from furnished import FurnishedStudio
from gradio import Progress
from tiny import noise_picture

from app import examples
from app.examples import EXAMPLES, FOLDER, precomputed
from app.page import Page
from app.studio import Studio
from drople.analysis import AnalysisSettings
from drople.checkpoints import read_card, shipped_prompts
from drople.classes import parse_class_list
from drople.evidence import load_analysis, replay
from drople.images import read_image
from drople.version import VERSION

PROMPTS = next(iter(sorted(shipped_prompts())))
REBUILD = "computed with something else: run python -m app.examples"


@pytest.fixture(scope="module")
def card():
    return read_card(shipped_prompts()[PROMPTS])


@pytest.fixture(scope="module")
def model(mini):
    return Studio("cpu").load("mini", PROMPTS).model


def asked(example):
    """An example as a question."""
    return read_image(example.photo), parse_class_list(example.classes)


def found(example, trained, **changes):
    """What is stored for an example as the page first asks for it, or for a changed question."""
    picture, names = asked(example)
    question = {
        "image": picture,
        "classes": names,
        "settings": AnalysisSettings(dropout=trained.dropout),
        "prompts": PROMPTS,
        "card": trained,
    }
    return precomputed(**question | changes)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_every_example_is_a_picture_and_a_class_list(example):
    picture, names = asked(example)
    assert picture.mode == "RGB"
    assert len(names) >= 6
    assert example.name == example.name.strip().lower()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_stored_analysis_is_of_what_ships_now(example, card, model):
    stored = load_analysis(FOLDER / f"{example.name}.npz")
    picture, names = asked(example)
    assert (stored.pixels == model.backbone.pixels(picture)).all(), REBUILD
    assert stored.classes == names, REBUILD
    assert stored.settings == AnalysisSettings(dropout=card.dropout), REBUILD
    assert stored.provenance["drople"] == VERSION, REBUILD
    assert stored.provenance["backbone_hash"] == model.backbone.weights_hash, REBUILD


@pytest.mark.slow
def test_a_stored_analysis_is_what_would_be_computed_now(model):
    report = replay(load_analysis(FOLDER / f"{EXAMPLES[0].name}.npz"), model)
    assert report.equal, (REBUILD, report.differences)
    assert report.redrawn == 0


def test_all_stored_analyses_are_small():
    files = [*FOLDER.iterdir()]
    assert {path.stem for path in files} == {example.name for example in EXAMPLES}
    assert sum(path.stat().st_size for path in files) <= 3 * 2**20


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_an_example_is_found_by_its_question(example, card):
    assert found(example, card).classes == parse_class_list(example.classes)


@pytest.mark.parametrize(
    "change",
    [
        {"image": noise_picture()},
        {"classes": ("cheetah", "lion")},
        {"settings": AnalysisSettings(seed=1)},
        {"prompts": "none", "card": None},
        {"prompts": "mine.safetensors"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_question_is_not_answered_beforehand(card, change):
    assert found(EXAMPLES[0], card, **change) is None


def test_other_weights_are_not_answered_for(card, monkeypatch):
    monkeypatch.setattr(examples, "_prompts_hash", lambda name: "0" * 16)
    assert found(EXAMPLES[0], card) is None


def test_nothing_is_found_where_nothing_is_stored(card, tmp_path):
    assert found(EXAMPLES[0], card, folder=tmp_path) is None


# --- the page ---


class CountingStudio(Studio):
    """A studio that counts the models it loads."""

    loads = 0

    def load(self, *names):
        self.loads += 1
        return super().load(*names)


def open_page(studio, example, card, seed=0):
    """What the page shows first of an example."""
    d = card.dropout
    form = (d.mode, d.placement, d.p_min, d.p_max, True, 0.3, *vars(d.weights).values(), False)
    return [
        *Page(studio).open(
            read_image(example.photo), example.classes, "mini", PROMPTS, "a photo of a {}.",
            "lion", Progress(), *form, seed,
        )
    ]  # fmt: skip


def test_the_page_opens_without_a_model(card):
    studio = CountingStudio("cpu")
    ((analysis, answer, target, _),) = open_page(studio, EXAMPLES[1], card)
    assert studio.loads == 0
    assert analysis.classes[0] == "lion"
    assert "Precomputed example" in answer
    best = analysis.classes[analysis.predictions["adapted"].cosines.argmax()]
    assert target.value == best


@pytest.mark.slow
def test_what_is_not_stored_is_computed_and_said_to_be(card):
    studio = CountingStudio("cpu")
    *_, (analysis, answer, _, _) = open_page(studio, EXAMPLES[0], card, seed=5)
    assert studio.loads == 1
    assert analysis.settings.seed == 5
    assert "Precomputed" not in answer


def test_prompts_of_the_visitor_are_never_answered_beforehand(card, tmp_path):
    path = tmp_path / f"{PROMPTS}.safetensors"
    path.write_bytes(shipped_prompts()[PROMPTS].read_bytes())
    assert FurnishedStudio(path).prompts_for("mini").keys() == {str(path)}
    assert found(EXAMPLES[0], card, prompts=str(path)) is None
