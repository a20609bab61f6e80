"""Calls that run the model: they end, they say why, and they fit through a pipe."""

from __future__ import annotations

import asyncio
import pickle
import sys
from functools import partial
from types import SimpleNamespace

import gradio as gr
import pytest

from app.asked import StrictBlocks
from app.calls import GPU_SECONDS, Newest, model_call, time_limited
from app.demo import build_demo
from app.studio import Studio
from drople.errors import ImageError, SettingsError


def ticking(*times):
    """A clock that shows these times, one after the other."""
    return partial(next, iter(times))


def counting(noted, most=5):
    """Steps that note when they end."""
    try:
        yield from range(most)
    finally:
        noted.append("ended")


def test_steps_within_their_time_pass():
    noted = []
    assert [*time_limited(10, counting(noted), ticking(*range(6)))] == [0, 1, 2, 3, 4]
    assert noted == ["ended"]


def test_steps_are_stopped_when_their_time_is_over():
    noted = []
    steps = time_limited(10, counting(noted), ticking(0, 1, 9, 11))
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(SettingsError, match="more than 10 seconds and was stopped"):
        next(steps)
    assert noted == ["ended"]


def test_steps_end_when_nobody_listens():
    noted = []
    steps = time_limited(10, counting(noted))
    assert next(steps) == 0
    steps.close()
    assert noted == ["ended"]


def failing(error):
    yield 1
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImageError("The file is empty."), "The file is empty."),
        (RuntimeError("/home/me/secret"), "Something went wrong on our side"),
        (gr.Error("told already"), "told already"),
    ],
)
def test_a_failure_reaches_the_visitor_in_words(error, words):
    steps = model_call(failing)(error)
    assert next(steps) == 1
    with pytest.raises(gr.Error, match=words) as caught:
        next(steps)
    assert "secret" not in caught.value.message


def test_what_is_over_time_is_said_in_words():
    with pytest.raises(gr.Error, match="was stopped, so that others get their turn"):
        [*model_call(partial(counting, []), timeout=-1)()]


# --- ZeroGPU ---


@pytest.fixture
def lender(monkeypatch):
    """A Space that lends GPUs: what goes to a call and comes back is pickled, as on ZeroGPU."""
    lent = []

    def gpu(duration):
        def decorate(call):
            def borrowed(*given):
                given = pickle.loads(pickle.dumps(given))
                lent.append(duration(*given) if callable(duration) else duration)
                for step in call(*given):
                    yield pickle.loads(pickle.dumps(step))

            return borrowed

        return decorate

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    return lent


def test_on_zero_gpu_a_call_borrows_a_gpu_for_as_long_as_it_says(lender):
    call = model_call(partial(counting, []), gpu_seconds=lambda most: 10 + most)
    assert [*call(3)] == [0, 1, 2]
    assert lender == [13]


def test_elsewhere_no_gpu_is_borrowed(monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it would fail
    assert [*model_call(partial(counting, []))(2)] == [0, 1]


def test_an_analysis_and_the_page_it_changes_travel(lender, tmp_path):
    from furnished import save_tiny_clip
    from tiny import noise_picture

    from app.page import Page

    asked = {"image": noise_picture(), "classes": "cat, dog"}
    asked["backbone"] = save_tiny_clip(tmp_path / "tiny")
    page = Page(Studio("cpu"))
    page.draws = 2
    *_, (analysis, drawn, payload, target) = page.analyse(**asked)
    assert page.api_analyse(**asked)["classes"] == ["cat", "dog"]
    assert page.api_evidence(**asked)["name"].endswith(".npz")
    assert lender == [10, 10, 10]
    assert analysis.classes == ("cat", "dog")
    assert "Frozen: " in payload["sentences"]["answer"]
    assert target.value in ("cat", "dog")
    *_, ((_, batches), payload) = page.draw(drawn, **asked)
    assert payload["draws"]["count"] == sum(len(batch.seeds) for batch in batches) == 2
    assert lender[3:] == [GPU_SECONDS]


def test_every_event_that_runs_the_model_borrows_the_gpu(lender):
    demo = build_demo(Studio("cpu"))
    group = [event for event in demo.fns.values() if event.concurrency_id == "model"]
    assert len(group) >= 6
    # The page's own borrow it where they analyse: see the test above.
    page = {"analyse", "api_analyse", "api_evidence"}
    assert {event.fn.__qualname__.split(".")[-1] for event in group} == {"borrowed", *page}


def test_one_visitor_at_a_time_computes():
    demo = build_demo(Studio("cpu"))
    group = [event for event in demo.fns.values() if event.concurrency_id == "model"]
    assert {event.concurrency_limit for event in group} == {1}


def raising(error):
    """A callback that raises."""

    def fail():
        raise error

    return fail


def test_a_callback_that_exits_or_fails_is_a_sentence_and_ends_no_server():
    with StrictBlocks() as demo:
        button = gr.Button()
        for error in (SystemExit(1), ValueError("/home/somebody")):
            button.click(raising(error))
    for event in demo.fns.values():
        with pytest.raises(gr.Error, match="went wrong on our side"):
            asyncio.run(demo.call_function(event, []))


def visitor(name):
    return SimpleNamespace(session_hash=name)


@pytest.mark.parametrize("end", ["mark", "stop"])
def test_steps_end_when_their_visitor_asks_for_something_newer_or_stops(end):
    newest, one, other, ended = Newest(), visitor("one"), visitor("other"), []
    newest.mark(one)
    steps = newest.only(one, counting(ended))
    assert next(steps) == 0
    getattr(newest, end)(other)
    assert next(steps) == 1
    getattr(newest, end)(one)
    with pytest.raises(gr.Error) as raised:
        next(steps)
    assert not raised.value.visible
    assert ended == ["ended"]


def test_after_a_stop_nothing_begins_until_the_visitor_asks_again():
    newest, one = Newest(), visitor("one")
    newest.stop(one)
    assert [*newest.only(one, counting([]))] == []
    newest.mark(one)
    assert len([*newest.only(one, counting([]))]) == 5


def test_only_the_visitors_of_late_are_remembered():
    newest = Newest()
    for i in range(newest.VISITORS + 1):
        newest.stop(visitor(str(i)))
    assert len([*newest.only(visitor("0"), counting([]))]) == 5
    assert [*newest.only(visitor("1"), counting([]))] == []
