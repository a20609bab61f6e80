"""Where to compute."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from time import perf_counter
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from drople.errors import SettingsError

DEVICES = ("auto", "cpu", "cuda")
Precision = Literal["fp32", "bf16"]  # bf16: under autocast, parameters stay in fp32
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_ROWS = 512  # tokens of the product that is measured
_BUDGET = 0.05  # seconds for all measurements
_CLEARLY = 0.8  # of fp32's time, which bf16 must stay below


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


@cache
def faster_precision(device: str, width: int) -> Precision:
    """The precision in which a transformer of this width is faster here, measured in about 50 ms.

    bf16 only where it is clearly faster: some processors take twice as long in it.

    Args:
        device: as torch names it.
        width: D of the widest tower; its MLP's product (tokens, D) x (D, 4 D) is what is timed.
    """
    tokens = torch.ones(_ROWS, width, device=device)
    weight = torch.ones(4 * width, width, device=device)
    for precision in PRECISIONS:  # the first product of each pays for what is set up once
        _seconds(tokens, weight, precision)
    taken: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    until = perf_counter() + _BUDGET
    while not taken["bf16"] or perf_counter() < until:
        for precision in PRECISIONS:  # in turns, so that whatever slows one slows both
            taken[precision].append(_seconds(tokens, weight, precision))
    return fitting(taken)


def fitting(taken: Mapping[Precision, Sequence[float]]) -> Precision:
    """bf16 where its quickest product is clearly quicker than that of fp32; seconds of each."""
    return "bf16" if min(taken["bf16"]) < _CLEARLY * min(taken["fp32"]) else "fp32"


@torch.no_grad()
def _seconds(tokens: torch.Tensor, weight: torch.Tensor, precision: Precision) -> float:
    """Of one product (N, D) x (D, E)."""
    cuda = tokens.device.type == "cuda"
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == "bf16"):
        if cuda:
            torch.cuda.synchronize(tokens.device)
        began = perf_counter()
        F.linear(tokens, weight)
        if cuda:
            torch.cuda.synchronize(tokens.device)
        return perf_counter() - began
