"""The text side: what is read for each class, and that classes do not disturb one another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import NAMES, prompted
from torch.nn import functional as F

from drople import DropoutSettings, describe_classes
from drople.branches import ADAPTED, FROZEN
from drople.class_texts import text_layers_of
from drople.errors import ClassListError, SettingsError
from drople.models.prompts import PromptPlan
from drople.tokens.importance import SIGNALS

DROPPING = DropoutSettings(p_min=0.3, p_max=0.7)
LONG = "a neighbour whose name takes many more tokens than any other"


def test_both_strings_of_a_class_are_shown(model):
    phrases = describe_classes(model, NAMES, "a blurry {}!").phrases
    assert phrases[FROZEN] == ("a blurry cat!", "a blurry dog!", "a blurry golden retriever!")
    assert phrases[ADAPTED][2] == "[P1][P2][P3][P4] golden retriever"


def test_a_plans_own_words_stand_after_its_prompts(backbone):
    model = prompted(backbone, PromptPlan(text_count=2, phrase="of a {}."))
    assert describe_classes(model, ["cat"]).phrases[ADAPTED] == ("[P1][P2] of a cat.",)


def test_a_backbone_reads_the_frozen_strings_only(backbone):
    texts = describe_classes(backbone, NAMES)
    assert [*texts.features] == [*texts.phrases] == [FROZEN]


def test_features_are_those_of_encode_text(model):
    texts = describe_classes(model, NAMES, "a photo of a {}.")
    frozen = model.backbone.encode_text([f"a photo of a {name}." for name in NAMES])
    expected = {FROZEN: frozen, ADAPTED: model.encode_text(NAMES)}
    for branch, features in expected.items():
        unit = F.normalize(features, dim=-1)
        torch.testing.assert_close(texts.features[branch], unit, rtol=1e-5, atol=1e-6)


def test_words_name_prompts_and_pieces(model):
    words = describe_classes(model, ["golden retriever"]).runs[ADAPTED].words[0]
    assert words == ("[SOS]", "P1", "P2", "P3", "P4", "golden", "retriever", "[EOS]")


def test_names_are_cleaned_and_distinct(model):
    assert describe_classes(model, [" cat\n", "Cat", "dog "]).names == ("cat", "dog")


def test_prompts_get_a_probability_and_the_name_none(model):
    layers = (
        describe_classes(model, NAMES).runs[ADAPTED].trace(DropoutSettings(text_depth=2)).layers
    )
    assert [layer.probability is not None for layer in layers] == [True, True, False, False]
    for row in layers[0].eligible:
        assert row.nonzero()[0].tolist() == [1, 2, 3, 4]
    assert not layers[0].probability[~layers[0].eligible].any()


def test_the_frozen_text_is_never_dropped(model):
    layers = describe_classes(model, NAMES).runs[FROZEN].trace(DropoutSettings()).layers
    assert all(layer.probability is None for layer in layers)
    assert not any(layer.eligible.any() for layer in layers)


def test_a_class_keeps_its_importance_among_other_classes(model):
    few = describe_classes(model, ["cat", "dog"]).runs[ADAPTED].trace(DropoutSettings())
    many = describe_classes(model, ["dog", LONG, "cat"]).runs[ADAPTED].trace(DropoutSettings())
    for ours, theirs in zip(few.layers, many.layers, strict=True):
        N = ours.blend.shape[1]
        for signal in SIGNALS:
            np.testing.assert_allclose(
                theirs.shares[signal][[2, 0], :N], ours.shares[signal], rtol=1e-3, atol=1e-6
            )
        if ours.probability is not None:
            np.testing.assert_allclose(
                theirs.probability[[2, 0], :N], ours.probability, rtol=1e-3, atol=1e-5
            )


def test_a_class_keeps_its_draws_among_other_classes(model):
    few = text_layers_of(model, ("cat", "dog"), dropout=DROPPING, seed=3)
    many = text_layers_of(model, ("dog", LONG, "cat"), dropout=DROPPING, seed=3)
    for ours, theirs in zip(few.layers, many.layers, strict=True):
        N = ours.drop.uniform.shape[1]
        assert torch.equal(theirs.drop.uniform[[2, 0], :N], ours.drop.uniform)
        assert torch.equal(theirs.drop.dropped[[2, 0], :N], ours.drop.dropped)


def test_a_class_keeps_its_features_among_other_classes_that_are_dropped_too(model):
    few = text_layers_of(model, ("cat", "dog"), dropout=DROPPING, seed=3).features
    many = text_layers_of(model, ("dog", LONG, "cat"), dropout=DROPPING, seed=3).features
    torch.testing.assert_close(many[[2, 0]], few, rtol=1e-4, atol=1e-6)


def test_a_run_with_drops_keeps_what_was_drawn(model):
    run = text_layers_of(model, NAMES, dropout=DROPPING, seed=1)
    layer = run.trace(DROPPING).layers[0]
    assert np.array_equal(layer.dropped, layer.uniform < layer.probability)
    assert layer.dropped.any()


def test_sos_is_dropped_on_request_only(model):
    for drop_sos in (False, True):
        dropout = DropoutSettings(drop_sos=drop_sos, strategy="vanilla", p=1.0)
        dropped = text_layers_of(model, NAMES, dropout=dropout).layers[0].drop.dropped
        assert dropped[:, 0].all() == drop_sos


@pytest.mark.parametrize("template", ["a photo", "a {} and a {}"])
def test_a_template_must_hold_the_name_once(model, template):
    with pytest.raises(SettingsError, match=f"The template “{template}” must hold"):
        describe_classes(model, NAMES, template)


def test_a_template_may_hold_other_braces(backbone):
    assert describe_classes(backbone, ["cat"], "{0} {x} {}").phrases[FROZEN] == ("{0} {x} cat",)


def test_a_name_may_hold_braces(backbone):
    assert describe_classes(backbone, ["{}{0}"], "a {}").phrases[FROZEN] == ("a {}{0}",)


def test_a_name_too_long_for_the_context_is_refused(model):
    name = " ".join(["x"] * 90)
    with pytest.raises(ClassListError, match=r"97 tokens long with its template; tiny reads 77"):
        describe_classes(model, ["cat", name])


def test_a_name_too_long_for_the_prompts_alone_is_refused(model):
    """The frozen phrase takes no prompts, so it may fit where the adapted one does not."""
    name = " ".join(["x"] * 74)
    assert describe_classes(model.backbone, [name], "{}").names == (name,)
    with pytest.raises(ClassListError, match="80 tokens long"):
        describe_classes(model, [name], "{}")
