"""Other people's checkpoints: synthetic files with the published key names, and forwards of each
method written from its public code over open_clip's own modules, so that nothing of ours is shared.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import TEXT, TOKENIZER, VISION, tiny_clip, wrap
from torch.nn import functional as F

from drople.analysis import analyse
from drople.checkpoints import load_prompts, save_prompts
from drople.errors import CheckpointError
from drople.importers import import_prompts

NAMES = ("cat", "golden retriever", "train station")
IMAGE, WORDS = VISION["width"], TEXT["width"]  # widths of the towers
DEPTH = 3


def random(*shape: int, seed: int) -> torch.Tensor:
    """Values the size of learned prompts, in the half precision such files have."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1).half()


def suffix(clip, words: str, count: int) -> torch.Tensor:
    """The buffer `token_suffix`: embeddings of what follows SOS and `count` context tokens."""
    start, end = TOKENIZER.sot_token_id, TOKENIZER.eot_token_id
    ids = torch.zeros(len(NAMES), 77, dtype=torch.long)
    for row, name in zip(ids, NAMES, strict=True):
        tokens = [start, *TOKENIZER.encode(f"{words} {name}."), end]
        row[: len(tokens)] = torch.tensor(tokens)
    return clip.token_embedding(ids)[:, 1 + count :].detach().half()


def buffers(clip, words: str, count: int) -> dict[str, torch.Tensor]:
    start = clip.token_embedding.weight[TOKENIZER.sot_token_id].detach().half()
    prefix = start.expand(len(NAMES), 1, -1).clone()
    return {"token_prefix": prefix, "token_suffix": suffix(clip, words, count)}


def coop(clip, count: int = 4) -> dict[str, torch.Tensor]:
    return {"ctx": random(count, WORDS, seed=1), **buffers(clip, "a photo of a", count)}


def whole_model(clip, learner: dict[str, torch.Tensor], **others: torch.Tensor):
    """CustomCLIP's state dict: the prompt learner, and the CLIP under its own names."""
    image = {f"image_encoder.{k}": v.half() for k, v in clip.visual.state_dict().items()}
    text = {"text_encoder.positional_embedding": clip.positional_embedding.detach().half()}
    learnt = {f"prompt_learner.{key}": value for key, value in learner.items()}
    return learnt | image | text | {"logit_scale": torch.tensor(3.5)} | others


def maple(clip, count: int = 2) -> dict[str, torch.Tensor]:
    learner = {
        "ctx": random(count, WORDS, seed=1),
        "proj.weight": random(IMAGE, WORDS, seed=2),
        "proj.bias": random(IMAGE, seed=3),
    }
    for i in range(DEPTH - 1):
        learner[f"compound_prompts_text.{i}"] = random(count, WORDS, seed=10 + i)
        learner[f"compound_prompt_projections.{i}.weight"] = random(IMAGE, WORDS, seed=20 + i)
        learner[f"compound_prompt_projections.{i}.bias"] = random(IMAGE, seed=30 + i)
    return whole_model(clip, learner | buffers(clip, "a photo of a", count))


def mpl(clip, count: int = 1, adds: int = 2) -> dict[str, torch.Tensor]:
    learner = {
        "ctx": random(count, WORDS, seed=1),
        "proj.weight": random(IMAGE, WORDS, seed=2),
        "proj.bias": random(IMAGE, seed=3),
    }
    for i in range(DEPTH - 1):
        learner[f"compound_prompts_text.{i}"] = random(count, WORDS, seed=10 + i)
        for a in range(adds):
            key = f"txt2img_proj.{a}.{i}"
            learner[f"{key}.weight"] = random(IMAGE, WORDS, seed=40 + 7 * a + i)
            learner[f"{key}.bias"] = random(IMAGE, seed=60 + 7 * a + i)
    return whole_model(clip, learner | buffers(clip, "X a photo of a", count))


def promptsrc(clip, count: int = 4) -> dict[str, torch.Tensor]:
    learner = {"ctx": random(count, WORDS, seed=1), **buffers(clip, "a photo of a", count)}
    learner["ZS_image_encoder.proj"] = clip.visual.proj.detach().half()
    others = {"image_encoder.VPT": random(count, IMAGE, seed=2)}
    for i in range(1, DEPTH):
        key = f"transformer.resblocks.{i}.VPT_shallow"
        others[f"image_encoder.{key}"] = random(count, IMAGE, seed=10 + i)
        others[f"text_encoder.{key}"] = random(count, WORDS, seed=20 + i)
    return whole_model(clip, learner, **others)


