"""Checkpoints of other methods become prompts that compute what those methods compute."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from others import (
    IMAGE,
    MAKE,
    NAMES,
    WORDS,
    coop,
    drople,
    expected,
    lora,
    maple,
    random,
    read_image,
    suffix,
)
from safetensors.torch import save_file
from tiny import tiny_clip, wrap

from drople.analysis import analyse
from drople.errors import CheckpointError
from drople.importers import import_prompts
from drople.storage.prompts import load_prompts, save_prompts


@pytest.fixture(scope="module")
def clip():
    return tiny_clip().eval()


@pytest.fixture(scope="module")
def backbone():
    return wrap(tiny_clip())


def saved(path, state, wrapped=True):
    """A file as Dassl writes it, best accuracy and all."""
    whole = {"state_dict": state, "epoch": 5, "optimizer": None, "val_result": np.float64(81.5)}
    torch.save(whole if wrapped else state, path)
    return path


@pytest.mark.parametrize("kind", MAKE)
@torch.no_grad()
def test_imported_prompts_compute_what_the_method_s_own_forward_does(
    kind, clip, backbone, pixels, tmp_path
):
    state = MAKE[kind](clip)
    path = saved(tmp_path / "model.pth.tar-5", state)
    model, card, report = import_prompts(path, backbone)
    assert (card.method, report.method) == (kind, kind)
    assert card.classes == NAMES
    image, text = expected(kind, state, clip, pixels)
    torch.testing.assert_close(model.encode_image(pixels), image, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode_text(NAMES), text, atol=1e-5, rtol=1e-4)
    # The prompts matter: the bare backbone says something else.
    assert not torch.allclose(model.encode_text(NAMES), backbone.encode_text(NAMES), atol=1e-2)


@pytest.mark.parametrize("kind", [*MAKE, "drople"])
def test_every_key_is_in_the_report_once(kind, clip, backbone, tmp_path):
    state = drople(clip) if kind == "drople" else MAKE[kind](clip)
    _, _, report = import_prompts(saved(tmp_path / "a.pth.tar-5", state), backbone)
    bare = sorted(key.removeprefix("prompt_learner.") for key in state)
    told = [*report.used, *(key for keys in report.unused.values() for key in keys)]
    assert sorted(told) == bare
    assert "not known" not in report.unused
    assert any("used" in line for line in report.lines())


@pytest.mark.parametrize("kind", [*MAKE, "drople"])
def test_what_was_imported_can_be_saved_and_loaded(kind, clip, backbone, pixels, tmp_path):
    state = drople(clip) if kind == "drople" else MAKE[kind](clip)
    model, card, _ = import_prompts(saved(tmp_path / "a.pth.tar-5", state), backbone)
    save_prompts(tmp_path / "p.safetensors", model, card)
    again, same = load_prompts(tmp_path / "p.safetensors", backbone)
    assert same == card
    assert torch.equal(again.encode_image(pixels), model.encode_image(pixels))


def test_drople_s_own_file_fills_prompts_bridge_and_scale(clip, backbone, tmp_path):
    state = drople(clip)
    model, card, report = import_prompts(saved(tmp_path / "c.t7", {"net": state}, False), backbone)
    assert torch.equal(model.prompts.image.half(), state["visual_prompts"])
    assert torch.equal(model.prompts.text[1].half(), state["text_prompts.1"])
    assert torch.equal(model.bridge.image.weight.half(), state["mag_module.visual_mapping.weight"])
    assert float(model.logit_scale) == 4.0
    assert card.dropout.mode == "noise"
    assert not card.plan.positioned
    assert any("LLM prompts dropped" in note for note in report.notes)
    assert set(report.unused["prompts of an LLM"]) == {"class_token.dw.0", "llm_prompt_bias.dw.0"}


@torch.no_grad()
def test_drople_s_low_rank_changes_act_in_the_adapted_branch_alone(
    clip, backbone, pixels, tmp_path
):
    state = drople(clip) | lora(2)
    path = saved(tmp_path / "c.t7", {"net": state}, False)
    model, card, report = import_prompts(path, backbone)
    merged = copy.deepcopy(clip)
    for layer in (1, 3):
        weight = merged.visual.transformer.resblocks[layer].attn.in_proj_weight
        for name, start in (("q", 0), ("v", 2 * IMAGE)):
            at = f"lora_model.default.model.encoder.layers.{layer}.self_attn.{name}_proj"
            down, up = (state[f"{at}.lora_{m}.default.weight"].float() for m in "AB")
            weight[start : start + IMAGE] += 16 / 2 * up @ down
    first, *deeper = state["visual_prompts"]
    image = read_image(merged, pixels, first, deeper, removed=4)
    torch.testing.assert_close(model.encode_image(pixels), image, atol=1e-5, rtol=1e-4)
    frozen = clip.encode_image(pixels)
    torch.testing.assert_close(backbone.encode_image(pixels), frozen, atol=1e-5, rtol=1e-4)
    assert len(report.unused["the same low-rank changes once more"]) == 8
    save_prompts(tmp_path / "p.safetensors", model, card)
    again, same = load_prompts(tmp_path / "p.safetensors", backbone)
    assert same == card
    assert torch.equal(again.encode_image(pixels), model.encode_image(pixels))


def test_maps_look_through_the_low_rank_changes(clip, backbone, picture, tmp_path):
    state = drople(clip) | lora(2)
    with_changes, without = (
        analyse(import_prompts(saved(tmp_path / "a.t7", one, False), backbone)[0], picture, NAMES)
        for one in (state, drople(clip))
    )
    for condition, same in (("frozen", True), ("adapted", False)):
        maps = [found.maps.values[condition] for found in (with_changes, without)]
        assert np.allclose(*maps, atol=1e-7) == same


def test_kgcoop_is_told_from_coop_by_the_user(clip, backbone, tmp_path):
    path = saved(tmp_path / "a.pth.tar-5", coop(clip))
    assert import_prompts(path, backbone, method="kgcoop")[1].method == "kgcoop"


@pytest.mark.parametrize("form", ["wrapped", "bare", "data parallel", "safetensors"])
def test_a_state_dict_comes_in_several_wrappings(form, clip, backbone, tmp_path):
    state = coop(clip)
    if form == "safetensors":
        save_file(state, tmp_path / "a.safetensors")
        path = tmp_path / "a.safetensors"
    elif form == "data parallel":
        path = saved(tmp_path / "a.pt", {f"module.{key}": v for key, v in state.items()})
    else:
        path = saved(tmp_path / "a.pt", state, form == "wrapped")
    model, _, _ = import_prompts(path, backbone)
    assert torch.equal(model.prompts.text[0].half(), state["ctx"])


def test_a_phrase_can_be_given(clip, backbone, tmp_path):
    state = coop(clip) | {"token_suffix": suffix(clip, "a photo of a scan of", 4)}
    path = saved(tmp_path / "a.pt", state)
    _, card, report = import_prompts(path, backbone)
    assert card.classes == tuple(f"scan of {name}" for name in NAMES)  # as far as it can tell
    _, card, _ = import_prompts(path, backbone, phrase="scan of {}.")
    assert card.classes == NAMES
    _, card, report = import_prompts(path, backbone, phrase="drawing of {}.")
    assert card.classes == ()
    assert "--phrase" in report.notes[-1]


def changed(state, **changes):
    return {**state, **changes}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda clip: {"fc.weight": torch.zeros(2, 2)}, "none of the keys"),
        (lambda clip: changed(coop(clip), ctx=random(3, 4, WORDS, seed=0)), "CSC"),
        (lambda clip: {"ctx": random(4, WORDS + 1, seed=0)}, "needs"),
        (
            lambda clip: changed(coop(clip), token_prefix=random(3, 1, WORDS, seed=0)),
            "another CLIP",
        ),
        (
            lambda clip: changed(maple(clip), **{"image_encoder.proj": random(IMAGE, 32, seed=0)}),
            "another CLIP",
        ),
        (
            lambda clip: {
                key: value
                for key, value in maple(clip).items()
                if key != "prompt_learner.proj.bias"
            },
            "not complete",
        ),
        (
            lambda clip: {
                k: v for k, v in (drople(clip) | lora(2)).items() if "1.self_attn.v" not in k
            },
            "not complete",
        ),
        (lambda clip: torch.zeros(3), "not a state dict"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(make, says, clip, backbone, tmp_path):
    with pytest.raises(CheckpointError, match=says):
        import_prompts(saved(tmp_path / "a.pt", make(clip), wrapped=False), backbone)


def test_a_file_that_runs_code_is_refused(backbone, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (partial(open, str(tmp_path / "ran"), "w"), ())

    torch.save({"state_dict": {"ctx": Bomb()}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="run code"):
        import_prompts(tmp_path / "a.pth", backbone)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_a_cut_off_file_is_refused(kept, clip, backbone, tmp_path):
    path = saved(tmp_path / "a.pth", coop(clip))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError):
        import_prompts(path, backbone)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"meta_net.linear1.weight": random(4, 4, seed=0)}, "meta network"),
        ({"compound_prompts_text.0": random(4, WORDS, seed=0)}, "not guessed at"),
        ({"adapter.fc.weight": random(4, 4, seed=0)}, r"adapter\.fc\.weight"),
        ({"ctx": torch.full((4, WORDS), torch.nan)}, "not finite"),
        ({"ctx": torch.full((4, WORDS), torch.inf)}, "not finite"),
        ({"ctx": torch.zeros(4, WORDS, dtype=torch.complex64)}, "complex64"),
        ({"ctx": torch.zeros(4, WORDS, dtype=torch.int64)}, "int64"),
        ({"ctx": torch.zeros(0, WORDS)}, "empty"),
        ({"ctx": torch.zeros(WORDS)}, "2 dimensions"),
        ({"logit_scale": torch.zeros(2)}, "more than one number"),
        ({"token_suffix": torch.zeros(3, 72, WORDS + 1)}, "needs 48"),
    ],
)
def test_what_is_not_known_or_no_number_is_refused(changes, says, clip, backbone, tmp_path):
    with pytest.raises(CheckpointError, match=says):
        import_prompts(saved(tmp_path / "a.pt", coop(clip) | changes), backbone)


def test_kgcoop_is_known_by_its_unused_vectors(clip, backbone, tmp_path):
    unused = {
        "bias_vectors": random(1, WORDS, seed=0),
        "meta_net.linear1.weight": random(4, 4, seed=1),
    }
    _, card, report = import_prompts(saved(tmp_path / "a.pt", coop(clip) | unused), backbone)
    assert card.method == "kgcoop"
    assert set(report.unused["never used by its own forward"]) == unused.keys()
    assert any("like CoOp's" in note for note in report.notes)


def test_maple_of_one_layer_is_no_coop(clip, backbone, tmp_path):
    state = {key: value for key, value in maple(clip).items() if "compound" not in key}
    model, card, _ = import_prompts(saved(tmp_path / "a.pt", state), backbone)
    assert (card.method, model.plan.kind, model.plan.image_depth) == ("maple", "coupled", 1)


def test_vpt_has_prompts_in_the_image_tower_alone(clip, backbone, pixels, tmp_path):
    state = {k: v for k, v in MAKE["promptsrc"](clip).items() if "prompt_learner" not in k
             and "text_encoder.transformer" not in k}  # fmt: skip
    model, card, _ = import_prompts(saved(tmp_path / "a.pt", state), backbone)
    assert (card.method, model.plan.text_count, model.plan.image_depth) == ("vpt", 0, 3)
    expected_text = backbone.encode_text([f"a photo of a {name}." for name in NAMES])
    torch.testing.assert_close(model.encode_text(NAMES), expected_text)


def test_another_method_than_the_file_s_is_refused(clip, backbone, tmp_path):
    with pytest.raises(CheckpointError, match="holds what maple saves, and not coop"):
        import_prompts(saved(tmp_path / "a.pt", maple(clip)), backbone, method="coop")
