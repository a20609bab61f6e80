"""What a stranger may not: closed routes, large bodies, old sessions, files that stay."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
from analysed import analysed
from plotly.graph_objects import Figure
from serving import call, upload, visitor
from tiny import noise_picture

from app import demo as page
from app.demo import build_demo, launch
from app.examples import EXAMPLES
from app.hardening import CLOSED, MAX_BODY, Guard
from app.studio import Studio
from app.tabs.shared import View

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


async def echo(scope, receive, send):
    """An app that answers with the length of what it was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def request(path, method="GET", **kwargs):
    async def ask():
        transport = httpx.ASGITransport(Guard(echo))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            return await http.request(method, path, **kwargs)

    # In a thread of its own: where browser tests ran before, this one has their event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()


@pytest.mark.parametrize("path", [*CLOSED, "/PWA_ICON/64", "/gradio_api/file=HTTPS://elsewhere/"])
def test_a_route_the_page_does_not_use_is_not_there(path):
    assert request(path).status_code == 404


def test_other_routes_are_there_with_their_headers():
    answer = request("/gradio_api/info")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "object-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "-1", "many"])
def test_a_body_too_large_is_refused_unread(length):
    answer = request("/", "POST", headers={"content-length": length}, content=b"x")
    assert answer.status_code == 413


def test_a_body_at_the_limit_passes():
    answer = request("/", "POST", content=b"x" * MAX_BODY)
    assert answer.text == str(MAX_BODY)


def test_a_body_that_hides_its_length_is_cut_off():
    async def parts():
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b"x" * 2**20

    with pytest.raises(AssertionError):  # the app never answers
        request("/", "POST", content=parts())


# --- the page ---


@pytest.fixture(scope="module")
def built():
    return build_demo(Studio("cpu", own_files=False))


def test_the_queue_is_bounded_and_cannot_be_passed_by(built):
    assert built._queue.max_size == 32
    assert built.api_open is False


def test_every_event_of_a_group_has_the_same_limit(built):
    limits = {}
    for event in built.fns.values():
        limits.setdefault(event.concurrency_id, set()).add(event.concurrency_limit)
    assert limits["model"] == {1}
    assert all(len(limit) == 1 for name, limit in limits.items() if name)


def test_what_a_session_keeps_is_let_go(built):
    states = [one for one in built.blocks.values() if type(one) is gr.State]
    assert states
    assert {one.time_to_live for one in states} == {3600}


def test_on_a_public_page_no_list_takes_values_of_ones_own(built):
    lists = {one.elem_id: one for one in built.blocks.values() if isinstance(one, gr.Dropdown)}
    for name in ("backbone", "prompts"):
        assert not lists[name].allow_custom_value


def views_of(built):
    """Every view of the page: where it goes, and how it is drawn."""
    found = {}
    for event in built.fns.values():
        view = getattr(event.fn, "__self__", None)
        if isinstance(view, View):
            found[id(view)] = view
    return [*found.values()]


def test_no_view_makes_markup_of_a_class_name(built):
    analysis, texts = analysed("odd names"), 0
    for target in (analysis.classes[i] for i in (0, 4, 5)):  # markup, a link, a token
        for view in views_of(built):
            held = [None] * len(view.held)
            shown = view.drawn(analysis, target, *held, *(one.value for one in view.controls))
            values = shown if len(view.outputs) > 1 else [shown]
            for component, value in zip(view.outputs, values, strict=True):
                if isinstance(value, Figure):
                    value = str(value.to_plotly_json())
                elif isinstance(component, gr.Markdown) and isinstance(value, str):
                    value = re.sub(r"\\.", "", value)  # what is escaped is shown as it is
                    assert "](javascript" not in value
                elif not isinstance(component, gr.HTML) or not isinstance(value, str):
                    continue
                texts += 1
                assert "<img" not in value
                assert "<end_of" not in value
    assert texts > 40


# --- files ---


@pytest.mark.slow
def test_files_of_visitors_are_deleted_and_those_of_the_page_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "TEMP_FILES", (1, 1))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    demo = build_demo(Studio("cpu"))
    app, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        assert app.state_holder.capacity == 64
        files = lambda: {path for path in tmp_path.rglob("*") if path.is_file()}  # noqa: E731
        own = files()
        assert [path.name for path in own] == [Path(EXAMPLES[0].photo).name]
        photo = tmp_path.parent / "mine.png"
        noise_picture(64, 64).save(photo)
        with visitor(url) as http:
            picture = upload(http, "mine.png", photo.read_bytes())
            assert Path(picture["path"]).is_file()
            assert call(http, "analyse", [picture, "cat, dog", "mini", "none", 0])["classes"]
        end = time.monotonic() + 60
        while files() != own and time.monotonic() < end:
            time.sleep(0.5)
        assert files() == own
    finally:
        demo.close()
