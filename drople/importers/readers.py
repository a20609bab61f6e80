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
    """The method whose keys a state dict has.

    Raises:
        CheckpointError: none.
    """
    for method, telling in TELLING.items():
        if any(re.fullmatch(telling, key) for key in state):
            return method
    raise CheckpointError(
        f"{name} has none of the keys of {', '.join(TELLING)}. Is it the prompt learner's file "
        "(model.pth.tar-N), and not that of another method?"
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
    note = "the class name is taken to stand last, CoOp's `end`: the file does not tell"
    return Extracted("coop", plan, {"prompts.text": context[None]}, ("ctx",), notes=(note,))


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
    """PromptSRC, IVLP (trainers/promptsrc.py, clip/model.py): deep prompts in both towers."""
    block = r"transformer\.resblocks\.(\d+)\.VPT_shallow"
    image = _numbered(state, rf"image_encoder\.{block}")
    text = _numbered(state, rf"text_encoder\.{block}")
    first = state["ctx"]
    if "image_encoder.VPT" in state:
        image = ["image_encoder.VPT", *image]
    plan = PromptPlan(
        image_count=len(state[image[0]]) if image else 0, image_depth=len(image),
        text_count=len(first), text_depth=1 + len(text),
        phrase=_rest_of_words(len(first)), positioned=True,
    )  # fmt: skip
    tensors = {"prompts.text": _stacked(state, ["ctx", *text])}
    if image:
        tensors["prompts.image"] = _stacked(state, image)
    method = "promptsrc" if any(key.startswith("ZS_image_encoder.") for key in state) else "ivlp"
    return Extracted(method, plan, tensors, ("ctx", *image, *text))


def _mpl(state: Mapping[str, Tensor]) -> Extracted:
    """MPL (trainers/mpl.py): modular prompts; how many are removed the file does not tell."""
    deeper = _numbered(state, r"compound_prompts_text\.(\d+)")
    depth, count = 1 + len(deeper), len(state["ctx"])
    adds = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("txt2img_proj."))
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
            keys = _numbered(state, pattern)
            if not keys:
                return None, {}, []
            numbers = tuple(int(match[1]) for key in keys if (match := re.fullmatch(pattern, key)))
            if layers and numbers != layers:
                raise KeyError(f"{theirs}_proj.lora_{matrix} of the layers {layers}")
            layers = numbers
            tensors[f"lora.{ours}_{part}"] = _stacked(state, keys)
            used += keys
    return LoraPlan(layers, tensors["lora.query_down"].shape[1]), tensors, used


def _numbered(state: Mapping[str, Tensor], pattern: str) -> list[str]:
    """The keys that match, in the order of the number in them."""
    matches = [match for key in state if (match := re.fullmatch(pattern, key))]
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]


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
    "mpl": _mpl,
    "drople": _drople,
}
TELLING = {  # a key that only this method has; the first that is found decides
    "mpl": r"txt2img_proj\.0\.0\.weight",
    "maple": r"compound_prompt_projections\.0\.weight",
    "promptsrc": r"(image|text)_encoder\.transformer\.resblocks\.1\.VPT_shallow",
    "drople": r"visual_prompts",
    "coop": r"ctx",
}
