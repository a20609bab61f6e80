"""Trained prompts on disk: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import NAMES, noise_pixels, prompted, tiny_clip, wrap

from drople import DropoutSettings, load_prompts, save_prompts
from drople.errors import CheckpointError
from drople.models.backbone import CHECKPOINTS
from drople.models.prompts import PromptPlan
from drople.storage.prompts import FORMAT, MAX_BYTES, PromptCard, read_card
from drople.tokens.importance import SignalWeights

SHIPPED = sorted(CHECKPOINTS.glob("prompts/*.safetensors"))
PLANS = {
    "replace": PromptPlan(),
    "coupled": PromptPlan("coupled", image_count=2, text_count=2, phrase="of a {}."),
    "modular": PromptPlan("modular", image_count=1, text_count=1, positioned=True),
    "text only": PromptPlan(image_count=0, image_depth=0, text_depth=1),
}


def card_of(model, **changes):
    card = PromptCard(
        backbone=model.backbone.name,
        backbone_hash=model.backbone.weights_hash,
        plan=model.plan,
        bridge_tokens=len(model.bridge.tokens) if model.bridge else 0,
        method="drople",
        classes=("cat", "dog"),
        data="toys",
        shots=16,
        seed=2,
        dropout=DropoutSettings(mode="hide", p_max=0.6, weights=SignalWeights(2, 1, 0)),
        training={"lr": 0.002, "epochs": 8},
        metrics={"base": 91.25},
    )
    return replace(card, **changes)


def test_prompts_whose_card_leaves_the_precision_to_the_machine_still_load(model, tmp_path):
    """As version 0.1.0 wrote them."""
    card = card_of(model, training={"precision": "auto"}, drople_version="0.1.0")
    save_prompts(tmp_path / "a.safetensors", model, card)
    assert load_prompts(tmp_path / "a.safetensors", model.backbone)[1] == card


@pytest.fixture
def file(model, tmp_path):
    """The tiny model's prompts on disk."""
    path = tmp_path / "prompts.safetensors"
    save_prompts(path, model, card_of(model))
    return path


def rewrite(path, *, tensors=None, header=None):
    """Writes a file again with other tensors, or with some fields of its header changed."""
    with safe_open(path, framework="pt") as opened:
        known = json.loads(opened.metadata()["drople"])
    kept = load_file(path) if tensors is None else tensors
    save_file(kept, path, metadata={"drople": json.dumps(known | (header or {}))})


@pytest.mark.parametrize("bridge", [0, 8])
@pytest.mark.parametrize("plan", PLANS)
def test_prompts_read_back_give_the_same_logits(backbone, tmp_path, plan, bridge):
    model = prompted(backbone, PLANS[plan], bridge=bridge)
    save_prompts(tmp_path / "a.safetensors", model, card_of(model))
    read, _ = load_prompts(tmp_path / "a.safetensors", backbone)
    assert torch.equal(model.encode_image(noise_pixels()), read.encode_image(noise_pixels()))
    assert torch.equal(model.encode_text(NAMES), read.encode_text(NAMES))
    assert torch.equal(model.logit_scale, read.logit_scale)


def test_prompts_read_back_give_the_same_importance(model, file, pixels):
    read, _ = load_prompts(file, model.backbone)
    pairs = zip(
        model.image_layers(pixels, score=True), read.image_layers(pixels, score=True), strict=True
    )
    for ours, theirs in pairs:
        assert torch.equal(ours.importance.blend(), theirs.importance.blend())


def test_a_card_is_read_back_as_it_was_written(model, file):
    assert read_card(file) == card_of(model)
    assert load_prompts(file, model.backbone)[1] == card_of(model)


def test_a_file_holds_what_is_learnt_and_no_clip(model, file):
    assert load_file(file).keys() == model.state_dict().keys()
    assert file.stat().st_size < 100_000


def test_prompts_that_are_read_are_frozen(model, file):
    read, _ = load_prompts(file, model.backbone)
    assert not any(parameter.requires_grad for parameter in read.parameters())


def test_reading_draws_no_random_number(model, file):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_prompts(file, model.backbone)
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_is_made_and_no_partial_file_is_left(model, tmp_path):
    path = tmp_path / "new" / "folder" / "a.safetensors"
    save_prompts(path, model, card_of(model))
    save_prompts(path, model, card_of(model, seed=3))  # over the first
    assert [found.name for found in path.parent.iterdir()] == ["a.safetensors"]
    assert read_card(path).seed == 3


def test_others_may_read_a_file_as_they_may_any_file(file):
    file.with_name("any").touch()
    assert file.stat().st_mode == file.with_name("any").stat().st_mode


def test_prompts_of_another_backbone_are_refused(model, file):
    other = wrap(tiny_clip(seed=5))
    with pytest.raises(CheckpointError) as caught:
        load_prompts(file, other)
    message = str(caught.value)
    assert f"was made with tiny (weights {model.backbone.weights_hash})" in message
    assert f"the backbone loaded is tiny (weights {other.weights_hash})" in message


