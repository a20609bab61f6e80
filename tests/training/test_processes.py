"""Several processes learn what one would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from together import train

from drople.devices import device_of
from drople.tokens.draws import RowsOfDraws, StreamDraws
from drople.training.processes import ALONE, Processes

pytest.importorskip("accelerate", reason="needs accelerate")


METHODS = "drople", "drople-code", "coop"


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder in which two processes have learnt each method, in a folder of its own."""
    folder = tmp_path_factory.mktemp("together")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).with_name("together.py")
    ended = subprocess.run(
        [sys.executable, *command, str(script), str(folder), *METHODS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[1])},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_learn_what_one_learns(method, together, tmp_path):
    alone = train(tmp_path, method, ALONE).model.state_dict()
    folder = together / method
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, atol=2e-6, rtol=1e-4, msg=name)
    (log,) = folder.glob("trained/*.jsonl")
    assert len(log.read_text().splitlines()) == 6  # the main process alone writes: 2 epochs of 3
    assert len(list(folder.glob("trained/*.safetensors"))) == 1


@pytest.mark.slow
def test_processes_agree_on_what_the_main_one_found(together):
    found = [(together / f"{rank}.txt").read_text() for rank in range(2)]
    assert found == ["of process 0", "of process 0"]


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_parts_of_a_batch_make_it_up(batch, count):
    parts = [Processes(rank, count).rows(batch) for rank in range(count)]
    assert len({len(part) for part in parts}) == 1
    assert torch.cat(parts)[:batch].tolist() == list(range(batch))


def test_a_row_draws_what_it_draws_in_the_whole_batch():
    def stream():
        return StreamDraws(torch.Generator().manual_seed(3))

    rows = torch.tensor([2, 4])
    some, whole = RowsOfDraws(stream(), rows, 5), stream()
    for depth in (1, 2):  # the second layer shows that as much was drawn
        assert torch.equal(some.uniform(depth, (2, 7)), whole.uniform(depth, (5, 7))[rows])
        assert torch.equal(some.noise(depth, (2, 7, 3)), whole.noise(depth, (5, 7, 3))[rows])


def test_each_process_computes_on_the_gpu_it_was_given(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert (device_of("cuda"), device_of("cpu")) == ("cuda:3", "cpu")


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Processes.started("cpu") == ALONE
