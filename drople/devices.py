"""Where to compute."""

from __future__ import annotations

import os

import torch

from drople.errors import SettingsError

DEVICES = ("auto", "cpu", "cuda")


def pick_device(wanted: str = "auto") -> str:
    """The device to work on: CUDA when there is one, else the CPU.

    Raises:
        SettingsError: CUDA was asked for by name and there is none.
    """
    if wanted not in DEVICES:
        raise SettingsError(f"The device is {wanted!r}; choose one of {', '.join(DEVICES)}.")
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise SettingsError("There is no CUDA device here. Start with --device cpu or auto.")
    return "cuda" if present and wanted != "cpu" else "cpu"


def device_of(wanted: str) -> str:
    """The device of this process: with CUDA, the GPU that its launcher gave it.

    Raises:
        SettingsError: as `pick_device`.
    """
    device = pick_device(wanted)
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device
