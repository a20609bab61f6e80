"""A checkpoint file as a state dict; nothing in it is run."""

from __future__ import annotations

import pickle
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
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, OSError, EOFError) as error:
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
    return {
        str(key).removeprefix("module.").removeprefix("prompt_learner."): value
        for key, value in loaded.items()
        if isinstance(value, Tensor)
    }


# What Dassl's checkpoints hold beside tensors: the best accuracy, as a numpy number.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")),
]
