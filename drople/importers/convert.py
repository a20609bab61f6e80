"""From a checkpoint of other code to prompts on a backbone, with a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from drople.errors import CheckpointError, SettingsError
from drople.importers.names import HALF, class_names
from drople.importers.readers import READERS, recognise
from drople.importers.state import read_state
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.ranges import COUNT, check_number
from drople.storage.prompts import PromptCard, check_values


@dataclass(frozen=True)
class ImportReport:
    """What became of every key of a file."""

    method: str
    used: tuple[str, ...]
    unused: dict[str, tuple[str, ...]]  # why -> keys
    classes: tuple[str, ...]  # the class names the file was trained on, where it tells them
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"method: {self.method}", f"used: {len(self.used)} tensors"]
        lines += [f"  {key}" for key in self.used]
        for why, keys in self.unused.items():
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            lines.append(f"not used, {why}: {len(keys)} tensors ({shown})")
        if self.classes:
            lines.append(f"classes it was trained on: {', '.join(self.classes)}")
        return [*lines, *(f"note: {note}" for note in self.notes)]


def import_prompts(
    path: str | Path, backbone: Backbone, *, method: str | None = None, phrase: str | None = None,
    data: str = "unknown", shots: int = 0, seed: int = 0,
) -> tuple[PromptedClip, PromptCard, ImportReport]:  # fmt: skip
    """Reads a checkpoint of another code base onto a backbone.

    Args:
        method: a key of READERS, where the file fits several (CoOp and KgCoOp save the same).
        phrase: what stands after the prompts, with {} for the class name; default: the method's.
        data, shots, seed: for the card; the file does not tell.

    Raises:
        CheckpointError: no such file, not a checkpoint of a known method, or of another CLIP.
    """
    path = Path(path)
    state = read_state(path)
    found = recognise(path.name, state)
    if method is not None and READERS[method] is not READERS[found]:
        raise CheckpointError(f"{path.name} holds what {found} saves, and not {method}.")
    _check_ranks(path.name, state)
    try:
        extracted = READERS[found](state)
        if phrase is not None:
            extracted = replace(extracted, plan=replace(extracted.plan, phrase=phrase))
        check_number("bridge_tokens", extracted.bridge_tokens, COUNT)
    except (KeyError, IndexError, RuntimeError, ValueError, SettingsError) as error:
        raise CheckpointError(f"{path.name} is not complete: {error}.") from error
    check_values(path.name, {key: state[key] for key in extracted.used})
    if method is not None:
        extracted = replace(extracted, method=method)
    _check_clip(path.name, state, backbone)
    with torch.random.fork_rng():
        model = PromptedClip(
            backbone, extracted.plan, bridge_tokens=extracted.bridge_tokens, lora=extracted.lora
        )
    scale = state.get("logit_scale", backbone.logit_scale).detach().float().cpu().reshape(())
    tensors = {**_empty(model), **extracted.tensors, "logit_scale": scale}
    _check_shapes(path.name, model, tensors)
    unused = _unused(path.name, state.keys() - {*extracted.used, "logit_scale"})
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    model.requires_grad_(False)
    names, notes = class_names(state, extracted.plan, backbone)
    used = (*extracted.used, "logit_scale") if "logit_scale" in state else extracted.used
    report = ImportReport(extracted.method, used, unused, names, (*extracted.notes, *notes))
    card = PromptCard(
        backbone=backbone.name, backbone_hash=backbone.weights_hash,
        plan=model.plan, bridge_tokens=extracted.bridge_tokens, lora=extracted.lora,
        method=extracted.method, classes=names, data=data, shots=shots, seed=seed,
        dropout=extracted.dropout, training={"imported_from": path.name},
    )  # fmt: skip
    return model, card, report


def _unused(name: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Why each other key was left: reason -> keys.

    Raises:
        CheckpointError: nobody knows what one is.
    """
    left: dict[str, tuple[str, ...]] = {}
    for key in sorted(keys):
        why = next((why for pattern, why in REASONS if re.match(pattern, key)), None)
        if why is None:
            raise CheckpointError(f"{name} holds {key[:80]}, which goes with none of its prompts.")
        left[why] = (*left.get(why, ()), key)
    return left


