"""Trains a tiny model on coloured squares; several processes may run it together (torchrun).

python tests/together.py FOLDER METHOD...
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from squares import coloured_squares
from tiny import tiny_clip, wrap

from drople.training.config import METHODS, TrainConfig
from drople.training.processes import Processes
from drople.training.run import Trained, train_run


def configuration(method: str) -> TrainConfig:
    """Batches of five, five and two: neither splits evenly, and all kinds of draws are made."""
    config = METHODS[method]
    config = replace(config, bridge_tokens=min(config.bridge_tokens, 4), epochs=2, batch=5)
    return replace(config, precision="fp32", lr=0.01, optimiser="sgd")


def train(folder: Path, method: str, processes: Processes) -> Trained:
    """The run, in `folder`."""
    backbone, config = wrap(tiny_clip()), configuration(method)
    return train_run(backbone, coloured_squares(), config, runs=folder, processes=processes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes = Processes.started("cpu")
    agreed = processes.agreed(f"of process {processes.rank}")
    (Path(sys.argv[1]) / f"{processes.rank}.txt").write_text(agreed)
    for method in sys.argv[2:]:
        folder = Path(sys.argv[1]) / method
        trained = train(folder, method, processes)
        torch.save(trained.model.state_dict(), folder / f"{processes.rank}.pt")
