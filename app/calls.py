"""Calls that run the model: errors in words, a limit of time, and a GPU on ZeroGPU."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import Any, TypeVar

import gradio as gr

from app.housekeeping import trim
from drople.errors import DropleError, SettingsError

log = logging.getLogger(__name__)
Step = TypeVar("Step")
# One visitor at a time computes; every event of the group has the same limit (the lowest wins).
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
TIMEOUT = 120.0  # seconds one visitor's call may take, checked between its steps
GPU_SECONDS = 30  # seconds a GPU is borrowed for, where a call does not say


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns what goes wrong into one sentence for the visitor."""
    try:
        yield
    except gr.Error:
        raise
    except DropleError as error:
        raise gr.Error(str(error), duration=20, print_exception=False) from None
    except (Exception, SystemExit) as error:
        log.exception("a call failed")
        raise gr.Error(
            "Something went wrong on our side; your settings are kept. Try again, or another "
            "picture.",
            print_exception=False,
        ) from error


def time_limited(
    seconds: float,
    steps: Generator[Step, None, None],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """Passes steps on until their time is over; they end when nobody listens any more.

    Raises:
        SettingsError: their time is over.
    """
    end = clock() + seconds
    with closing(steps):
        for step in steps:
            if clock() > end:
                raise SettingsError(
                    f"This took more than {seconds:.0f} seconds and was stopped, so that others "
                    "get their turn. Ask for less: fewer classes, fewer draws, a smaller backbone."
                )
            yield step


def on_zero_gpu() -> bool:
    """Whether this is a Space that lends its GPU to one call at a time."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def model_call(
    call: Callable[..., Any],
    *,
    timeout: float = TIMEOUT,
    gpu_seconds: int | Callable[..., int] = GPU_SECONDS,
) -> Callable[..., Any]:
    """A callback that runs the model step by step, as an event takes it.

    On ZeroGPU each call runs in a process forked from this one: what it takes and gives travels as
    a pickle, so it must be arrays on the CPU. Anywhere else no GPU is borrowed.

    Args:
        call: a generator function.
        timeout: seconds the steps may take.
        gpu_seconds: seconds a GPU is borrowed for; a function is given what the call is given.
    """

    @wraps(call)
    def bounded(*asked: Any) -> Iterator[Any]:
        try:
            with user_errors():
                yield from time_limited(timeout, call(*asked))
        finally:
            trim()

    if not on_zero_gpu():
        return bounded
    import spaces

    borrowing: Callable[..., Any] = spaces.GPU(duration=gpu_seconds)(bounded)
    return borrowing


class Newest:
    """Lets what runs for a visitor end as soon as the visitor asks for something newer, or stops.

    Gradio (6.31) cancels too, but forgets a run that begins while it cancels another of its event.
    """

    VISITORS = 1024  # who are remembered

    def __init__(self) -> None:
        self._marks: dict[str, object] = {}
        self._lock = threading.Lock()

    def mark(self, request: gr.Request | None) -> None:
        """The visitor has asked for something: what was asked before is old."""
        self._set(request, object())

    def stop(self, request: gr.Request | None) -> None:
        """The visitor wants nothing more, until the next mark."""
        self._set(request, None)

    def only(
        self, request: gr.Request | None, steps: Generator[Step, None, None]
    ) -> Iterator[Step]:
        """Passes steps on as long as nothing newer is asked for.

        Raises:
            gr.Error: something is; nobody sees it. As a call ends well, Gradio sends what it
                yielded last once more, here over the newer result.
        """
        session = _session_of(request)
        mark = self._marks.get(session, self)
        with closing(steps):
            while mark is not None:
                step = next(steps, None)
                if self._marks.get(session, self) is not mark:
                    raise gr.Error("Something newer is asked for.", visible=False,
                                   print_exception=False)  # fmt: skip
                if step is None:
                    return
                yield step

    def _set(self, request: gr.Request | None, mark: object) -> None:
        with self._lock:
            self._marks.pop(session := _session_of(request), None)
            self._marks[session] = mark
            if len(self._marks) > self.VISITORS:
                del self._marks[next(iter(self._marks))]


def _session_of(request: gr.Request | None) -> str:
    return (request and request.session_hash) or ""
