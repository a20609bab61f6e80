"""What each method's public code saves: one reader a method, from keys to our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from drople.errors import CheckpointError
from drople.models.lora import LoraPlan
from drople.models.prompts import FIRST_WORDS, PromptPlan
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings


@dataclass(frozen=True)
class Extracted:
    """What one reader took out of a state dict."""

    method: str
    plan: PromptPlan
    tensors: dict[str, Tensor]  # names of `PromptedClip.state_dict`, all but `logit_scale`
    used: tuple[str, ...]  # keys of the file
    bridge_tokens: int = 0
    lora: LoraPlan | None = None
    dropout: DropoutSettings = field(default_factory=lambda: DropoutSettings(strategy="none"))
    notes: tuple[str, ...] = ()


def recognise(name: str, state: Mapping[str, Tensor]) -> str:
    """The method whose public code saves just these keys.

    Raises:
        CheckpointError: none that is known here does, or the method cannot be represented.
    """
    if any(key.startswith("meta_net.") for key in state) and "bias_vectors" not in state:
        raise CheckpointError(
            f"{name} is CoCoOp's: its meta network makes other prompts for every picture, and only "
            "prompts that are the same for all pictures can be represented."
        )
    unknown: dict[str, list[str]] = {}  # method -> keys that it does not save
    for method, (telling, others) in KEYS.items():
        if all(any(re.fullmatch(one, key) for key in state) for one in telling):
            known = re.compile("|".join((*telling, *others)))
            unknown[method] = [key for key in state if not known.fullmatch(key)]
            if not unknown[method]:
                return method
    if not unknown:
        raise CheckpointError(
            f"{name} has none of the keys of {', '.join(READERS)}. Is it the prompt learner's file "
            "(model.pth.tar-N), and not that of another method?"
        )
    nearest = min(unknown, key=lambda method: len(unknown[method]))
    shown = ", ".join(key[:80] for key in unknown[nearest][:3])
    raise CheckpointError(
        f"{name} looks most like {nearest}, which does not save {shown}"
        f"{', ...' * (len(unknown[nearest]) > 3)}: it is of a method that is not known here, and "
        f"is not guessed at. Known: {', '.join(READERS)}."
    )


def _coop(state: Mapping[str, Tensor]) -> Extracted:
    """CoOp, KgCoOp (trainers/coop.py): one context before the class name, input layer only."""
    context = state["ctx"]  # (P, D)
    if context.ndim == 3:
        raise CheckpointError(
            "The file has a context for every class (CSC); only one shared by all can be shown."
        )
    plan = PromptPlan(
        image_count=0, image_depth=0, text_count=len(context), text_depth=1,
        phrase="{}.", positioned=True,
    )  # fmt: skip
    notes = ["the class name is taken to stand last, CoOp's `end`: the file does not tell"]
    if "bias_vectors" in state:
        notes.append("KgCoOp's context is one like CoOp's; only its loss is another")
    method = "kgcoop" if "bias_vectors" in state else "coop"
    return Extracted(method, plan, {"prompts.text": context[None]}, ("ctx",), notes=tuple(notes))


def _maple(state: Mapping[str, Tensor]) -> Extracted:
    """MaPLe (trainers/maple.py): image prompts are linear images of the text prompts."""
    deeper = _numbered(state, r"compound_prompts_text\.(\d+)")
    depth, count = 1 + len(deeper), len(state["ctx"])
    used = ["ctx", "proj.weight", "proj.bias", *deeper]
    tensors = {"prompts.text": _stacked(state, ["ctx", *deeper])}
    for part in ("weight", "bias"):
        keys = _numbered(state, rf"compound_prompt_projections\.(\d+)\.{part}")
        for layer, key in enumerate([f"proj.{part}", *keys]):
            tensors[f"prompts.couple.{layer}.{part}"] = state[key]
        used += keys
    plan = PromptPlan(
        "coupled", image_count=count, image_depth=depth, text_count=count, text_depth=depth,
        phrase=_rest_of_words(count), positioned=True,
    )  # fmt: skip
    return Extracted("maple", plan, tensors, tuple(used))


def _independent(state: Mapping[str, Tensor]) -> Extracted:
    """PromptSRC, IVLP, VPT (trainers/promptsrc.py, vpt.py; clip/model.py): prompts in each tower.

    VPT has none in the text tower.
    """
    block = r"transformer\.resblocks\.(\d+)\.VPT_shallow"
    image = _numbered(state, rf"image_encoder\.{block}", first=1)
    text = _numbered(state, rf"text_encoder\.{block}", first=1)
    if "image_encoder.VPT" in state or image:
        image = ["image_encoder.VPT", *image]
    if "ctx" in state or text:
        text = ["ctx", *text]
    tensors = {
        f"prompts.{tower}": _stacked(state, keys)
        for tower, keys in (("image", image), ("text", text))
        if keys
    }
    count = len(state["ctx"]) if text else 0
    plan = PromptPlan(
        image_count=len(state[image[0]]) if image else 0, image_depth=len(image),
        text_count=count, text_depth=len(text),
        phrase=_rest_of_words(count), positioned=True,
    )  # fmt: skip
    method = "ivlp" if text else "vpt"
    if any(key.startswith("ZS_image_encoder.") for key in state):
        method = "promptsrc"
    return Extracted(method, plan, tensors, (*text, *image))


def _mpl(state: Mapping[str, Tensor]) -> Extracted:
    """MPL (trainers/mpl.py): modular prompts; how many are removed the file does not tell."""
    deeper = _numbered(state, r"compound_prompts_text\.(\d+)")
    depth, count = 1 + len(deeper), len(state["ctx"])
    adds = len(_numbered(state, r"txt2img_proj\.(\d+)\.0\.weight"))
    keys = {}  # ours -> theirs
    for part in ("weight", "bias"):
        keys[f"prompts.first.{part}"] = f"proj.{part}"
        for layer, one in product(range(depth - 1), range(adds)):
            keys[f"prompts.add.{layer}.{one}.{part}"] = f"txt2img_proj.{one}.{layer}.{part}"
    tensors = {"prompts.text": _stacked(state, ["ctx", *deeper])}
    tensors |= {ours: state[theirs] for ours, theirs in keys.items()}
    plan = PromptPlan(
        "modular", image_count=count, image_depth=depth, text_count=count, text_depth=depth,
        phrase="a photo of a {}.", positioned=True, n_add=adds,
    )  # fmt: skip
    note = f"n_rm is taken to be {plan.n_rm}, the published default: the file does not tell"
    return Extracted("mpl", plan, tensors, ("ctx", *deeper, *keys.values()), notes=(note,))


def _drople(state: Mapping[str, Tensor]) -> Extracted:
    """DroPLe's released code (METHOD.md 7); the prompts of its LLM cannot be carried over."""
    text = _numbered(state, r"text_prompts\.(\d+)")
    image = state["visual_prompts"]  # (L, P, D)
    plan = PromptPlan(
        image_count=image.shape[1], image_depth=len(image),
        text_count=len(state[text[0]]), text_depth=len(text), phrase="{}",
    )  # fmt: skip
    tensors = {"prompts.image": image, "prompts.text": _stacked(state, text)}
    bridge = {"bridge.tokens": "mag_module.learnable_tokens"}
    for part in ("weight", "bias"):
        bridge[f"bridge.image.{part}"] = f"mag_module.visual_mapping.{part}"
        bridge[f"bridge.text.{part}"] = f"mag_module.text_mapping.{part}"
    tensors |= {ours: state[theirs] for ours, theirs in bridge.items()}
    notes = ["DroPLe's dropout is the released code's: noise on chosen tokens, p 0.1 to 0.5"]
    if any(key.startswith("llm_prompt_bias") for key in state):
        notes.append(
            "LLM prompts dropped: accuracy cannot be compared with that of the model it comes from"
        )
    lora, low_rank, changed = _lora(state)
    if lora:
        notes.append("low-rank changes are merged with alpha 16, the released code's")
    used = ("visual_prompts", *text, *bridge.values(), *changed)
    return Extracted(
        "drople", plan, tensors | low_rank, used,
        bridge_tokens=len(state["mag_module.learnable_tokens"]),
        lora=lora, dropout=OFFICIAL_CODE, notes=tuple(notes),
    )  # fmt: skip


