"""Which open_clip models the forward covers: it refuses what it would compute wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import open_clip
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import nn

from drople.errors import BackboneError


def uncovered_part(config: Mapping[str, Any]) -> str | None:
    """What of an open_clip model config the forward does not cover; None where it may.

    Told before anything is downloaded; `refuse_uncovered` looks at the model itself.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    if vision.get("timm_model_name"):
        return f"an image tower of timm ({vision['timm_model_name']})"
    if isinstance(vision["layers"], list | tuple):
        return "a ResNet as its image tower"
    if "multimodal_cfg" in config:
        return "a captioning decoder (CoCa)"
    if text.get("hf_model_name"):
        return f"a text tower of transformers ({text['hf_model_name']})"
    if text.get("hf_tokenizer_name"):
        return f"a tokenizer of transformers ({text['hf_tokenizer_name']})"
    return None


def covered_architectures() -> list[str]:
    """The architectures of open_clip that the forward covers, by name."""
    names = open_clip.list_models()
    return [name for name in names if uncovered_part(open_clip.get_model_config(name)) is None]


def refusal(name: str, part: str) -> BackboneError:
    """The error that says which part of a model is not covered."""
    return BackboneError(
        f"{name} has {part}, which this forward does not cover. Plain CLIP ViTs work: "
        "ViT-B-32, ViT-B-16, ViT-L-14 with OpenAI, LAION or DataComp weights."
    )


def refuse_uncovered(name: str, clip: nn.Module, tokenizer: object) -> None:
    """Checks that our forward covers a model.

    Raises:
        BackboneError: it does not; the message names the part.
    """
    visual: Any = clip._modules.get("visual")
    text: Any = clip._modules.get("text", clip)

    refuse = partial(refusal, name)
    if not isinstance(visual, VisionTransformer):
        raise refuse(f"an image tower of type {type(visual).__name__}")
    if visual.attn_pool is not None:
        raise refuse("attentional pooling")
    if visual.pool_type != "tok" or visual.final_ln_after_pool:
        raise refuse(f"'{visual.pool_type}' pooling of image tokens")
    if not isinstance(visual.patch_dropout, nn.Identity):
        raise refuse("patch dropout")
    height, width = visual.image_size
    if height != width or visual.patch_size[0] != visual.patch_size[1]:
        raise refuse(f"pictures of {height} x {width} pixels")
    if text is not clip and not isinstance(text, TextTransformer):
        raise refuse(f"a text tower of type {type(text).__name__}")
    pooling = clip.text_pool_type if text is clip else text.pool_type
    if pooling != "argmax":
        raise refuse(f"'{pooling}' pooling of text tokens")
    if text is not clip and (text.cls_emb is not None or text.use_pad_mask):
        raise refuse("a class token or padding mask in its text tower")
    if text._buffers.get("attn_mask") is None:
        raise refuse("a text tower without a causal mask")
    if text.text_projection is None:
        raise refuse("no projection of its text features")
    towers: tuple[Any, Any] = (visual, text)
    for tower in towers:
        for block in tower.transformer.resblocks:
            if type(block.attn) is not nn.MultiheadAttention and not _plain(block.attn):
                raise refuse(f"attention of type {type(block.attn).__name__}")
            if [*block._modules.get("ln_attn", nn.Identity()).parameters()]:
                raise refuse("a norm after its attention")
            if not isinstance(block.mlp[0], nn.Linear):
                raise refuse(f"an MLP of type {type(block.mlp[0]).__name__}")
    if not isinstance(tokenizer, SimpleTokenizer):
        raise refuse(f"a tokenizer of type {type(tokenizer).__name__}")


def _plain(attn: nn.Module) -> bool:
    """Whether open_clip's own attention holds CLIP's four parts and nothing else (no qk-norm)."""
    parts = {name for name, module in attn.named_modules() if [*module.parameters()]}
    weights = {name for name, _ in attn.named_parameters()}
    own = {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}
    return parts <= {"", "out_proj"} and weights == own
