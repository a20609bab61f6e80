"""An analysis as one file that travels, and its replay on another machine.

The file is an .npz: arrays by number, and `header`, JSON that says where each belongs. Nothing in
it is code; reading it runs none.
"""

from __future__ import annotations

import io
import json
import types
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from PIL import Image

from drople.analysis import Analysis, analyse
from drople.branches import FROZEN
from drople.errors import DropleError, EvidenceError
from drople.models.backbone import Backbone, hash_weights, other_weights
from drople.models.prompted_clip import PromptedClip
from drople.paired_draws import DrawBatch
from drople.storage.files import write_bytes
from drople.tokens.dropout import TokenDrop

FORMAT, SCHEMA = "drople-analysis", 2
READ = (1, 2)  # 1: without the logit lens and draws
MAX_BYTES = 512 * 2**20  # unpacked; an analysis without attention has about a hundredth
TOLERANCE = 1e-4  # largest difference between machines that still counts as equal
_ARRAY = "$array"


def save_analysis(path: str | Path, analysis: Analysis, draws: Sequence[DrawBatch] = ()) -> None:
    """Writes an analysis: every array, setting, seed, weight hash and version it holds.

    Args:
        draws: of two dropouts on the same picture, kept beside it; see `load_draws`.
    """
    write_bytes(path, analysis_bytes(analysis, draws))


def analysis_bytes(analysis: Analysis, draws: Sequence[DrawBatch] = ()) -> bytes:
    """What `save_analysis` writes."""
    arrays: list[np.ndarray] = []
    header = {"format": FORMAT, "schema": SCHEMA, "analysis": _encode(analysis, arrays)}
    if draws:
        header["draws"] = _encode(draws, arrays)
    named: dict[str, Any] = {f"a{i}": array for i, array in enumerate(arrays)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.array(json.dumps(header)), **named)
    return buffer.getvalue()


def load_analysis(path: str | Path) -> Analysis:
    """Reads what `save_analysis` wrote.

    Raises:
        EvidenceError: no such file, damaged, or of another schema.
    """
    path = Path(path)
    return _analysis(*_read(path), path.name)


def load_draws(path: str | Path) -> tuple[DrawBatch, ...]:
    """Reads the draws that `save_analysis` kept beside an analysis; none where there are none.

    Raises:
        EvidenceError: see `load_analysis`; or they are not of that analysis.
    """
    path = Path(path)
    header, arrays = _read(path)
    analysis = _analysis(header, arrays, path.name)
    try:
        draws = _decode(tuple[DrawBatch, ...], header.get("draws", []), arrays)
        for batch in draws:
            _check_draws(batch, analysis)
    except (KeyError, TypeError, ValueError, AttributeError, DropleError) as error:
        raise EvidenceError(f"{path.name} holds no complete draws ({error!r}).") from error
    return tuple(draws)


