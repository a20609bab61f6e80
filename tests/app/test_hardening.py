"""What a stranger may not: other routes, large bodies, made-up hosts, files that stay."""

from __future__ import annotations

import asyncio
import errno
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
from analysed import analysed
from gradio.route_utils import get_request_origin
from gradio.routes import App
from plotly.graph_objects import Figure
from serving import call, upload, visitor
from starlette.requests import Request
from starlette.routing import Route
from tiny import noise_picture

from app import demo as page
from app.demo import build_demo, launch
from app.examples import EXAMPLES
from app.hardening import FULL_DISK, MAX_BODY, Guard, StoringBlocks, middleware
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


def request(path, method="GET", *, app=None, transport=None, **kwargs):
    async def ask():
        there = transport or httpx.ASGITransport(app or Guard(echo))
        async with httpx.AsyncClient(transport=there, base_url="http://here") as http:
            return await http.request(method, path, **kwargs)

    # In a thread of its own: where browser tests ran before, this one has their event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()


UPLOAD = "/gradio_api/upload"
# What a visit asks for: python tests/browser/record.py.
RECORDED = (Path(__file__).parent / "requests.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", RECORDED)
def test_what_a_visit_asks_for_is_there(line):
    method, path = line.split(" ", 1)
    assert request(path, method).status_code == 200


@pytest.mark.parametrize(
    "line",
    ["GET /gradio_api/file/http://127.0.0.1:1/", "GET /gradio_api/file=http://127.0.0.1:1/",
     "GET /gradio_api/file=HTTPS://elsewhere/", "GET /gradio_api/file=//elsewhere/share",
     "GET /gradio_api/file=%68ttp://elsewhere/", "GET /gradio_api/file/etc/passwd",
     "GET /gradio_api/proxy=https://elsewhere.hf.space/", "GET /monitoring",
     "GET /monitoring/summary", "GET /pwa_icon/64", "GET /PWA_ICON/64", "GET /dev/reload",
     "GET /gradio_api/dev/reload", "POST /gradio_api/component_server",
     "POST /gradio_api/process_recording", "POST /gradio_api/stream/1",
     "GET /gradio_api/stream/a/b/1/playlist.m3u8", "POST /gradio_api/vibe-edit/",
     "POST /gradio_api/undo-vibe-edit", "GET /gradio_api/vibe-code", "POST /gradio_api/run/analyse",
     "POST /gradio_api/api/analyse", "GET /gradio_api/deep_link", "GET /gradio_api/runs",
     "POST /login", "GET /logout", "GET /gradio_api/token", "GET /docs", "GET /openapi.json",
     "PUT /gradio_api/upload", "DELETE /", "POST /", "GET /gradio_api/upload", "GET /elsewhere"],
)  # fmt: skip
def test_another_request_finds_nothing(line):
    method, path = line.split(" ", 1)
    assert request(path, method).status_code == 404


def test_a_page_below_a_path_is_there_too():
    transport = httpx.ASGITransport(Guard(echo), root_path="/lens")
    assert request("/lens/config", transport=transport).status_code == 200
    assert request("/lens/monitoring", transport=transport).status_code == 404


def test_other_routes_are_there_with_their_headers():
    answer = request("/gradio_api/info")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "object-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "-1", "many"])
def test_a_body_too_large_is_refused_unread(length):
    answer = request(UPLOAD, "POST", headers={"content-length": length}, content=b"x")
    assert answer.status_code == 413


def test_a_body_at_the_limit_passes():
    answer = request(UPLOAD, "POST", content=b"x" * MAX_BODY)
    assert answer.text == str(MAX_BODY)


def test_a_body_that_hides_its_length_is_cut_off():
    async def parts():
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b"x" * 2**20

    with pytest.raises(AssertionError):  # the app never answers
        request(UPLOAD, "POST", content=parts())


async def said_of_itself(scope, receive, send):
    """An app that answers with the address it is told that it has, as Gradio builds it."""
    origin = str(get_request_origin(Request(scope), "/")).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": origin})


FORGED = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "host": "lens.example"}


