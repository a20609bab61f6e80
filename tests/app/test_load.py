"""Many visitors are all served, and many analyses leave nothing behind."""

from __future__ import annotations

import sys

import pytest
from load import crowd, repeat
from serving import served

pytestmark = pytest.mark.slow


def test_a_crowd_at_once_is_all_served(tmp_path):
    with served(tmp_path / "space") as space:
        found = crowd(space, 6)  # fifty: python tests/load.py
    assert found.other == []
    assert found.served == found.visitors == 6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_after_many_analyses(tmp_path):
    before, after = repeat(150, 50, tmp_path)
    assert after <= before * 1.05