REASONS = (
    (r"token_(prefix|suffix)$", "the class names it was trained on"),
    (r"ZS_image_encoder\.", "the frozen CLIP"),
    (r"(lora_model|clip_model)\..*lora_", "the same low-rank changes once more"),
    (r"(image_encoder|text_encoder|clip_model|lora_model)\.", "the frozen CLIP"),
    (r"(class_token|class_decoder|class_norm|text_proj|llm_prompt_bias)\.", "prompts of an LLM"),
    (r"(base|new|text)_embeddings\.", "frozen text features, made again from the backbone"),
    (
        r"adapter|temperature|class_embed_weight|combine_weights|bias_vectors|meta_net\.",
        "never used by its own forward",
    ),
)


def _empty(model: PromptedClip) -> dict[str, Tensor]:
    """The parameters without an element, such as the image prompts of CoOp."""
    return {key: value for key, value in model.state_dict().items() if not value.numel()}


def _check_ranks(name: str, state: Mapping[str, Tensor]) -> None:
    """Refuses tensors whose rank is not that of what they are called, and empty ones."""
    for key, value in state.items():
        due = next((rank for pattern, rank in RANKS if re.fullmatch(pattern, key)), value.ndim)
        if not value.numel() or value.ndim not in (due, 3 if key == "ctx" else due):
            raise CheckpointError(
                f"{name} holds {key[:80]} of shape {tuple(value.shape)}; expected "
                f"{due} dimensions, none of them empty."
            )
    check_values(name, {key: state[key] for key in READ_ANYWAY if key in state})
    if state.get("logit_scale", torch.ones(())).numel() != 1:
        raise CheckpointError(f"{name} holds a logit_scale that is more than one number.")


RANKS = (
    (r"ctx|.*VPT(_shallow)?|compound_prompts_text\..*|text_prompts\..*|.*learnable_tokens", 2),
    (r"visual_prompts|token_(prefix|suffix)", 3),
    (r".*(proj|projections|mapping)(\.\d+)*\.weight|.*\.lora_[AB]\..*", 2),
    (r".*(proj|projections|mapping)(\.\d+)*\.bias", 1),
)
READ_ANYWAY = ("logit_scale", "token_prefix", "token_suffix")  # by every method


def _check_clip(name: str, state: Mapping[str, Tensor], backbone: Backbone) -> None:
    """Compares the CLIP weights that a file happens to hold with the backbone's."""
    visual, text = backbone.visual, backbone.text
    suffix, width = state.get("token_suffix"), backbone.text_width
    if suffix is not None and suffix.shape[-1] != width:
        raise CheckpointError(
            f"{name} holds a token_suffix of {suffix.shape[-1]} numbers a token, but "
            f"{backbone.name} needs {width}. Choose the backbone it was trained on."
        )
    shared = {
        "image_encoder.class_embedding": visual.class_embedding,
        "image_encoder.proj": visual.proj,
        "text_encoder.positional_embedding": text.positional_embedding,
        "token_prefix": text.token_embedding.weight[backbone.tokenizer.sot_token_id],
    }
    for key, ours in shared.items():
        theirs = state.get(key)
        if theirs is None:
            continue
        theirs = theirs[0, 0] if key == "token_prefix" else theirs
        check_values(name, {key: theirs})
        ours = ours.detach().float().cpu()
        if theirs.shape != ours.shape or (theirs.float() - ours).norm() > HALF * ours.norm():
            raise CheckpointError(
                f"{name} was trained on another CLIP than {backbone.name}: {key} differs. Choose "
                "the backbone it was trained on (most public checkpoints: ViT-B-16/openai)."
            )


def _check_shapes(name: str, model: PromptedClip, tensors: Mapping[str, Tensor]) -> None:
    """Refuses what does not fit the model, before it is loaded."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key in tensors.keys() - expected.keys():
        raise CheckpointError(f"{name} holds something for {key}, which its prompts do not have.")
    for key, shape in expected.items():
        if key not in tensors:
            raise CheckpointError(f"{name} has nothing for {key}.")
        if tuple(tensors[key].shape) != shape:
            raise CheckpointError(
                f"{name} holds {tuple(tensors[key].shape)} for {key}, but "
                f"{model.backbone.name} needs {shape}. Choose the backbone it was trained on."
            )