def _analysis(header: dict[str, Any], arrays: Mapping[str, np.ndarray], name: str) -> Analysis:
    try:
        analysis = _decode(Analysis, header["analysis"], arrays)
        _check_lens(analysis)
    except (KeyError, TypeError, ValueError, DropleError) as error:
        raise EvidenceError(f"{name} is not complete ({error!r}).") from error
    assert isinstance(analysis, Analysis)
    return analysis


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a file."""
    if not path.is_file():
        raise EvidenceError(f"There is no file {path.name}. Give the path of an analysis (.npz).")
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > MAX_BYTES:
            raise EvidenceError(f"{path.name} unpacks to more than {MAX_BYTES // 2**20} MiB.")
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            arrays = {name: stored[name] for name in stored.files if name != "header"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise EvidenceError(f"{path.name} is no analysis, or is damaged ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise EvidenceError(f"{path.name} holds no analysis of DroPLe Lens.")
    if header.get("schema") not in READ:
        raise EvidenceError(
            f"{path.name} has schema {header.get('schema')!r}; this program reads "
            f"{' and '.join(map(str, READ))}."
        )
    return header, arrays


def _check_lens(found: Analysis) -> None:
    """Raises ValueError where the logit lens does not fit the rest."""
    for branch, cosines in (found.lens or {}).items():
        due = (len(found.images[branch].layers), len(found.classes))
        if cosines.shape != due:
            raise ValueError(f"lens of {branch} has shape {cosines.shape}, expected {due}")


def _check_draws(batch: DrawBatch, found: Analysis) -> None:
    """Raises ValueError or KeyError where draws do not fit an analysis or each other."""
    n = len(batch.seeds)
    tokens = batch.dropped[batch.pair[0]].shape[1:]
    shown = (len(found.maps.classes), *found.maps.values[found.conditions[0]].shape[1:])
    for name in batch.pair:
        for values, kind, due in (
            (batch.dropped[name], "b", (n, *tokens)),
            (batch.eligible[name], "b", (n, *tokens)),
            (batch.probability[name], "f", (n, *tokens)),
            (batch.cosines[name], "f", (n, len(found.classes))),
            *([(batch.maps[name], "f", (n, *shown))] if batch.maps is not None else []),
        ):
            if values.shape != due or values.dtype.kind != kind:
                raise ValueError(f"{name} has {values.dtype} {values.shape}, expected {due}")


# --- values as JSON and arrays ----------------------------------------------------------------


def _encode(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value of our dataclasses as JSON; its arrays go into `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {_ARRAY: f"a{len(arrays) - 1}"}
    if is_dataclass(value):
        return {part.name: _encode(getattr(value, part.name), arrays) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(part, arrays) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(part, arrays) for part in value]
    return value


def _decode(kind: Any, value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value of a declared type that `_encode` made JSON of."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is np.ndarray:
        return arrays[value[_ARRAY]]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"{kind.__name__} has no {sorted(unknown)}")
        return kind(**{name: _decode(hints[name], part, arrays) for name, part in value.items()})
    if origin in (Union, types.UnionType):
        (known,) = (one for one in inner if one is not type(None))
        return None if value is None else _decode(known, value, arrays)
    if origin is dict:
        return {key: _decode(inner[1], part, arrays) for key, part in value.items()}
    if origin is tuple:
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_decode(one, part, arrays) for one, part in zip(each, value, strict=True))
    if kind is not Any and origin is not Literal and not isinstance(value, _scalars(kind)):
        raise ValueError(f"expected {kind.__name__}, got {value!r}")
    return value


def _scalars(kind: type) -> tuple[type, ...]:
    return (int, float) if kind is float else (kind,)


# --- replay -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplayReport:
    """How far a recomputed analysis is from the stored one."""

    differences: dict[str, float]  # quantity -> largest absolute difference; inf: other shape
    redrawn: int  # tokens this machine would have dropped or kept otherwise
    drawn: int  # decisions in all

    @property
    def equal(self) -> bool:
        """Whether nothing differs by more than TOLERANCE."""
        return max(self.differences.values()) <= TOLERANCE


def replay(stored: Analysis, model: Backbone | PromptedClip) -> ReplayReport:
    """Recomputes an analysis with the stored pixels and the stored drops.

    What is dropped is taken from the file, since on another machine a p that differs in its last
    digit could decide a draw the other way; `redrawn` counts where it would.

    Raises:
        EvidenceError: the model is not the one that made it.
    """
    check_model(stored, model)
    backbone = model.backbone
    fresh = analyse(
        model,
        Image.fromarray(stored.pixels),
        stored.classes,
        stored.settings,
        decisions=_decisions(stored, backbone.device),
    )
    pairs = [
        (old, new)
        for condition, trace in stored.images.items()
        for old, new in zip(trace.layers, fresh.images[condition].layers, strict=True)
    ]
    differences = {
        "pixels": _largest([(stored.pixels, fresh.pixels)]),
        "cosines": _largest(
            [(old.cosines, fresh.predictions[c].cosines) for c, old in stored.predictions.items()]
        ),
        "image importance": _largest([(old.blend, new.blend) for old, new in pairs]),
        "text importance": _largest(
            [
                (old.blend, new.blend)
                for branch, trace in stored.texts.items()
                for old, new in zip(trace.layers, fresh.texts[branch].layers, strict=True)
            ]
        ),
        "lens": _largest(
            [((fresh.lens or {}).get(b), kept) for b, kept in (stored.lens or {}).items()]
        ),
        "p": _largest([(old.probability, new.probability) for old, new in pairs]),
        "maps": _largest([(kept, fresh.maps.values[c]) for c, kept in stored.maps.values.items()]),
    }
    redrawn = drawn = 0
    for old, new in pairs:
        if old.dropped is not None and old.uniform is not None and new.probability is not None:
            redrawn += int(((old.uniform < new.probability) != old.dropped).sum())
            drawn += int(old.eligible.sum())
    return ReplayReport(differences, redrawn, drawn)


def check_model(stored: Analysis, model: Backbone | PromptedClip) -> None:
    """Checks that a model is the one that made an analysis.

    Raises:
        EvidenceError: it is not; the message names the weights.
    """
    provenance = stored.provenance
    backbone = model.backbone
    if backbone.weights_hash != provenance["backbone_hash"]:
        raise EvidenceError(
            "The analysis was "
            + other_weights(str(provenance["backbone"]), str(provenance["backbone_hash"]), backbone)
        )
    prompts = hash_weights(model.state_dict()) if isinstance(model, PromptedClip) else None
    if prompts != provenance.get("prompts_hash"):
        raise EvidenceError(
            f"The analysis was made with the prompts {provenance.get('prompts') or 'none'} "
            f"(weights {provenance.get('prompts_hash')}); those loaded have weights {prompts}."
        )


def _decisions(stored: Analysis, device: torch.device) -> dict[int, TokenDrop]:
    """The stored drops, layer by layer, a row each for the adapted branch and its strategies."""
    rows = [name for name in stored.conditions if name != FROZEN]
    drops = {}
    for depth in range(len(stored.images[FROZEN].layers) if rows else 0):
        layers = [stored.images[name].layers[depth] for name in rows]
        blank = np.zeros_like(layers[0].blend)
        if any(one.dropped is not None for one in layers):
            parts = [
                torch.from_numpy(np.concatenate([blank if one is None else one for one in kept]))
                for kept in (
                    [one.probability for one in layers],
                    [one.uniform for one in layers],
                    [one.dropped for one in layers],
                )
            ]
            probability, uniform, dropped = (part.to(device) for part in parts)
            drops[depth] = TokenDrop(probability, uniform, dropped.bool())
    return drops


def _largest(pairs: list[tuple[np.ndarray | None, np.ndarray | None]]) -> float:
    """The largest absolute difference over pairs; NaN equals NaN."""
    worst = 0.0
    for old, new in pairs:
        if old is None and new is None:
            continue
        if old is None or new is None or old.shape != new.shape:
            return float("inf")
        gap = np.abs(old.astype(np.float64) - new.astype(np.float64))
        same = np.isnan(old.astype(np.float64)) & np.isnan(new.astype(np.float64))
        gap = np.where(same, 0.0, np.nan_to_num(gap, nan=np.inf))
        worst = max(worst, float(gap.max(initial=0.0)))
    return worst
