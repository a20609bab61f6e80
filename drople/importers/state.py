"""A checkpoint file as a state dict; nothing in it is run."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from drople.errors import CheckpointError


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a file, without the prefixes that wrappers add.

    Raises:
        CheckpointError: no such file, or it holds more than tensors and numbers.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path.name}. Give the path of a checkpoint.")
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_HARMLESS):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        first = str(error).partition("\n")[0][:200]
        raise CheckpointError(
            f"{path.name} cannot be read as tensors alone ({first}). It may be damaged, or hold "
            "objects that run code, which are refused: save its state dict by itself."
        ) from error
    for key in ("state_dict", "net"):  # Dassl's checkpoints, and DroPLe's
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(loaded).__name__}, not a state dict.")
    state: dict[str, Tensor] = {}
    for wrapped, value in loaded.items():
        key = str(wrapped).removeprefix("module.").removeprefix("prompt_learner.")
        if not isinstance(value, Tensor):
            continue
        if key in state:
            raise CheckpointError(f"{path.name} holds {key[:80]} twice, under two prefixes.")
        if value.layout != torch.strided or value.device.type != "cpu" or not _stored(value):
            raise CheckpointError(f"{path.name} holds {key[:80]} without its values.")
        if value.is_complex() or value.is_quantized:
            raise CheckpointError(f"{path.name} holds {key[:80]} as {value.dtype}, not as floats.")
        state[key] = value
    return state


def _stored(value: Tensor) -> bool:
    """Whether each element is in the file, and not one of them many times (by a stride of 0)."""
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


# What readers of a damaged file raise; a pickle can end in nearly any of Python's own errors.
UNREADABLE = (
    pickle.UnpicklingError, SafetensorError, RuntimeError, OSError, EOFError, ArithmeticError,
    AssertionError, AttributeError, ImportError, LookupError, MemoryError, NameError, TypeError,
    ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


# What Dassl's checkpoints hold beside tensors: the best accuracy, as a numpy number.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")),
]
