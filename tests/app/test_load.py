"""Many visitors are all served, and many analyses leave nothing behind."""

from __future__ import annotations

import sys

import pytest
from load import crowd, grown, repeat
from serving import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_a_crowd_at_once_is_all_served_and_told_its_place(tmp_path):
    with served(tmp_path / "space") as space:
        found = crowd(space, 6)  # 150: python tests/load.py
    assert found.other == []
    assert found.served == found.visitors == 6
    assert sorted(set(found.places)) == [*range(max(found.places) + 1)]
    assert len(found.places) == 6


def test_memory_stays_after_many_analyses_with_their_draws(tmp_path):
    with served(tmp_path / "space") as space:
        sizes = repeat(space, 30)  # 300: python tests/load.py
        peak = space.peak()
    assert grown(sizes) < 0.1
    assert max(sizes) < 1.1 * min(sizes[7:])
    assert peak < 2.0 * 2**30
