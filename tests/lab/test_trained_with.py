"""Trained with: which checkpoints compare, and that each is shown as its own analysis has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, ask
from computed import silent, views_of
from furnished import FurnishedStudio, save_tiny_clip
from PIL import Image
from tiny import NAMES, noise_picture

from app.figures.sheets import GAP, LABEL, LINE, TILE
from app.lab import trained_with as tab
from app.lab.display.trained_with import trained_sentence, trained_sheet, trained_table
from app.lab.question import Question, Result
from drople.analysis import AnalysisSettings, analyse
from drople.errors import SettingsError
from drople.lab.trained_with import (
    TRAINED_WITH,
    answers,
    comparisons,
    same_picture,
    without_dropout,
)
from drople.models.prompts import PromptPlan
from drople.storage.prompts import (
    PromptCard,
    load_prompts,
    read_card,
    save_prompts,
    shipped_prompts,
)
from drople.tokens.dropout import DropoutSettings
from drople.training.config import METHODS
from drople.training.loop import build_model

MEASURED = {"adapted_base": 61.5, "adapted_novel": 40.25, "frozen_base": 20.0, "seconds": 3.0}


def card(method, **changes):
    """A card as trained on one task, with what was measured."""
    made = PromptCard(
        backbone="mini", backbone_hash="abc", plan=PromptPlan(), bridge_tokens=0, method=method,
        classes=("cat", "dog"), data="pets", shots=16, seed=1, dropout=DropoutSettings(),
        training={"epochs": 4}, metrics=MEASURED,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A studio with one checkpoint a method on a tiny backbone, and the backbone's name."""
    folder = tmp_path_factory.mktemp("trained")
    name = save_tiny_clip(folder / "clip")
    backbone = FurnishedStudio().load(name).model
    files = []
    for seed, method in enumerate(TRAINED_WITH):
        model = build_model(backbone, replace(METHODS[method], seed=seed))
        own = card(method, backbone=backbone.name, backbone_hash=backbone.weights_hash,
                   plan=model.plan, bridge_tokens=METHODS[method].bridge_tokens)  # fmt: skip
        files.append(folder / f"pets-{method}.safetensors")
        save_prompts(files[-1], model, own)
    return FurnishedStudio(*files), name


TASK = "pets, 2 classes, 16 shots, seed 1"


def asked(studio, **settings):
    """The analysis a visitor has, with dropouts and a seed of their own."""
    made, name = studio
    loaded = made.load(name, str(made.files[2]))
    chosen = AnalysisSettings(**{"seed": 5, **settings})
    return made.analyse(loaded, noise_picture(), NAMES, chosen)


def compared(studio, analysis=None, target=1):
    """The answers so far, step by step."""
    made, name = studio
    question = Question(made, analysis or asked(studio), target, name, "")
    return [*tab.compute(question, TASK, progress=silent)]


# --- which checkpoints compare ---


def test_checkpoints_compare_when_only_the_method_differs():
    cards = {method: card(method) for method in reversed(TRAINED_WITH)}
    (found,) = comparisons({**cards, "other": card("coop")})
    assert list(found.cards) == list(TRAINED_WITH)
    assert found.title == "pets, 2 classes, 16 shots, seed 1"


@pytest.mark.parametrize(
    "change",
    [{"shots": 8}, {"seed": 2}, {"data": "cars"}, {"classes": ("cat",)}, {"backbone_hash": "d"}],
)
def test_checkpoints_of_another_task_do_not_compare(change):
    assert comparisons({"a": card("drople"), "b": card("drople-none", **change)}) == []


def test_one_method_twice_is_no_comparison():
    assert comparisons({"a": card("drople"), "b": card("drople")}) == []


def test_the_prompts_that_travel_with_the_project_compare_on_two_tasks():
    shipped = {name: read_card(path) for name, path in shipped_prompts().items()}
    found = comparisons(shipped)
    assert len(found) == 2
    for one in found:
        assert [card.method for card in one.cards.values()] == list(TRAINED_WITH)
        assert len(one.epochs) == 1
    assert {name for one in found for name in one.cards} == set(shipped)


@pytest.mark.parametrize("task", ["caltech101", "imagenette"])
def test_shipped_droples_of_one_task_were_trained_alike_but_for_their_dropout(task):
    cards = [
        read_card(path)
        for name, path in shipped_prompts().items()
        if name.startswith(task) and not name.endswith("-mpl")
    ]
    plain = [replace(one, method="", dropout=DropoutSettings(), metrics={}) for one in cards]
    assert plain == [plain[0]] * 4
    assert len({one.dropout for one in cards}) == 4