_LORA = (
    r"lora_model\.default\.model\.encoder\.layers\.(\d+)\.self_attn\.{}_proj"
    r"\.lora_{}\.default\.weight"
)


def _lora(state: Mapping[str, Tensor]) -> tuple[LoraPlan | None, dict[str, Tensor], list[str]]:
    """Low-rank changes of the image tower: where, our tensors, and the keys they come from."""
    tensors, used = {}, []
    layers: tuple[int, ...] = ()
    for ours, theirs in (("query", "q"), ("value", "v")):
        for part, matrix in (("down", "A"), ("up", "B")):
            pattern = _LORA.format(theirs, matrix)
            keys = _numbered(state, pattern, first=None)
            if not keys:
                return None, {}, []
            numbers = tuple(int(match[1]) for key in keys if (match := re.fullmatch(pattern, key)))
            if layers and numbers != layers:
                raise KeyError(f"{theirs}_proj.lora_{matrix} of the layers {layers}")
            layers = numbers
            tensors[f"lora.{ours}_{part}"] = _stacked(state, keys)
            used += keys
    return LoraPlan(layers, tensors["lora.query_down"].shape[1]), tensors, used


def _numbered(state: Mapping[str, Tensor], pattern: str, *, first: int | None = 0) -> list[str]:
    """The keys that match, in the order of the number in them.

    Args:
        first: the number they count from, one by one; None where they need not.

    Raises:
        KeyError: one between them is missing.
    """
    matches = [match for key in state if (match := re.fullmatch(pattern, key))]
    found = {int(match[1]): match[0] for match in matches}
    for place, number in enumerate(sorted(found)):
        if first is not None and number != first + place:
            raise KeyError(pattern.replace("\\", "").replace("(d+)", str(first + place)))
    return [found[number] for number in sorted(found)]