def drople(clip) -> dict[str, torch.Tensor]:
    joint = 32
    state = {
        "visual_prompts": random(2, 4, IMAGE, seed=1),
        "logit_scale": torch.tensor([4.0]),
        "mag_module.learnable_tokens": random(6, joint, seed=2),
        "mag_module.visual_mapping.weight": random(joint, IMAGE, seed=3),
        "mag_module.visual_mapping.bias": random(joint, seed=4),
        "mag_module.text_mapping.weight": random(joint, WORDS, seed=5),
        "mag_module.text_mapping.bias": random(joint, seed=6),
        "class_token.dw.0": random(24, 16, seed=7),
        "llm_prompt_bias.dw.0": random(24, WORDS, seed=8),
        "adapter.fc.0.weight": random(8, 32, seed=9),
        "clip_model.vision_model.post_layernorm.weight": torch.ones(IMAGE),
    }
    for i in range(DEPTH):
        state[f"text_prompts.{i}"] = random(4, WORDS, seed=10 + i)
    return state


def lora(rank: int) -> dict[str, torch.Tensor]:
    """Low-rank changes of the blocks 1 and 3, with the names peft gives them, and their copies."""
    state = {}
    for layer in (1, 3):
        for one, name in enumerate(("q", "v")):
            at = f"encoder.layers.{layer}.self_attn.{name}_proj"
            down = random(rank, IMAGE, seed=100 * layer + one)
            up = random(IMAGE, rank, seed=100 * layer + 10 + one)
            for root in ("lora_model.default.model.", "clip_model.vision_model."):
                state[f"{root}{at}.lora_A.default.weight"] = down
                state[f"{root}{at}.lora_B.default.weight"] = up
    return state


# --- the methods' own forwards, batch second as in their code -----------------------------------


def read_image(clip, pixels, first, deeper, removed) -> torch.Tensor:
    """CLIP's image tower with prompts at the end; `deeper[i]` enters block i + 1."""
    visual = clip.visual
    x = visual.conv1(pixels).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1)
    x = x + visual.positional_embedding
    if first is not None:
        x = torch.cat([x, first.float().expand(len(x), -1, -1)], 1)
    x = visual.ln_pre(x)
    for i, block in enumerate(visual.transformer.resblocks):
        if 0 < i <= len(deeper):
            kept = x[:, : x.shape[1] - removed]
            x = torch.cat([kept, deeper[i - 1].float().expand(len(x), -1, -1)], 1)
        x = block(x)
    return visual.ln_post(x[:, 0]) @ visual.proj


def read_text(clip, phrases, context, deeper) -> torch.Tensor:
    """CLIP's text tower with the context right after SOS, replaced in blocks 1, 2, ..."""
    count = len(context)
    ids = torch.zeros(len(phrases), 77, dtype=torch.long)
    for row, phrase in zip(ids, phrases, strict=True):
        tokens = [TOKENIZER.sot_token_id, *TOKENIZER.encode(phrase), TOKENIZER.eot_token_id]
        row[: len(tokens)] = torch.tensor(tokens)
    x = clip.token_embedding(ids)
    x = torch.cat([x[:, :1], context.float().expand(len(x), -1, -1), x[:, 1 + count :]], 1)
    x = x + clip.positional_embedding
    for i, block in enumerate(clip.transformer.resblocks):
        if 0 < i <= len(deeper):
            fresh = deeper[i - 1].float().expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], fresh, x[:, 1 + count :]], 1)
        x = block(x, attn_mask=clip.attn_mask)
    x = clip.ln_final(x)[torch.arange(len(x)), ids.argmax(-1)]
    return x @ clip.text_projection


def linear(state, key, value):
    weight, bias = state[f"{key}.weight"].float(), state[f"{key}.bias"].float()
    return F.linear(value.float(), weight, bias)


def expected(kind, state, clip, pixels):
    """Features of images and NAMES, the way the method's own code computes them."""
    s = {key.removeprefix("prompt_learner."): value for key, value in state.items()}
    said = "X a photo of a" if kind == "mpl" else "a photo of a"
    phrases = [f"{said} {name}." for name in NAMES]
    texts = (
        [s[f"compound_prompts_text.{i}"] for i in range(DEPTH - 1)]
        if kind in ("maple", "mpl")
        else []
    )
    first, deeper, removed = None, [], len(s["ctx"])
    if kind in ("maple", "mpl"):
        first = linear(s, "proj", s["ctx"])
    if kind == "maple":
        deeper = [linear(s, f"compound_prompt_projections.{i}", t) for i, t in enumerate(texts)]
    if kind == "mpl":
        removed = 1
        deeper = [
            torch.cat([linear(s, f"txt2img_proj.{a}.{i}", text) for a in range(2)])
            for i, text in enumerate(texts)
        ]
    if kind == "promptsrc":
        block = "transformer.resblocks.{}.VPT_shallow"
        first = s["image_encoder.VPT"]
        deeper = [s[f"image_encoder.{block.format(i)}"] for i in range(1, DEPTH)]
        texts = [s[f"text_encoder.{block.format(i)}"] for i in range(1, DEPTH)]
    image = read_image(clip, pixels, first, deeper, removed)
    return image, read_text(clip, phrases, s["ctx"], texts)


MAKE = {"coop": coop, "maple": maple, "mpl": mpl, "promptsrc": promptsrc}


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