def test_a_missing_file_is_refused(backbone, tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no file gone\.safetensors"):
        load_prompts(tmp_path / "gone.safetensors", backbone)


@pytest.mark.parametrize("name", ["pickled.safetensors", "pickled.pt"])
@pytest.mark.parametrize("saved_by", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(backbone, tmp_path, name, saved_by):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap())) if saved_by == "pickle" else torch.save(Trap(), path)
    with pytest.raises(CheckpointError, match=f"{name} is not a safetensors file. Pickled"):
        load_prompts(path, backbone)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 4, 8, 9, 200, -1])
def test_a_truncated_file_is_refused(backbone, file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"prompts\.safetensors is not a (readable )?safe"):
        load_prompts(file, backbone)


def test_a_safetensors_file_of_something_else_is_refused(backbone, tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors .* without a drople header"):
        load_prompts(tmp_path / "other.safetensors", backbone)


@pytest.mark.parametrize("header", ["[]", "3", '"text"', '{"format": "other"}', "not json"])
def test_a_header_of_another_kind_is_refused(backbone, tmp_path, header):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"drople": header})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_prompts(path, backbone)


def test_a_newer_format_is_refused(backbone, file):
    rewrite(file, header={"format_version": 2})
    with pytest.raises(CheckpointError, match=r"format version 2; this program reads 1\. Update"):
        load_prompts(file, backbone)


def test_a_tensor_of_the_wrong_shape_is_refused(backbone, file):
    rewrite(file, tensors=load_file(file) | {"prompts.image": torch.zeros(4, 5, 64)})
    expected = r"prompts\.image is \(4, 5, 64\) but must be \(4, 4, 64\)"
    with pytest.raises(CheckpointError, match=expected):
        load_prompts(file, backbone)


def test_a_missing_tensor_is_refused(backbone, file):
    tensors = load_file(file)
    del tensors["prompts.text"]
    rewrite(file, tensors=tensors)
    with pytest.raises(CheckpointError, match=r"own header: prompts\.text is missing\."):
        load_prompts(file, backbone)


def test_a_tensor_too_many_is_refused(backbone, file):
    rewrite(file, tensors=load_file(file) | {"extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="own header: extra is not known"):
        load_prompts(file, backbone)


def test_values_that_are_not_finite_are_refused(backbone, file):
    tensors = load_file(file)
    tensors["prompts.text"][0, 0, 0] = torch.nan
    rewrite(file, tensors=tensors)
    with pytest.raises(CheckpointError, match="values that are not finite"):
        load_prompts(file, backbone)


def test_a_file_too_large_is_refused_unread(backbone, tmp_path):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)  # takes no room on the disk
    with pytest.raises(CheckpointError, match=r"has 65 MiB; prompts have at most 64\. Is it"):
        load_prompts(path, backbone)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan", {"kind": "shallow"}),
        ("plan", {"image_count": "four"}),
        ("plan", {"depth": 3}),
        ("plan", None),
        ("dropout", {"p_max": 7.0}),
        ("dropout", {}),
        ("classes", None),
        ("colour", "blue"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(backbone, file, field, value):
    rewrite(file, header={field: value})
    with pytest.raises(CheckpointError, match=r"The header of prompts\.safetensors is not comp"):
        load_prompts(file, backbone)


@pytest.mark.parametrize(
    "header",
    [
        {"plan": asdict(PromptPlan()) | {"image_count": 10**9}},
        {"plan": asdict(PromptPlan()) | {"image_count": 4.0}},
        {"plan": asdict(PromptPlan()) | {"phrase": 3}},
        {"plan": asdict(PromptPlan()) | {"text_depth": 0}},
        {"plan": asdict(PromptPlan("modular")) | {"n_add": 10**9}},
        {"plan": asdict(PromptPlan(image_count=1000))},
        {"plan": asdict(PromptPlan("coupled")) | {"image_depth": 0}},
        {"bridge_tokens": 10**12},
        {"bridge_tokens": -1},
        {"bridge_tokens": "8"},
    ],
    ids=range(10),
)
def test_a_header_no_model_can_be_built_from_is_refused(backbone, file, header):
    rewrite(file, header=header)
    with pytest.raises(CheckpointError, match=r"prompts\.safetensors"):
        load_prompts(file, backbone)


def test_the_format_is_named_in_every_file(file):
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["drople"])
    assert (header["format"], header["format_version"]) == (FORMAT, 1)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_prompts_that_travel_with_the_project_are_minis(path, mini):
    model, card = load_prompts(path, mini)
    assert card.backbone == "mini"
    assert card.classes
    assert torch.isfinite(model.encode_text(card.classes[:2])).all()
