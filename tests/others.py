"""Other people's checkpoints: synthetic files with the published key names, and forwards of each
method written from its public code over open_clip's own modules, so that nothing of ours is shared.
"""

from __future__ import annotations

import torch
from tiny import TEXT, TOKENIZER, VISION
from torch.nn import functional as F

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


def coupled(count: int) -> dict[str, torch.Tensor]:
    """What MaPLe's and MPL's prompt learners have in common."""
    learner = {
        "ctx": random(count, WORDS, seed=1),
        "proj.weight": random(IMAGE, WORDS, seed=2),
        "proj.bias": random(IMAGE, seed=3),
    }
    for i in range(DEPTH - 1):
        learner[f"compound_prompts_text.{i}"] = random(count, WORDS, seed=10 + i)
    return learner


def maple(clip, count: int = 2) -> dict[str, torch.Tensor]:
    learner = coupled(count)
    for i in range(DEPTH - 1):
        learner[f"compound_prompt_projections.{i}.weight"] = random(IMAGE, WORDS, seed=20 + i)
        learner[f"compound_prompt_projections.{i}.bias"] = random(IMAGE, seed=30 + i)
    return whole_model(clip, learner | buffers(clip, "a photo of a", count))


def mpl(clip, count: int = 1, adds: int = 2) -> dict[str, torch.Tensor]:
    learner = coupled(count)
    for i in range(DEPTH - 1):
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