def test_no_stranger_says_what_the_host_is_called():
    told = request("/config", app=Guard(said_of_itself), headers=FORGED)
    assert told.text == "http://lens.example/config"
    server = {"x-gradio-server": "http://evil.example", "host": "lens.example"}
    assert request("/config", app=Guard(said_of_itself), headers=server).text == told.text


def test_a_proxy_of_ours_does(monkeypatch):
    monkeypatch.setenv("SPACE_HOST", "owner-lens.hf.space")
    monkeypatch.setenv("DROPLE_HOSTS", "lens.example, other.example")
    (one,) = middleware()
    ours = one.cls(said_of_itself, *one.args)
    for host in ("owner-lens.hf.space", "other.example"):
        named = {**FORGED, "x-forwarded-host": host, "host": "10.0.0.1:7860"}
        assert request("/config", app=ours, headers=named).text == f"https://{host}"
    kept = {"host": "lens.example", "x-forwarded-proto": "https"}
    assert request("/config", app=ours, headers=kept).text == "https://lens.example/config"
    assert request("/config", app=ours, headers=FORGED).text == "http://lens.example/config"


# --- the page ---


@pytest.fixture(scope="module")
def built():
    return build_demo(Studio("cpu", own_files=False))


def test_the_queue_is_bounded_and_cannot_be_passed_by(built):
    assert built._queue.max_size == 240 < page.SESSIONS
    assert built.api_open is False


def test_of_all_routes_of_gradio_only_those_of_a_visit_are_open(built):
    recorded = [line.split(" ", 1) for line in RECORDED]
    app = App.create_app(built)
    routes = [
        *app.routes,
        *(
            one
            for part in app.routes
            if not isinstance(part, Route)
            for one in part.original_router.routes
        ),
    ]
    routes = [one for one in routes if isinstance(one, Route)]
    assert len(routes) > 60
    for route in routes:
        visited = {method for method, path in recorded if route.path_regex.match(path)}
        path = re.sub(r"{[^}]*}", "a1", route.path)
        tried = {one for one in route.methods if request(path, one).status_code == 200}
        assert tried <= visited, route.path


def test_what_a_program_may_ask_for_names_no_path_of_the_machine(built):
    paths = re.findall(r"/(?:tmp|home|root|usr|var|work)/[^\"]*", str(built.get_api_info()))
    assert paths == []


def test_draws_do_not_read_the_picture_again(built):
    image = next(one for one in built.blocks.values() if one.elem_id == "image")
    drawing = [one for one in built.fns.values() if one.name in ("draw", "compare")]
    assert len(drawing) > 5
    assert all(image not in one.inputs for one in drawing)


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


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The url of an app, launched as ours, that shows the picture it is given."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with StoringBlocks() as demo:
        given, shown = gr.Image(type="numpy"), gr.Image(format="png")
        gr.Button().click(lambda image: image[::-1], given, shown, api_name="mirror")
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_upload_to_a_full_disk_is_refused_in_words_until_there_is_room(mirror, monkeypatch):
    with visitor(mirror) as http:
        with monkeypatch.context() as patched:
            patched.setattr("gradio.route_utils.NamedTemporaryFile", full)
            refused = http.post("gradio_api/upload", files={"files": ("a.png", b"x")})
        assert refused.status_code == 507
        assert refused.text == FULL_DISK
        assert Path(upload(http, "a.png", b"x")["path"]).is_file()


def test_a_picture_that_a_full_disk_cannot_store_is_missed_in_words(mirror, monkeypatch):
    data = io.BytesIO()
    noise_picture(20, 20).save(data, "PNG")
    with visitor(mirror) as http:
        picture = upload(http, "noise.png", data.getvalue())
        with monkeypatch.context() as patched:
            patched.setattr("gradio.processing_utils.encode_pil_to_bytes", full)
            with pytest.raises(RuntimeError, match="The disk of this machine is full"):
                call(http, "mirror", [picture])
        assert Path(call(http, "mirror", [picture])["path"]).is_file()


@pytest.mark.slow
def test_files_of_visitors_are_deleted_and_those_of_the_page_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "TEMP_FILES", (1, 1))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    demo = build_demo(Studio("cpu"))
    app, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        assert app.state_holder.capacity == page.SESSIONS
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
