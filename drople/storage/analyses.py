"""An analysis as one file that travels; see `evidence` for its replay on another machine.

The file is an .npz: arrays by number, and `header`, JSON that says where each belongs. Nothing in
it is code; reading it runs none.
"""

from __future__ import annotations

import io
import json
import math
import struct
import types
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.errors import DropleError, EvidenceError
from drople.paired_draws import DrawBatch
from drople.storage.files import write_bytes
from drople.traces import BranchTrace

FORMAT, SCHEMA = "drople-analysis", 2
READ = (1, 2)  # 1: without the logit lens and draws
MAX_BYTES = 512 * 2**20  # unpacked; an analysis without attention has about a hundredth
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
    except (LookupError, TypeError, ValueError, AttributeError, DropleError) as error:
        raise EvidenceError(f"{path.name} holds no complete draws ({_short(error)}).") from error
    return tuple(draws)


def _analysis(header: dict[str, Any], arrays: Mapping[str, np.ndarray], name: str) -> Analysis:
    try:
        analysis = _decode(Analysis, header["analysis"], arrays)
        if header["schema"] > 1 and analysis.lens is None:
            raise ValueError("no lens")
        _check(analysis)
    except (LookupError, TypeError, ValueError, AttributeError, DropleError) as error:
        raise EvidenceError(f"{name} is not complete ({_short(error)}).") from error
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
            for part in parts.infolist():
                _check_size(parts, part)
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            arrays = {name: stored[name] for name in stored.files if name != "header"}
    except DAMAGED as error:
        raise EvidenceError(
            f"{path.name} is no analysis, or is damaged ({_short(error)})."
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise EvidenceError(f"{path.name} holds no analysis of DroPLe Lens.")
    if header.get("schema") not in READ:
        raise EvidenceError(
            f"{path.name} has schema {header.get('schema')!r}; this program reads "
            f"{' and '.join(map(str, READ))}."
        )
    return header, arrays


DAMAGED = (
    OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error, struct.error,
    TypeError, AttributeError, SyntaxError, MemoryError, RuntimeError,
    ArithmeticError,
)  # fmt: skip


def _short(error: BaseException) -> str:
    """What went wrong, at most a line of it."""
    return repr(error)[:200]


def _check_size(parts: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Raises ValueError where an array says that it is larger than the bytes there are."""
    with parts.open(part) as file:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > part.file_size:
        raise ValueError(f"{part.filename} is cut off")


def _check(found: Analysis) -> None:
    """Raises ValueError where the parts of an analysis do not fit each other."""
    K, names = len(found.classes), set(found.predictions)
    pixels = found.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}")
    branches = {FROZEN, ADAPTED} if ADAPTED in names else {FROZEN}
    for what, keys, due in (
        ("images", found.images, names), ("maps", found.maps.values, names),
        ("unavailable", found.maps.unavailable, names), ("texts", found.texts, branches),
        ("phrases", found.phrases, branches), ("lens", found.lens or branches, branches),
    ):  # fmt: skip
        if set(keys) != due or FROZEN not in due:
            raise ValueError(f"{what} are of {sorted(keys)}, expected {sorted(due)}")
    if any(len(phrases) != K for phrases in found.phrases.values()):
        raise ValueError(f"phrases are not of {K} classes")
    for name, said in found.predictions.items():
        _check_array(f"cosines of {name}", said.cosines, (K,))
    widths = {
        name: [layer.blend.shape for layer in one.layers] for name, one in found.images.items()
    }
    frozen = widths.pop(FROZEN)  # without prompts, so of fewer tokens
    first = next(iter(widths.values()), frozen)
    if len(first) != len(frozen) or any(one != first for one in widths.values()):
        raise ValueError("conditions have other layers than each other")
    for rows, traces in ((1, found.images), (K, found.texts)):
        for name, trace in traces.items():
            _check_trace(name, trace, rows)
    for branch, cosines in (found.lens or {}).items():
        _check_array(f"lens of {branch}", cosines, (len(found.images[branch].layers), K))
    maps = found.maps
    if not all(0 <= index < K for index in maps.classes):
        raise ValueError(f"maps are of the classes {maps.classes}, of {K}")
    for name in names:
        grid = maps.values[name].shape[1:]
        _check_array(f"maps of {name}", maps.values[name], (len(maps.classes), *grid))
        _check_array(f"patches of {name}", maps.unavailable[name], grid, kind="b")
        if len(grid) != 2:
            raise ValueError(f"maps of {name} have no rows and columns")


def _check_trace(name: str, trace: BranchTrace, rows: int) -> None:
    """Raises ValueError where the arrays of a branch do not fit each other."""
    if not trace.layers:
        raise ValueError(f"{name} has no layers")
    _check_array(f"features of {name}", trace.features, (rows, trace.features.shape[-1]))
    for layer in trace.layers:
        N = layer.blend.shape[-1] if layer.blend.ndim else 0
        start, stop = layer.prompts
        patches = math.prod(layer.grid or (0, 0))
        if not (0 <= start <= stop <= N and 0 <= patches < N and min(layer.grid or (0, 0)) >= 0):
            raise ValueError(f"{name} has {N} tokens, grid {layer.grid}, prompts {layer.prompts}")
        for what, values, kind in (
            ("blend", layer.blend, "f"), ("norms", layer.norms, "f"),
            ("content", layer.content, "b"), ("eligible", layer.eligible, "b"),
            ("p", layer.probability, "f"), ("u", layer.uniform, "f"),
            ("dropped", layer.dropped, "b"), *((key, v, "f") for key, v in layer.shares.items()),
        ):  # fmt: skip
            if values is not None:
                _check_array(f"{what} of {name}", values, (rows, N), kind=kind)
        for key, total in layer.totals.items():
            _check_array(f"{key} of {name}", total, (rows, 1))
        if layer.attention is not None:
            heads = layer.attention.shape[1:2]
            _check_array(f"attention of {name}", layer.attention, (rows, *heads, N, N))


def _check_array(what: str, values: np.ndarray, due: tuple[int, ...], *, kind: str = "f") -> None:
    """Raises ValueError where an array has another shape or kind of value, or foreign bytes."""
    if values.shape != due or values.dtype.kind != kind or not values.dtype.isnative:
        raise ValueError(f"{what}: {values.dtype} {values.shape}, expected {due}")


def _check_draws(batch: DrawBatch, found: Analysis) -> None:
    """Raises ValueError or KeyError where draws do not fit an analysis or each other."""
    kept = (batch.dropped, batch.cosines, batch.maps or batch.pair)
    if any({*names} != {*batch.pair} for names in kept):
        raise ValueError(f"draws are not of {batch.pair}")
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
            _check_array(name, values, due, kind=kind)


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
    """The value of a declared type that `_encode` made JSON of.

    Raises:
        ValueError, LookupError, TypeError: it is not of that type.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (known,) = (one for one in inner if one is not type(None))
        return None if value is None else _decode(known, value, arrays)
    if kind is Any or (origin is Literal and value in inner):
        return value
    record = isinstance(kind, type) and is_dataclass(kind)
    made_of = dict if record or origin is dict or kind is np.ndarray else list
    if (record or origin or kind is np.ndarray) and not isinstance(value, made_of):
        raise ValueError(f"expected {kind}, got {value!r:.60}")
    if kind is np.ndarray:
        return arrays[value[_ARRAY]]
    if record:
        hints = get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"{kind.__name__} has no {sorted(unknown)}")
        return kind(**{name: _decode(hints[name], part, arrays) for name, part in value.items()})
    if origin is dict:
        return {key: _decode(inner[1], part, arrays) for key, part in value.items()}
    if origin is tuple:
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_decode(one, part, arrays) for one, part in zip(each, value, strict=True))
    scalars = (int, float) if kind is float else kind
    if not isinstance(value, scalars) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"expected {kind.__name__}, got {value!r:.60}")
    if isinstance(value, int | float) and not abs(value) < 2**63:
        raise ValueError(f"{value!r:.60} is out of range")
    return value
