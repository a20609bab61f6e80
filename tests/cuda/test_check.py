"""The check of a device runs, and says what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import prompted

from tests.cuda import check
from tests.cuda import parity as parts
from tests.cuda.check import lines
from tests.cuda.costs import speed
from tests.cuda.pairs import Pair, failed
from tests.cuda.parity import PARITY, features, parity


@pytest.fixture(scope="module")
def pair():
    return Pair("tiny", "cpu")


def test_the_cpu_agrees_with_itself(pair):
    rows = list(parity(pair))
    assert len(rows) > 3 * len(PARITY)
    assert not [str(row) for row in rows if not row.ok]
    exact = [r for r in rows if r.precision == "fp32" and r.allowed.endswith("e-03")]
    assert all(row.difference.endswith("0.0e+00") for row in exact)


def test_every_ratio_is_measured(pair):
    rows = list(speed(pair, 1))
    assert len(rows) == 7
    for row in rows:
        assert float(row.split("|")[2]) > 0, row


def test_another_model_is_noticed(pair):
    other = replace(pair)
    other.__dict__["other"] = prompted(pair.cpu.backbone, bridge=64, seed=5)
    bad = {row.quantity for row in features(other) if not row.ok}
    assert bad == {"unit features, adapted image, tiny", "unit features, adapted text, tiny"}


def test_what_raises_is_a_row_and_the_rest_goes_on(monkeypatch, capsys):
    def broken(pair):
        raise RuntimeError("expected all tensors on one device\nat line 3")

    monkeypatch.setattr(parts, "PARITY", (broken, parts.draws))
    monkeypatch.setattr(check, "speed", lambda pair, repeats: iter(()))
    written = list(lines("cpu", ["tiny"], parts=check.PARTS, repeats=1, commit="abc"))
    assert "| broken, tiny |  | RuntimeError: expected all tensors on one device |" in written[7]
    assert sum("decisions that differ" in line for line in written) == 3
    assert written[-1].startswith("1 rows are NOT")
    assert "commit abc" in written[0]
    assert "at line 3" in capsys.readouterr().err


def test_a_row_that_raised_is_not_right(capsys):
    row = failed("maps", "bf16", ValueError("a | b"))
    assert not row.ok
    assert str(row) == "| maps | bf16 | ValueError: a / b |  | **NO** |"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_is_skipped_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check"])
    check.main()
    assert "no CUDA device here" in capsys.readouterr().out
