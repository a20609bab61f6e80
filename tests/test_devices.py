"""Which precision is faster is measured once, and bf16 has to be so clearly."""

from __future__ import annotations

import pytest

from drople.devices import PRECISIONS, faster_precision, fitting


@pytest.mark.parametrize(
    ("fp32", "bf16", "taken"),
    [([1.0, 9.0], [3.0, 0.3], "bf16"), ([1.0], [0.95], "fp32"), ([1.0], [2.0], "fp32")],
)
def test_bf16_is_taken_where_it_is_clearly_faster(fp32, bf16, taken):
    assert fitting({"fp32": fp32, "bf16": bf16}) == taken


def test_a_precision_is_measured_once_a_device_and_width():
    faster_precision.cache_clear()
    first, again = (faster_precision("cpu", 64) for _ in range(2))
    assert first == again
    assert first in PRECISIONS
    assert (faster_precision.cache_info().misses, faster_precision.cache_info().hits) == (1, 1)
