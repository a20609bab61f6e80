"""Trained prompts on disk: safetensors with a JSON header that says all that made them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from drople.errors import CheckpointError, SettingsError
from drople.models.backbone import CHECKPOINTS, Backbone, other_weights
from drople.models.lora import ImageLora, LoraPlan
from drople.models.prompted_clip import PromptedClip
from drople.models.prompts import PromptPlan, build_prompts
from drople.ranges import COUNT, check_number
from drople.storage.files import write_bytes
from drople.tokens.dropout import DropoutSettings
from drople.tokens.importance import Bridge, SignalWeights
from drople.version import VERSION

FORMAT, FORMAT_VERSION = "drople-prompts", 1
MAX_BYTES = 64 * 2**20  # no set of prompts is larger; a shipped one has under 2 MB
MAX_HEADER = 2**20


@dataclass(frozen=True)
class PromptCard:
    """What a checkpoint says of itself."""

    backbone: str
    backbone_hash: str
    plan: PromptPlan
    bridge_tokens: int
    method: str
    classes: tuple[str, ...]
    data: str
    shots: int
    seed: int
    dropout: DropoutSettings  # it was trained with
    training: Mapping[str, Any] = field(default_factory=dict)  # every other hyperparameter
    metrics: Mapping[str, float] = field(default_factory=dict)  # percent, as measured
    lora: LoraPlan | None = None  # changes of the image tower
    drople_version: str = VERSION


def save_prompts(path: str | Path, model: PromptedClip, card: PromptCard) -> None:
    """Writes a model's prompts, bridge and logit scale; the frozen CLIP stays where it is."""
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(card)}
    tensors = {k: value.detach().cpu().contiguous() for k, value in model.state_dict().items()}
    # Not save_file: what that writes is the owner's alone to read, whatever the umask.
    write_bytes(path, save(tensors, metadata={"drople": json.dumps(header)}))


def load_prompts(path: str | Path, backbone: Backbone) -> tuple[PromptedClip, PromptCard]:
    """Reads trained prompts onto a backbone.

    Raises:
        CheckpointError: not such a file, damaged, or made for another backbone.
    """
    card, tensors = _read(Path(path), tensors=True)
    name = Path(path).name
    if card.backbone_hash != backbone.weights_hash:
        why = other_weights(card.backbone, card.backbone_hash, backbone)
        raise CheckpointError(f"{name} was {why}")
    if card.lora and max(card.lora.layers, default=0) >= backbone.image_layer_count:
        raise CheckpointError(f"{name} changes layers that {backbone.name} does not have.")
    expected = _shapes(name, card, backbone)
    actual = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != actual:
        problem = _difference(expected, actual)
        raise CheckpointError(f"{name} does not fit its own header: {problem}.")
    check_values(name, tensors)
    with torch.random.fork_rng():
        model = PromptedClip(backbone, card.plan, bridge_tokens=card.bridge_tokens, lora=card.lora)
    model.load_state_dict(tensors)
    return model.requires_grad_(False), card


def read_card(path: str | Path) -> PromptCard:
    """Reads only what a checkpoint says of itself; same errors as `load_prompts`."""
    return _read(Path(path), tensors=False)[0]


def shipped_prompts() -> dict[str, Path]:
    """The trained prompts that travel with the project: name -> file."""
    return {path.stem: path for path in sorted(CHECKPOINTS.glob("prompts/*.safetensors"))}


def _read(path: Path, *, tensors: bool) -> tuple[PromptCard, dict[str, Tensor]]:
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("drople", "null"))
            values = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"{path.name} is not a readable safetensors file ({error}). It may be truncated: "
            "copy it again."
        ) from error
    return _card(path.name, header), values


def _check_file(path: Path) -> None:
    """Refuses what is no safetensors file before anything parses it."""
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {path.name}. Give the path of a .safetensors file."
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CheckpointError(
            f"{path.name} has {size / 2**20:.0f} MiB; prompts have at most {MAX_BYTES // 2**20}. "
            "Is it a whole model? Give prompts only."
        )
    with path.open("rb") as file:
        start = file.read(9)
    header = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    if start[8:] != b"{" or not 2 <= header <= min(MAX_HEADER, size):
        raise CheckpointError(
            f"{path.name} is not a safetensors file. Pickled checkpoints (.pt, .pth, .pkl) can run "
            "code and are refused; save the prompts with drople.save_prompts."
        )


