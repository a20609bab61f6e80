"""What a served app keeps within bounds while it runs: memory, visitors' results, files."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from gradio.state_holder import StateHolder
from gradio.utils import get_upload_folder

ROUND = 15.0  # seconds between two looks at results and files
RUNNING = timedelta(minutes=1)  # without a request: what a visitor waits for may still be computed
IDLE = timedelta(hours=1)
RETURNING = 16  # visitors who left and still find their results when they come back
OLD = 3600  # seconds a visitor's file is kept
CUT_OFF = 600  # seconds in which an upload under way does not grow
MAX_FILES = 2 * 2**30  # bytes of all of them; above, the oldest go
ARENAS = 2
M_ARENA_MAX = -8  # of glibc's malloc.h
# What Gradio puts into its folder: a file under its hash, a link's page, an upload under way.
STORED = re.compile(r"[0-9a-f]{64}|deep_links|tmp\w{8}")


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library whose allocator keeps what is freed; None on other systems."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def limit_arenas() -> None:
    """Lets threads share two heaps; glibc gives each one of its own, which never shrinks.

    To be called before any thread is started.
    """
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, ARENAS)


def trim() -> None:
    """Gives what is freed back to the system: some 15 ms, so once a call and not once a step."""
    if libc := _glibc():
        libc.malloc_trim(0)


def forget(sessions: StateHolder, now: datetime) -> None:
    """Lets go of what is kept for visitors who left, but the last few, or who are idle for long.

    A telephone that changes networks looks like a visitor who leaves, and comes back.
    """
    idle = {name: now - used for name, used in [*sessions.time_last_used.items()]}
    left = [name for name in idle if idle[name] > RUNNING and _left(sessions, name)]
    gone = {*sorted(left, key=idle.__getitem__)[RETURNING:]}
    for name in (name for name in idle if name in gone or idle[name] > IDLE):
        with sessions.lock:
            sessions.session_data.pop(name, None)
            sessions.time_last_used.pop(name, None)


def _left(sessions: StateHolder, name: str) -> bool:
    """Whether a page is closed or, as for a program that called, has no result to come back to."""
    session = sessions.session_data.get(name)
    return (
        session is None
        or session.is_closed
        or all(value is None for value in session.state_data.values())
    )


def sweep(folder: Path, kept: Collection[str], now: float) -> None:
    """Deletes files that Gradio put into its folder and that are old, or the oldest of too many.

    Args:
        kept: paths of the page's own files. They count as new, so that another app over the same
            folder leaves them too.
        now: seconds since the epoch.
    """
    found, total = [], 0
    for path in _stored(folder):
        with suppress(OSError):  # it has just gone
            if str(path) in kept:
                os.utime(path, (now, now))
                continue
            status = path.lstat()
            found.append((status.st_mtime, status.st_size, path))
            total += status.st_size
    for changed, size, path in sorted(found):
        if now - changed > (CUT_OFF if path.parent == folder else OLD) or total > MAX_FILES:
            total -= size
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):  # there are others in it
                path.parent.rmdir()


def _stored(folder: Path) -> Iterator[Path]:
    """The files and links in Gradio's folder that it put there, at any depth."""
    with suppress(OSError):
        for one in [*folder.iterdir()]:
            if not STORED.fullmatch(one.name):
                continue
            if one.is_symlink() or not one.is_dir():
                yield one
            else:
                for root, folders, files in os.walk(one):
                    links = [name for name in folders if os.path.islink(os.path.join(root, name))]
                    yield from (Path(root, name) for name in (*files, *links))


@asynccontextmanager
async def tidied(app: Any) -> AsyncIterator[None]:
    """Keeps order from the start of Gradio's server to its end (`lifespan` of an app)."""
    rounds = asyncio.create_task(_rounds(app))
    try:
        yield
    finally:
        rounds.cancel()


async def _rounds(app: Any) -> None:
    while True:
        blocks = app.get_blocks()
        kept = {path for one in blocks.blocks.values() for path in one.keep_in_cache}
        await asyncio.to_thread(sweep, Path(get_upload_folder()), kept, time.time())
        await asyncio.to_thread(forget, app.state_holder, datetime.now())
        await asyncio.sleep(ROUND)
