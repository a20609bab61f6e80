"""The examples, and whether what was computed of them beforehand still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from furnished import FurnishedStudio
from tiny import noise_picture

from app import examples
from app.examples import EXAMPLES, FOLDER, precomputed
from app.form import Form, dropout_values
from app.overview.payload import DRAWS, MAP_DRAWS, PAIR
from app.page import PRECOMPUTED, Page
from app.studio import Studio
from drople.analysis import AnalysisSettings, analyse
from drople.classes import parse_class_list
from drople.images import read_image
from drople.storage.analyses import load_analysis, load_draws
from drople.storage.evidence import replay
from drople.storage.prompts import read_card, shipped_prompts
from drople.version import VERSION

SHARED = Path(__file__).parents[3] / "shared"
QUIZ, PHOTOS = SHARED / "mini2" / "photo_quiz.json", SHARED / "data" / "photos"
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


def form_of(example, **changes):
    """The form with an example, as the page shows it at first or changed."""
    filled = {"image": read_image(example.photo), "classes": example.classes, "prompts": PROMPTS}
    return Form(**filled | changes)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_every_example_is_a_picture_and_a_class_list(example):
    picture, names = asked(example)
    assert picture.mode == "RGB"
    assert max(picture.size) <= 640
    assert 5 <= len(names) <= 6
    assert example.right in names
    assert f"| {example.name}.jpg |" in (FOLDER / "LICENCES.md").read_text()


# --- what the two branches answer ---


def answers(model, picture, names):
    """What the frozen and the adapted branch say, in this order."""
    found = analyse(model, picture, names, AnalysisSettings(strategies=()))
    return [names[int(found.predictions[c].cosines.argmax())] for c in ("frozen", "adapted")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_both_branches_answer_an_example_rightly_unless_it_is_called_a_failure(example, model):
    said = answers(model, *asked(example))
    assert (said == [example.right] * 2) == (not example.failure)


def test_there_is_one_failure_and_the_page_says_so():
    assert len(EXAMPLES) >= 8
    assert [one.label for one in EXAMPLES if one.failure] == ["rocket (a failure)"]


def test_the_reason_given_for_the_failure_holds(model):
    """Both branches say lighthouse, of a crop of the rocket alone too."""
    (failure,) = (one for one in EXAMPLES if one.failure)
    picture, names = asked(failure)
    crop = picture.crop((268, 128, 528, 388))
    assert "lighthouse" in failure.failure
    assert answers(model, picture, names) == ["lighthouse", "lighthouse"]
    assert answers(model, crop, names) == ["lighthouse", "lighthouse"]


@pytest.mark.slow
@pytest.mark.skipif(not QUIZ.is_file(), reason="the photo quiz is not part of the project")
def test_most_everyday_photographs_are_named_rightly(model):
    quiz = json.loads(QUIZ.read_text())
    right = [
        [said in one["right"] for said in answers(model, read_image(PHOTOS / name), one["names"])]
        for name, one in quiz.items()
    ]
    frozen, adapted = (sum(column) for column in zip(*right, strict=True))
    assert len(quiz) == 23
    assert frozen >= 17
    assert adapted >= frozen - 1


# --- what was computed beforehand ---


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_stored_analysis_is_of_what_ships_now(example, card, model):
    stored = load_analysis(FOLDER / f"{example.name}.npz")
    picture, names = asked(example)
    assert (stored.pixels == model.backbone.pixels(picture)).all(), REBUILD
    assert stored.classes == names, REBUILD
    assert stored.settings == AnalysisSettings(dropout=card.dropout), REBUILD
    assert stored.provenance["drople"] == VERSION, REBUILD
    assert stored.provenance["backbone_hash"] == model.backbone.weights_hash, REBUILD


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_an_example_has_the_draws_that_the_page_asks_for(example, card):
    analysis, draws = precomputed(form_of(example), card)
    assert [seed for one in draws for seed in one.seeds] == [*range(DRAWS)], REBUILD
    assert sum(len(one.seeds) for one in draws if one.maps is not None) == MAP_DRAWS, REBUILD
    for name in PAIR:
        first = [one.dropped for one in analysis.images[name].layers if one.dropped is not None]
        kept = draws[0].dropped[name][0]
        assert all((row[0, 1:] == one).all() for row, one in zip(first, kept, strict=True)), REBUILD


@pytest.mark.slow
def test_a_stored_analysis_is_what_would_be_computed_now(model):
    report = replay(load_analysis(FOLDER / f"{EXAMPLES[0].name}.npz"), model)
    assert report.equal, (REBUILD, report.differences)
    assert report.redrawn == 0


def test_the_folder_holds_a_photograph_and_an_analysis_each_and_is_small():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    expected = {f"{one.name}.{kind}" for one in EXAMPLES for kind in ("jpg", "npz")}
    assert files.keys() == expected | {"LICENCES.md"}
    assert sum(files.values()) <= 8 * 2**20


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_an_example_is_found_by_its_question(example, card):
    assert precomputed(form_of(example), card)[0].classes == parse_class_list(example.classes)


@pytest.mark.parametrize(
    "change",
    [
        {"image": noise_picture()},
        {"image": None},
        {"classes": "cat, bird"},
        {"seed": 1},
        {"prompts": "none"},
        {"prompts": "mine.safetensors"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_question_is_not_answered_beforehand(card, change):
    assert precomputed(form_of(EXAMPLES[0], **change), card) is None


def test_other_weights_are_not_answered_for(card, monkeypatch):
    monkeypatch.setattr(examples, "_prompts_hash", lambda name: "0" * 16)
    assert precomputed(form_of(EXAMPLES[0]), card) is None


def test_nothing_is_found_where_nothing_is_stored(card, tmp_path):
    assert precomputed(form_of(EXAMPLES[0]), card, folder=tmp_path) is None


# --- the page ---


class CountingStudio(Studio):
    """A studio that counts the models it loads."""

    loads = 0

    def load(self, *names):
        self.loads += 1
        return super().load(*names)


def shown_form(example, card, **changes):
    """The form as the page opens with an example, a class looked at before."""
    return form_of(example, target="cat", **dropout_values(card.dropout) | changes)


def test_the_page_opens_without_a_model_and_with_the_draws_there_are(card):
    studio = CountingStudio("cpu")
    page, asked = Page(studio), vars(shown_form(EXAMPLES[1], card))
    ((analysis, drawn, payload, target),) = page.open(**asked)
    assert analysis.classes[0] == "dog"
    assert payload["note"] == PRECOMPUTED
    assert [one["seeds"] for one in payload["draws"]["batches"]] == [
        [*one.seeds] for one in load_draws(FOLDER / "dog.npz")
    ]
    assert payload["draws"]["count"] == payload["draws_wanted"] == DRAWS
    assert "Over 32 draws" in payload["sentences"]["answer"]
    best = analysis.classes[analysis.predictions["adapted"].cosines.argmax()]
    assert target.value == best
    assert [*page.draw(drawn, **asked)] == []
    assert studio.loads == 0


def test_the_stored_draws_of_another_pair_are_not_shown(card):
    asked = shown_form(EXAMPLES[1], card, compared="cls")
    ((_, (overview, batches), payload, _),) = Page(Studio("cpu")).open(**vars(asked))
    assert overview.pair == ("cls", "vanilla")
    assert (batches, payload["draws"]) == ((), None)


@pytest.mark.slow
def test_what_is_not_stored_is_computed_and_not_said_to_be_stored(card):
    studio = CountingStudio("cpu")
    asked = shown_form(EXAMPLES[0], card, seed=5)
    *_, (analysis, _, payload, _) = Page(studio).open(**vars(asked))
    assert studio.loads == 1
    assert analysis.settings.seed == 5
    assert (payload["note"], payload["draws"]) == ("", None)


def test_prompts_of_the_visitor_are_never_answered_beforehand(card, tmp_path):
    path = tmp_path / f"{PROMPTS}.safetensors"
    path.write_bytes(shipped_prompts()[PROMPTS].read_bytes())
    assert FurnishedStudio(path).prompts_for("mini").keys() == {str(path)}
    assert precomputed(form_of(EXAMPLES[0], prompts=str(path)), card) is None
