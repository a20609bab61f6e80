"""States that a training goes on from after a cut: written whole, with a checksum."""

from __future__ import annotations

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from drople.errors import DataError
from drople.storage.files import read_sealed, set_aside, write_bytes


def write_state(file: Path, values: dict[str, Any]) -> None:
    """Writes what `read_state` gives back."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    write_bytes(file, buffer.getvalue(), sealed=True)


def read_state(file: Path, device: torch.device | str) -> dict[str, Any] | None:
    """The values of a state; None where there is none, or a damaged one, which is set aside."""
    if not file.is_file():
        return None
    try:
        saved = torch.load(io.BytesIO(read_sealed(file)), device, weights_only=True)
        return dict(saved)
    except (DataError, RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, TypeError):
        set_aside(file, f"{file} is damaged, so the training starts from its beginning.")
        return None
