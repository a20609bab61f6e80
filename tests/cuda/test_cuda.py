"""A CUDA device computes what the CPU computes; `python -m tests.cuda.check` prints how nearly."""

from __future__ import annotations

import pytest
import torch

from tests.cuda.pairs import Pair
from tests.cuda.parity import PARITY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module", params=["tiny", "mini"])
def pair(request):
    return Pair(request.param, "cuda")


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee")
    monkeypatch.setattr(torch.backends.cuda.matmul, "fp32_precision", "ieee")


@pytest.mark.parametrize("part", PARITY, ids=lambda part: part.__name__)
def test_cuda_computes_what_the_cpu_computes(pair, part):
    rows = list(part(pair))
    assert rows
    assert not [str(row) for row in rows if not row.ok]
