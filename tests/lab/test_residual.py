"""Residual entropy on a picture: every number is the training objective's own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from analysed import ask, tiny
from computed import asked, silent
from tiny import NAMES, noise_picture, prompted
from torch.nn import functional as F

from app.lab import residual as tab
from app.lab.display.residual import (
    TERMS,
    probability_table,
    residual_figure,
    residual_sentence,
    schedule_figure,
    shown_classes,
    terms_table,
)
from app.studio import Loaded
from drople.class_texts import describe_classes
from drople.lab.residual import EPOCHS, STEP, lambdas, read_step, training_step
from drople.models.prompts import PromptPlan
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import DropoutSettings
from drople.training import losses
from drople.training.config import METHODS, LossWeights, TrainConfig
from drople.training.objective import Objective
from drople.training.processes import ALONE

MODEL = prompted(tiny())
PIXELS = MODEL.backbone.pixels(noise_picture())
LAM = 0.05


def step_of(model=MODEL, names=NAMES, *, target=1, seed=3, dropout=None):
    texts = describe_classes(model, names)
    return training_step(
        model, PIXELS, texts, target=target, dropout=dropout or DropoutSettings(), seed=seed
    )


def tensors(step):
    """Image, text, frozen image, frozen text of a step."""
    return [torch.from_numpy(getattr(step, name)) for name in
            ("image", "text", "frozen_image", "frozen_text")]  # fmt: skip


def trained_terms(model, *, seed, lam):
    """What training reports of the picture as a batch of one, labelled with the second class."""
    texts = describe_classes(model, NAMES)
    batch = model.backbone.normalise(PIXELS[None])
    objective = Objective(
        model, TrainConfig(), torch.tensor([1]), model.backbone.tokenise(model.phrases(NAMES)),
        F.normalize(model.backbone.encode_image(batch), dim=-1), texts.features["frozen"], ALONE,
    )  # fmt: skip

    class Both:
        """The image's draws, then the text's: as many rows as the tower asks for."""

        def uniform(self, depth, shape):
            tower = ("image",) if shape[0] == 1 else ("text", NAMES)
            return SeededDraws([seed] * shape[0], *tower).uniform(depth, shape)

    return objective.terms(np.array([0]), batch, Both(), lam=lam)


def test_the_terms_are_those_that_training_minimises():
    said = read_step(step_of(), LAM).terms
    trained = trained_terms(MODEL, seed=3, lam=LAM)
    assert said.keys() == trained.keys()
    for name, value in trained.items():
        assert said[name] == pytest.approx(float(value), abs=1e-6), name


@pytest.mark.parametrize("lam", [0.0, 0.05, 0.083])
def test_the_entropies_are_those_of_the_losses(lam):
    step = step_of()
    image, text, frozen_image, frozen_text = tensors(step)
    reading = read_step(step, lam)
    h_v, h_t = losses.residual_entropy(
        image, text, frozen_image=frozen_image, frozen_text=frozen_text,
        scale=torch.tensor(step.scale), lam=lam,
    )  # fmt: skip
    assert reading.image.entropy == pytest.approx(float(h_v), abs=1e-6)
    assert reading.text.entropy == pytest.approx(float(h_t), abs=1e-6)
    for p, entropy in (
        (reading.frozen, reading.frozen_entropy),
        (reading.adapted, reading.adapted_entropy),
        (reading.image.probabilities, reading.image.entropy),
        (reading.text.stepped, reading.text.stepped_entropy),
    ):
        assert p.sum() == pytest.approx(1, abs=1e-6)
        assert entropy == pytest.approx(float(-(p * np.log(p + 1e-5)).sum()), abs=1e-6)


def test_the_residual_is_the_formulas():
    step = step_of()
    residual = (step.image - LAM * step.frozen_image) / (1 - LAM)
    logits = step.scale * residual @ step.frozen_text.T
    powers = np.exp(logits - logits.max())
    found = read_step(step, LAM).image.probabilities
    np.testing.assert_allclose(found, (powers / powers.sum())[0], atol=1e-6)


def test_the_draw_is_that_of_the_analysis_with_this_seed():
    analysis = ask(seed=3, drop_text=True)
    step = step_of(seed=3)
    np.testing.assert_allclose(step.image, analysis.images["iwtd"].features, atol=1e-6)
    adapted = read_step(step, LAM).adapted
    np.testing.assert_allclose(adapted, analysis.predictions["iwtd"].probabilities, atol=1e-5)
    assert np.abs(step_of(seed=4).image - step.image).max() > 1e-3


@pytest.mark.parametrize("branch", ["image", "text"])
def test_a_step_along_the_pull_raises_the_entropy_more_than_any_other(branch):
    step = step_of()
    reading = read_step(step, LAM)
    residual = getattr(reading, branch)
    assert residual.stepped_entropy > residual.entropy
    before = getattr(step, branch)
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = generator.normal(size=before.shape).astype("f4")
        moved = before + STEP * other / np.linalg.norm(other)
        moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
        elsewhere = getattr(read_step(replace(step, **{branch: moved}), LAM), branch)
        assert elsewhere.entropy < residual.stepped_entropy + 1e-4


def test_the_pull_is_the_slope_of_the_weighted_term():
    step = step_of()
    image = step.image.astype("f4")
    reading = read_step(step, LAM)
    slopes = []
    for channel in range(image.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = image.copy()
            moved[0, channel] += sign * 1e-2
            ends.append(read_step(replace(step, image=moved), LAM).image.entropy)
        slopes.append((ends[0] - ends[1]) / 2e-2)
    expected = LossWeights().residual_entropy * np.linalg.norm(slopes)
    assert reading.image.pull == pytest.approx(expected, rel=0.05)


def test_one_class_leaves_nothing_to_pull():
    step = step_of(names=NAMES[:1], target=0)
    reading = read_step(step, LAM)
    assert reading.image.stepped == pytest.approx([1.0])
    said = residual_sentence(reading, reading.image, NAMES[:1], drawn="One draw.")
    assert "next to nothing to pull" in said


def test_prompts_without_a_bridge_have_no_alignment():
    step = step_of(prompted(tiny(), PromptPlan(kind="modular"), bridge=0))
    assert step.alignment is None
    assert "alignment" not in read_step(step, LAM).terms


def test_lambda_rises_from_zero_as_in_training():
    found = lambdas()
    assert found[0] == 0
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(0.08286, abs=1e-5)  # METHOD.md 4.2
    assert len(found) == EPOCHS


# --- tables, pictures and the view ---


def test_the_terms_of_the_table_sum_to_the_loss():
    reading = read_step(step_of(), LAM)
    rows = terms_table(reading)["data"]
    summed = sum(float(row[-1]) for row in rows[:-1])
    assert summed == pytest.approx(float(rows[-1][-1]), abs=5e-4)
    assert float(rows[-1][-1]) == pytest.approx(reading.terms["total"], abs=1e-4)


def test_every_term_of_the_released_objective_is_named():
    weighted = {name for name, weight in vars(METHODS["drople"].losses).items() if weight}
    expected = weighted - {"residual_entropy"} | {"entropy_image", "entropy_text", "cross_entropy"}
    assert {*TERMS} == expected


def test_the_figure_has_a_dot_for_each_class_and_voice():
    reading = read_step(step_of(), LAM)
    figure = residual_figure(reading, reading.image, NAMES, target=1)
    assert [trace.name for trace in figure.data] == ["frozen", "adapted, under IWTD", "residual"]
    assert sum(figure.data[2].x) == pytest.approx(1, abs=1e-5)
    for arrow in figure.layout.annotations:
        at = list(figure.layout.yaxis.tickvals).index(arrow.y)
        name = figure.layout.yaxis.ticktext[at]
        assert arrow.x == pytest.approx(reading.image.stepped[NAMES.index(name)])


def test_of_many_classes_ten_are_shown_and_the_one_looked_at_among_them():
    names = tuple(f"thing {i}" for i in range(15))
    reading = read_step(step_of(names=names, target=0), LAM)
    for target in range(15):
        shown = shown_classes(reading, reading.image, target)
        assert len(set(shown)) == 10
        assert target in shown


def test_the_schedule_marks_the_epoch():
    line, mark = schedule_figure(lambdas(), 4).data
    assert (mark.x[0], mark.y[0]) == (5, line.y[4])


@pytest.mark.parametrize("which", [tab.IMAGE, tab.TEXT])
def test_the_view_says_what_the_step_found(which):
    analysis, step = ask(seed=3), step_of()
    plot, schedule, note, table, terms = tab.draw(analysis, 1, step, which, 10)
    lam = lambdas()[9]
    note = note.replace("\\", "")
    assert f"Lambda {lam:.3f}" in note
    assert "seed 3" in note
    reading = read_step(step, float(lam))
    residual = reading.image if which == tab.IMAGE else reading.text
    shown = shown_classes(reading, residual, 1)
    assert table["data"] == probability_table(reading, residual, NAMES, shown=shown)["data"]
    assert table["data"][-1][3] == f"{residual.entropy:.3f}"
    assert terms["data"] == terms_table(reading)["data"]
    assert plot.data[2].x == tuple(residual.probabilities[i] for i in shown)
    assert schedule.data[1].x == (10,)


def test_the_button_takes_the_step_of_the_question():
    studio = SimpleNamespace(
        load=lambda *a: Loaded(MODEL, None, "p", ""),
        texts=lambda loaded, classes, template: describe_classes(MODEL, classes, template),
        in_turn=lambda work: work(),
    )
    (step,) = tab.compute(asked(studio, ask(seed=3), 1), progress=silent)
    np.testing.assert_array_equal(step.image, step_of().image)
    assert step.label == 1