def test_unequal_epochs_are_said():
    longer = card("drople", training={"epochs": 8})
    (found,) = comparisons({"a": card("drople-none"), "b": longer})
    assert found.epochs == {4, 8}
    one = answers(ask(), "b", longer, target=0)
    assert "equally many epochs" in trained_sentence(found, NAMES, 0, answers=one)


# --- what is shown ---


def test_each_answer_is_that_checkpoints_own_undropped_analysis(studio):
    found = compared(studio)[-1]
    assert [one.method for one in found] == ["frozen", *TRAINED_WITH]
    made, name = studio
    picture = Image.fromarray(asked(studio).pixels)
    for path, one in zip(made.files, found[1:], strict=True):
        model, own = load_prompts(path, made.load(name).model)
        alone = analyse(model, picture, NAMES)  # with its default dropouts and seed
        np.testing.assert_allclose(
            one.prediction.probabilities, alone.predictions["adapted"].probabilities, atol=1e-6
        )
        np.testing.assert_allclose(one.map, alone.maps.values["adapted"][1], atol=1e-6)
        assert (one.name, one.method) == (str(path), own.method)
    np.testing.assert_allclose(found[0].map, alone.maps.values["frozen"][1], atol=1e-6)


def test_neither_the_seed_nor_the_dropout_of_the_form_plays_a_part(studio):
    strong = DropoutSettings(p_min=0.9, p_max=0.9, mode="zero")
    one = compared(studio)[-1]
    other = compared(studio, asked(studio, seed=9, dropout=strong))[-1]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.prediction.cosines, b.prediction.cosines)


def test_the_gallery_grows_by_one_checkpoint_at_a_time(studio):
    assert [len(step) for step in compared(studio)] == [2, 3, 4, 5, 6]


def test_all_tiles_share_one_scale_and_the_table_holds_what_the_cards_say(studio):
    found, analysis = compared(studio)[-1], asked(studio)
    (scale,) = trained_sheet(analysis, 1, found).scales
    top = max(float(np.abs(one.map).max()) for one in found)
    assert (scale.low, scale.high) == pytest.approx((-top, top))
    (comparison,) = tab.known_tasks(*studio).values()
    rows = trained_table(comparison, NAMES, 1, answers=found)["data"]
    assert [row[0] for row in rows] == ["nothing (frozen)", *TRAINED_WITH.values()]
    assert rows[1][4:8] == ["61.50 %", "40.25 %", "\u2013", "4"]
    assert rows[0][4:8] == ["20.00 %", "\u2013", "\u2013", "\u2013"]
    high = 2 * (TILE + LABEL + LINE + 3 * GAP) - 2 * GAP
    assert trained_sheet(analysis, 1, found).pixels.shape == (high, 3 * (TILE + GAP) - GAP, 4)


def test_what_was_compared_stays_while_only_prompts_dropout_or_seed_change(studio):
    (view,) = views_of(tab, studio[0])
    result = Result(asked(studio), 1, compared(studio)[-1], (TASK,))
    show = lambda analysis, target: view.draw(analysis, target, result, TASK)  # noqa: E731
    assert show(asked(studio, seed=8), 1)[0] is not None
    assert show(asked(studio), 0)[2] == tab.PRESS
    assert show(asked(studio, template="a {}"), 1)[2] == tab.PRESS


def test_without_such_checkpoints_the_view_says_so():
    nobody = FurnishedStudio()
    assert "differ in the method alone" in tab.draw(nobody, analysed(), 0, None, None)[2]
    with pytest.raises(SettingsError, match="python -m drople train"):
        next(tab.compute(Question(nobody, analysed(), 0, "mini", ""), None, progress=silent))


def test_a_backbone_changed_meanwhile_is_refused(studio):
    with pytest.raises(SettingsError, match="another backbone by now"):
        compared(studio, analysis=replace(asked(studio), provenance={"backbone_hash": "other"}))


def test_settings_without_dropout_keep_the_question():
    given = AnalysisSettings(seed=4, template="a {}", cam_method="eigencam", cam_layer=1)
    plain = without_dropout(given, "cat")
    assert (plain.template, plain.cam_method, plain.cam_layer) == ("a {}", "eigencam", 1)
    assert plain.strategies == ()
    assert same_picture(ask(), ask(seed=3, dropout=DropoutSettings(mode="hide")))
    assert not same_picture(ask(), ask(NAMES[:2]))


def test_tiles_lie_in_the_order_of_the_answers():
    (comparison,) = comparisons({m: card(m) for m in TRAINED_WITH})
    frozen, adapted = answers(ask(), "drople", card("drople"), target=2)
    assert frozen.method == "frozen"
    assert adapted.accuracy == {"base": 61.5, "novel": 40.25}
    assert "IWTD" in trained_sentence(comparison, NAMES, 2, answers=(frozen, adapted))