def _card(name: str, header: Any) -> PromptCard:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(
            f"{name} is a safetensors file without a drople header; it holds no DroPLe prompts."
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has format version {header.get('format_version')!r}; this program reads "
            f"{FORMAT_VERSION}. Update the program or train again."
        )
    fields = {key: value for key, value in header.items() if not key.startswith("format")}
    try:
        fields["plan"] = PromptPlan(**fields["plan"])
        check_number("bridge_tokens", fields["bridge_tokens"], COUNT)
        dropout = dict(fields["dropout"])
        dropout["weights"] = SignalWeights(**dropout["weights"])
        fields["dropout"] = DropoutSettings(**dropout)
        fields["lora"] = _lora(fields.get("lora"))
        fields["classes"] = tuple(str(c) for c in fields["classes"])
        card = PromptCard(**fields)
        _check_types(card)
        return card
    except (KeyError, TypeError, ValueError, AttributeError, SettingsError) as error:
        raise CheckpointError(f"The header of {name} is not complete: {error}.") from error


def _check_types(card: PromptCard) -> None:
    """Raises ValueError where a plain field is of another kind than its name says."""
    for kind, names in (
        (str, ("backbone", "backbone_hash", "method", "data", "drople_version")),
        (int, ("shots", "seed")),
        (dict, ("training", "metrics")),
    ):
        for name in names:
            if not isinstance(getattr(card, name), kind):
                raise ValueError(f"{name} is {getattr(card, name)!r}, expected {kind.__name__}")
    for name, figure in card.metrics.items():
        if not isinstance(figure, int | float):
            raise ValueError(f"{name} is {figure!r}, expected a number")


def _lora(fields: Mapping[str, Any] | None) -> LoraPlan | None:
    if fields is None:
        return None
    plan = LoraPlan(tuple(int(layer) for layer in fields["layers"]), int(fields["rank"]))
    if not (0 < plan.rank <= COUNT.most and all(0 <= n <= COUNT.most for n in plan.layers)):
        raise ValueError(f"low-rank changes of {plan}")
    return plan


def _shapes(name: str, card: PromptCard, backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors a card describes, worked out before any memory is taken."""
    widths = backbone.image_width, backbone.text_width
    try:
        plan = card.plan.capped(backbone.image_layer_count, backbone.text_layer_count)
    except SettingsError as error:
        raise CheckpointError(f"The header of {name} is not complete: {error}.") from error
    with torch.device("meta"):
        parts: dict[str, torch.nn.Module] = {"prompts": build_prompts(plan, *widths)}
        if card.bridge_tokens:
            parts["bridge"] = Bridge(card.bridge_tokens, backbone.joint_width, *widths)
        if card.lora:
            parts["lora"] = ImageLora(card.lora, backbone.image_width)
    shapes = {"logit_scale": tuple(backbone.logit_scale.shape)}
    for part, module in parts.items():
        shapes |= {f"{part}.{key}": tuple(v.shape) for key, v in module.state_dict().items()}
    return shapes


def check_values(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuses what is not floating-point, or not finite in single precision.

    Raises:
        CheckpointError: one is such.
    """
    for key, value in tensors.items():
        if value.dtype not in FLOATS:
            raise CheckpointError(f"{name} holds {key} as {value.dtype}; expected floats.")
        value = value.float()
        if not bool((value.exp() if key == "logit_scale" else value).isfinite().all()):
            raise CheckpointError(
                f"{name} holds values that are not finite, in {key}; training went wrong."
            )


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _difference(expected: dict[str, tuple[int, ...]], actual: dict[str, tuple[int, ...]]) -> str:
    parts = [f"{name} is missing" for name in sorted(expected.keys() - actual.keys())]
    parts += [f"{name} is not known" for name in sorted(actual.keys() - expected.keys())]
    parts += [
        f"{name} is {actual[name]} but must be {expected[name]}"
        for name in sorted(expected.keys() & actual.keys())
        if expected[name] != actual[name]
    ]
    return "; ".join(parts)
