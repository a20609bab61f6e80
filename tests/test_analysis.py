"""The analysis: one picture, four conditions, and what may and may not change between them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from analysed import mean_p
from PIL import Image
from sklearn.datasets import load_sample_image
from tiny import NAMES, noise_picture
from torch.nn import functional as F

from drople import AnalysisSettings, DropoutSettings, analyse, describe_classes
from drople.analysis import shown_classes
from drople.conditions import Prediction
from drople.errors import ClassListError, SettingsError
from drople.gradcam import class_maps
from drople.models.prompted_clip import PromptedClip
from drople.models.prompts import PromptPlan

DROPPING = ("vanilla", "iwtd")
EVERY = AnalysisSettings(strategies=("none", "vanilla", "iwtd", "inverse", "self", "cls", "cross"))


@pytest.fixture(scope="module")
def analysis(model):
    """One picture under every strategy, dropout after the first three layers."""
    dropout = DropoutSettings(image_depth=3)
    return analyse(model, noise_picture(), NAMES, replace(EVERY, dropout=dropout))


def analysed(model, names=NAMES, **changes):
    return analyse(model, noise_picture(), names, AnalysisSettings(**changes))


def test_the_conditions_are_shown_in_order(model):
    assert analysed(model).conditions == ("frozen", "adapted", "vanilla", "iwtd")


def test_without_prompts_only_the_frozen_branch_is_shown(backbone):
    found = analyse(backbone, noise_picture(), NAMES)
    assert (found.conditions, found.adapted) == (("frozen",), False)
    assert [*found.images] == [*found.texts] == [*found.maps.values] == ["frozen"]
    assert all(layer.probability is None for layer in found.images["frozen"].layers)


def test_cosines_are_those_of_the_features(model):
    found = analysed(model)
    pixels = model.backbone.normalise(found.pixels[None])
    phrases = [f"a photo of a {name}." for name in NAMES]
    pairs = {
        "frozen": (model.backbone.encode_image(pixels), model.backbone.encode_text(phrases)),
        "adapted": (model.encode_image(pixels), model.encode_text(NAMES)),
    }
    for condition, (image, text) in pairs.items():
        expected = F.cosine_similarity(image, text).numpy()
        got = found.predictions[condition].cosines
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_probabilities_are_a_softmax_of_scaled_cosines():
    found = Prediction(np.array([0.1, 0.3]), logit_scale=10)
    odds = np.exp(10 * 0.3 - 10 * 0.1)
    np.testing.assert_allclose(found.probabilities, [1 / (1 + odds), odds / (1 + odds)])
    np.testing.assert_allclose(found.logits, [1, 3])


def test_probabilities_of_large_logits_are_finite():
    found = Prediction(np.array([1.0, -1.0]), logit_scale=5000)
    assert found.probabilities.tolist() == [1, 0]


def test_the_same_settings_give_the_same_analysis(model):
    first, second = analysed(model, seed=5), analysed(model, seed=5)
    for condition in first.conditions:
        ours, theirs = first.predictions[condition], second.predictions[condition]
        assert np.array_equal(ours.cosines, theirs.cosines)
        assert np.array_equal(first.maps.values[condition], second.maps.values[condition])


def test_a_seed_moves_the_draws_and_nothing_undropped(model):
    first, second = analysed(model, seed=1), analysed(model, seed=2)
    for condition in ("frozen", "adapted"):
        ours, theirs = first.predictions[condition], second.predictions[condition]
        assert np.array_equal(ours.cosines, theirs.cosines)
    drawn = [a.images["iwtd"].layers[0].uniform for a in (first, second)]
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("condition", ["vanilla", "inverse", "self", "cls", "cross"])
def test_every_strategy_drops_at_the_rate_of_iwtd(analysis, condition):
    for ours, theirs in zip(
        analysis.images[condition].layers, analysis.images["iwtd"].layers, strict=True
    ):
        assert mean_p(ours) == pytest.approx(mean_p(theirs), abs=1e-6)


def test_vanillas_probability_is_the_mean_of_iwtds(analysis):
    vanilla, iwtd = (analysis.images[name].layers[:3] for name in DROPPING)
    for ours, theirs in zip(vanilla, iwtd, strict=True):
        mean = theirs.probability[theirs.eligible].mean()
        np.testing.assert_allclose(ours.probability[ours.eligible], mean, rtol=0, atol=1e-6)


def test_in_the_first_layer_inverse_deals_out_iwtds_own_values(analysis):
    """There both runs still hold the same tokens."""
    iwtd, inverse = (analysis.images[name].layers[0] for name in ("iwtd", "inverse"))
    p, dealt = iwtd.probability[iwtd.eligible], inverse.probability[inverse.eligible]
    np.testing.assert_allclose(np.sort(dealt), np.sort(p), rtol=0, atol=1e-6)
    assert np.array_equal(np.argsort(p), np.argsort(-dealt, kind="stable"))


def test_all_conditions_share_one_draw(analysis):
    for depth in range(3):
        drawn = [analysis.images[s].layers[depth].uniform for s in EVERY.strategies]
        assert all(np.array_equal(u, drawn[0]) for u in drawn)


def test_each_run_scores_its_own_tokens(analysis):
    first, second = (analysis.images[name].layers for name in ("adapted", "iwtd"))
    np.testing.assert_allclose(first[0].blend, second[0].blend, rtol=1e-5)
    assert not np.allclose(first[1].blend, second[1].blend, rtol=1e-3)


def test_nothing_dropped_equals_the_adapted_branch(analysis):
    adapted, none = analysis.predictions["adapted"], analysis.predictions["none"]
    np.testing.assert_allclose(none.cosines, adapted.cosines, rtol=0, atol=1e-6)
    assert not any(layer.dropped.any() for layer in analysis.images["none"].layers[:3])


def test_the_undropped_branch_shows_what_iwtd_would_do(analysis):
    layer = analysis.images["adapted"].layers[0]
    np.testing.assert_allclose(
        layer.probability, analysis.images["iwtd"].layers[0].probability, rtol=0, atol=1e-6
    )
    assert layer.dropped is None
    assert layer.uniform is None


def test_layers_after_the_last_dropout_show_importance_only(analysis):
    for condition in ("adapted", *DROPPING):
        last = analysis.images[condition].layers[3]
        assert last.probability is None
        assert last.dropped is None
        np.testing.assert_allclose(last.blend.sum(axis=-1), 1, rtol=1e-5)


def test_unmatched_vanilla_keeps_its_own_probability(model):
    found = analysed(model, matched=False, dropout=DropoutSettings(p=0.17))
    layer = found.images["vanilla"].layers[0]
    np.testing.assert_allclose(layer.probability[layer.eligible], 0.17, rtol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"drop_text": True}], ids=["image", "image and text"])
def test_another_class_changes_no_ratio_of_two_probabilities(model, settings):
    few = analysed(model, ["cat", "dog"], **settings)
    many = analysed(model, ["a very long neighbour of both", "dog", "cow", "cat"], **settings)
    for condition in few.conditions:
        p, q = (found.predictions[condition].probabilities for found in (few, many))
        assert q[3] / q[1] == pytest.approx(p[0] / p[1], rel=1e-4)


def test_another_class_changes_no_image_trace(model):
    few, many = analysed(model, ["cat", "dog"]), analysed(model, ["cow", "dog", "cat"])
    for condition in few.conditions:
        for ours, theirs in zip(
            few.images[condition].layers, many.images[condition].layers, strict=True
        ):
            assert np.array_equal(ours.blend, theirs.blend)
            assert np.array_equal(ours.dropped, theirs.dropped)


def test_another_class_changes_no_map(model):
    few, many = analysed(model, ["cat", "dog"]), analysed(model, ["cow", "dog", "cat"])
    for condition in few.conditions:
        ours, theirs = few.maps.values[condition], many.maps.values[condition]
        np.testing.assert_allclose(ours[0], theirs[2], rtol=1e-3, atol=1e-7)


def test_dropped_text_changes_the_dropped_conditions_only(model):
    plain, dropped = analysed(model), analysed(model, drop_text=True)
    for condition in plain.conditions:
        ours, theirs = (a.predictions[condition].cosines for a in (plain, dropped))
        assert np.allclose(ours, theirs, atol=1e-6) == (condition in ("frozen", "adapted"))


def test_maps_are_those_of_each_conditions_own_text(model):
    found = analysed(model, drop_text=True)
    pixels = model.backbone.normalise(found.pixels[None])
    records = list(model.image_layers(pixels))
    text = torch.from_numpy(found.texts["adapted"].features)[None]
    steps = model.prompts.image_steps()
    expected = class_maps(model.backbone.visual, records, text, classes=range(3), prompts=steps)
    np.testing.assert_allclose(found.maps.values["adapted"], expected[0], rtol=1e-3, atol=1e-7)


def test_of_many_classes_the_ten_likeliest_have_maps(model):
    names = [f"class {i}" for i in range(14)]
    found = analysed(model, names)
    best = np.max([found.predictions[c].probabilities for c in ("frozen", "adapted")], axis=0)
    assert set(found.maps.classes) == set(np.argsort(best)[-10:])
    assert found.maps.values["iwtd"].shape == (10, 4, 4)


def test_the_target_class_has_a_map_even_if_it_is_unlikely():
    even = Prediction(np.arange(12) / 12, logit_scale=1)
    assert shown_classes([even]) == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert shown_classes([even], target=0) == [11, 10, 9, 8, 7, 6, 5, 4, 3, 0]
    assert shown_classes([even], target=5) == shown_classes([even])


@pytest.mark.parametrize("mode", ["zero", "zero_scaled", "hide", "noise"])
def test_a_map_is_unavailable_where_the_drop_acts_at_its_site(model, mode):
    found = analysed(model, cam_layer=1, dropout=DropoutSettings(mode=mode))
    for condition in DROPPING:
        layer = found.images[condition].layers[0]
        gone = layer.patches(layer.dropped)
        expected = gone & (mode != "noise")  # noise leaves an activation to map
        assert gone.any()
        assert np.array_equal(found.maps.unavailable[condition], expected)
    assert not found.maps.unavailable["adapted"].any()


def test_hidden_patches_stay_unavailable_in_later_layers(model):
    found = analysed(model, cam_layer=3, dropout=DropoutSettings(mode="hide", image_depth=2))
    layers = found.images["iwtd"].layers
    gone = layers[0].patches(layers[0].dropped) | layers[1].patches(layers[1].dropped)
    assert np.array_equal(found.maps.unavailable["iwtd"], gone)


def test_a_trace_tells_patches_from_prompts(analysis):
    layer = analysis.images["iwtd"].layers[0]
    numbers = np.arange(21)[None]
    assert layer.patches(numbers).tolist() == np.arange(1, 17).reshape(4, 4).tolist()
    assert numbers[0, slice(*layer.prompts)].tolist() == [17, 18, 19, 20]
    assert layer.content[0].tolist() == [False] + [True] * 20


def test_a_trace_knows_the_length_of_every_token(model):
    found = analysed(model)
    pixels = model.backbone.normalise(found.pixels[None])
    for record, layer in zip(
        model.image_layers(pixels), found.images["adapted"].layers, strict=True
    ):
        expected = record.tokens.pow(2).sum(dim=-1).sqrt()
        np.testing.assert_allclose(layer.norms, expected.numpy(), rtol=1e-4)


def test_attention_is_kept_on_request_in_half_precision(model):
    assert analysed(model).images["iwtd"].layers[0].attention is None
    kept = analysed(model, keep_attention=True).images["iwtd"].layers[0].attention
    assert (kept.shape, kept.dtype) == ((1, 4, 21, 21), np.float16)


def test_an_analysis_remembers_what_made_it(model):
    settings = AnalysisSettings(seed=9)
    found = analyse(model, noise_picture(), NAMES, settings, prompts_name="trained on noise")
    known = found.provenance
    assert (known["seed"], known["prompts"]) == (9, "trained on noise")
    assert known["backbone_hash"] == model.backbone.weights_hash
    assert known["torch"] == torch.__version__
    assert found.settings == settings


def test_texts_read_before_give_the_same_analysis(model):
    texts = describe_classes(model, NAMES)
    ours, theirs = analysed(model, texts), analysed(model)
    for condition in ours.conditions:
        assert np.array_equal(
            ours.predictions[condition].cosines, theirs.predictions[condition].cosines
        )


def test_an_analysis_leaves_model_and_picture_as_they_were(model):
    picture = noise_picture()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    analyse(model, picture, NAMES)
    assert picture == noise_picture()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_an_analysis_holds_arrays_only(analysis):
    """So that it can be kept, cached and sent without a model."""

    def leaves(value):
        if isinstance(value, dict):
            value = tuple(value.values())
        if isinstance(value, tuple):
            return [leaf for part in value for leaf in leaves(part)]
        if hasattr(value, "__dataclass_fields__"):
            return [leaf for f in fields(value) for leaf in leaves(getattr(value, f.name))]
        return [value]

    kinds = {type(leaf) for leaf in leaves(analysis)}
    assert kinds <= {np.ndarray, str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ("iwtd", "best")}, r"Unknown strategies \['best'\]; choose of \['none',"),
        ({"cam_method": "x"}, "No map is called 'x'; choose of"),
        ({"strategies": ("vanilla",)}, "put 'iwtd' among the strategies"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        AnalysisSettings(**changes)


def test_a_layer_the_tower_does_not_have_is_refused(model):
    with pytest.raises(SettingsError, match="Layer 12 does not exist; the tower has 4"):
        analysed(model, cam_layer=12)


def test_a_template_without_a_place_for_the_name_is_refused(model):
    with pytest.raises(SettingsError, match=r"“a photo” must hold \{\} once"):
        analysed(model, template="a photo")


def test_an_empty_class_list_is_refused(model):
    with pytest.raises(ClassListError, match="The class list is empty"):
        analysed(model, [" ", ""])


def test_mini_tells_a_flower_from_a_palace(mini):
    names = ["flower", "palace"]
    for expected, file in enumerate(("flower.jpg", "china.jpg")):
        found = analyse(mini, Image.fromarray(load_sample_image(file)), names)
        assert found.predictions["frozen"].probabilities.argmax() == expected


def test_an_analysis_is_possible_with_fresh_prompts_of_mini(mini):
    torch.manual_seed(0)
    model = PromptedClip(mini, PromptPlan(), bridge_tokens=64)
    found = analyse(model, noise_picture(), NAMES)
    assert len(found.images["iwtd"].layers) == 12
    assert sum(layer.dropped is not None for layer in found.images["iwtd"].layers) == 6
    assert found.maps.values["iwtd"].shape == (3, 14, 14)