def _stacked(state: Mapping[str, Tensor], keys: Iterable[str]) -> Tensor:
    return torch.stack([state[key] for key in keys])


def _rest_of_words(count: int) -> str:
    """What of "a photo of a" the prompts do not replace; nothing where they started from X."""
    words = FIRST_WORDS.split()
    return " ".join([*words[count:], "{}."])


READERS: dict[str, Callable[[Mapping[str, Tensor]], Extracted]] = {
    "coop": _coop,
    "kgcoop": _coop,
    "maple": _maple,
    "promptsrc": _independent,
    "ivlp": _independent,
    "vpt": _independent,
    "mpl": _mpl,
    "drople": _drople,
}
_PART = r"(weight|bias)"
_BLOCK = (
    r"transformer\.resblocks\.\d+\."
    rf"(attn\.in_proj_{_PART}|(attn\.out_proj|ln_[12]|mlp\.c_fc|mlp\.c_proj)\.{_PART})"
)
# What all but DroPLe may save beside what is learnt: class names, and the frozen CLIP.
_BESIDE = (
    r"token_(prefix|suffix)|logit_scale",
    rf"image_encoder\.({_BLOCK}|class_embedding|positional_embedding|proj|conv1\.weight"
    rf"|ln_(pre|post)\.{_PART})",
    rf"text_encoder\.({_BLOCK}|positional_embedding|text_projection|ln_final\.{_PART})",
)
_ZERO_SHOT = rf"ZS_{_BESIDE[1]}"
_DEEP = r"(image|text)_encoder\.transformer\.resblocks\.\d+\.VPT_shallow"
_COUPLED = (rf"proj\.{_PART}", r"compound_prompts_text\.\d+")
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # method -> keys that it always has, and others that it may have; the first that fits decides
    "mpl": (
        ("ctx", r"proj\.weight", r"txt2img_proj\.0\.0\.weight"),
        (*_COUPLED, rf"txt2img_proj\.\d+\.\d+\.{_PART}", *_BESIDE),
    ),
    "maple": (
        ("ctx", r"proj\.weight"),
        (*_COUPLED, rf"compound_prompt_projections\.\d+\.{_PART}", *_BESIDE),
    ),
    "promptsrc": (("ctx", _ZERO_SHOT), (r"image_encoder\.VPT", _DEEP, *_BESIDE)),
    "ivlp": (("ctx", rf"image_encoder\.VPT|{_DEEP}"), (r"image_encoder\.VPT", _DEEP, *_BESIDE)),
    "vpt": ((r"image_encoder\.VPT",), (_DEEP, *_BESIDE)),
    "drople": (
        ("visual_prompts",),
        (
            r"text_prompts\.\d+|logit_scale|mag_module\.learnable_tokens",
            rf"mag_module\.(visual|text)_mapping\.{_PART}",
            r"(clip_model|lora_model)\..+",  # peft's copies of the CLIP
            r"(class_token|class_decoder|class_norm|text_proj|llm_prompt_bias)\..+",
            r"(base|new|text)_embeddings\..+",
            r"(adapter|temperature|class_embed_weight|combine_weights).*",
        ),
    ),
    "coop": (("ctx",), _BESIDE),
    "kgcoop": (("ctx", "bias_vectors"), (rf"meta_net\.linear[12]\.{_PART}", *_BESIDE)),
}
