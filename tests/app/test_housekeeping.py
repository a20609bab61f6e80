"""What a served app keeps within bounds: results of those who left, files, memory."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from gradio.state_holder import StateHolder

from app import housekeeping
from app.housekeeping import CUT_OFF, MAX_FILES, OLD, RETURNING, forget, sweep, trim

NOW = 2_000_000_000.0
HASHED = "0123456789abcdef" * 4


def put(path, *, age=0.0, size=1):
    """A file so many seconds old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_old_files_go_with_their_folders_and_new_ones_stay(tmp_path):
    old = [
        put(tmp_path / HASHED / "photo.png", age=OLD + 1),
        put(tmp_path / "tmpabcd1234", age=CUT_OFF + 1),  # an upload
        put(tmp_path / "deep_links" / "a" / "state.json", age=OLD + 1),
    ]
    new = [
        put(tmp_path / HASHED[::-1] / "photo.png", age=OLD - 1),
        put(tmp_path / "tmpabcd5678", age=CUT_OFF - 1),
    ]
    sweep(tmp_path, (), NOW)
    assert not any(path.exists() for path in (*old, old[0].parent))
    assert all(path.exists() for path in new)


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path):
    there = put(tmp_path / "elsewhere" / "precious.txt", age=OLD * 9)
    folder = tmp_path / "gradio"
    (folder / HASHED).mkdir(parents=True)
    links = folder / HASHED / "to-file", folder / HASHED / "to-folder", folder / HASHED[::-1]
    for link, target in zip(links, (there, there.parent, there.parent), strict=True):
        link.symlink_to(target)
        os.utime(link, (0, 0), follow_symlinks=False)
    sweep(folder, (), NOW)
    assert not any(os.path.lexists(link) for link in links)
    assert there.exists()


def test_what_gradio_did_not_put_there_stays(tmp_path):
    own = [put(tmp_path / name, age=OLD * 9) for name in ("thesis.txt", "tmp/photo.png", "a/b.png")]
    sweep(tmp_path, (), NOW)
    assert all(path.exists() for path in own)


def test_the_page_s_own_files_stay_and_count_as_new(tmp_path):
    own = put(tmp_path / HASHED / "example.jpg", age=OLD * 9)
    sweep(tmp_path, {str(own)}, NOW)
    assert own.exists()
    assert own.stat().st_mtime == NOW


def test_of_too_many_bytes_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(housekeeping, "MAX_FILES", 25)
    paths = [put(tmp_path / f"tmp{i:08}", age=60 - i, size=10) for i in range(5)]
    sweep(tmp_path, (), NOW)
    assert [path.exists() for path in paths] == [False, False, False, True, True]
    assert MAX_FILES > 10 * 24 * 2**20


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path):
    sweep(tmp_path / "none", (), NOW)


def sessions(idle, *, closed=(), empty=()):
    """Visitors by name, so many seconds without a request."""
    holder, now = StateHolder(), datetime.now()
    for name, seconds in idle.items():
        held = {0: None if name in empty else "result"}
        holder.session_data[name] = SimpleNamespace(is_closed=name in closed, state_data=held)
        holder.time_last_used[name] = now - timedelta(seconds=seconds)
    forget(holder, now)
    assert holder.session_data.keys() == holder.time_last_used.keys()
    return [*holder.session_data]


def test_who_is_there_keeps_results_for_an_hour():
    assert sessions({"reads": 3500, "away": 3700}) == ["reads"]


def test_of_those_who_left_the_last_few_may_come_back():
    idle = {f"v{i}": 100 + i for i in range(RETURNING + 5)} | {"just": 10, "there": 900}
    kept = sessions(idle, closed=[*idle.keys() - {"there"}])
    assert sorted(kept) == sorted([*(f"v{i}" for i in range(RETURNING)), "just", "there"])


def test_of_programs_that_called_hardly_anything_is_kept():
    idle = {f"p{i}": 100 + i for i in range(99)} | {"waits": 30}
    assert len(sessions(idle, empty=[*idle])) == RETURNING + 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_freed_goes_back_to_the_system():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if housekeeping._glibc() is None:
        pytest.skip("needs glibc")
    # Too small to be mapped each for itself, with one in between that keeps the heap's end in use.
    parts = [np.ones(8000) for _ in range(2000)]
    last = np.ones(8000)
    full = resident()
    del parts
    trim()
    assert resident() < full - 100 * 2**20
    assert last.sum() == 8000


def test_other_systems_have_nothing_to_trim(monkeypatch):
    monkeypatch.setattr(housekeeping.platform, "libc_ver", lambda: ("", ""))
    housekeeping._glibc.cache_clear()
    trim()
    housekeeping.limit_arenas()
    assert housekeeping._glibc() is None
    housekeeping._glibc.cache_clear()
