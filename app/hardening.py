"""What stands between strangers and Gradio: listed routes, a body limit, security headers."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 24 * 2**20  # bytes of one request; Gradio's own limit counts each file for itself
FULL_DISK = (
    "The disk of this machine is full, so no file could be stored. Old ones are deleted all the "
    "time: try again in a few minutes."
)
# What the page, programs that call it and a Space ask for (tests/app/requests.txt is a recorded
# visit); Gradio has sixty routes more, which cost memory, disk or requests to elsewhere.
READ = re.compile(
    r"/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)?"
    r"|/(assets|static)/.+"
    r"|/gradio_api/(info|startup-events|queue/data|upload_progress|heartbeat/[\w-]+)"
    r"|/gradio_api/call/(v2/)?[\w-]+/[\w-]+"
    r"|/gradio_api/file=(/|[A-Za-z]:[/\\])[^/\\].*"  # on this machine, not at an address
)
WRITTEN = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset|call/(v2/)?[\w-]+)")
ALLOWED = {"GET": READ, "HEAD": READ, "POST": WRITTEN}
# What a proxy says of the address that a visitor asked for, which Gradio repeats in its answers.
FORWARDED = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
# No remote script, style, font or picture. 'unsafe-eval' is what Gradio's HTML component needs;
# frame-ancestors is left out, since Spaces show the page in a frame.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; media-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"geolocation=(), microphone=(), camera=(self)"),
)


class Guard:
    """ASGI middleware that refuses what the page never asks for.

    Args:
        hosts: names that a proxy of ours may say the page has; without any, no proxy is believed.
    """

    def __init__(self, app: App, hosts: Collection[str] = ()):
        self.app = app
        self.hosts = [host.encode() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http" or not _listed(scope):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif _declared_length(scope) > MAX_BODY:
            await PlainTextResponse("The request is too large", 413)(scope, receive, send)
        else:
            try:
                await self.app(self._told(scope), _counted(receive), _with_headers(send))
            except OSError as error:  # before any answer: an upload is stored first
                if not _is_full_disk(error):
                    raise
                await PlainTextResponse(FULL_DISK, 507)(scope, receive, send)

    def _told(self, scope: Scope) -> Scope:
        """The request, without what a proxy that is not ours says of it."""
        headers = dict(scope["headers"])
        if headers.get(b"x-forwarded-host", headers.get(b"host")) in self.hosts:
            return scope
        kept = [(name, value) for name, value in scope["headers"] if name not in FORWARDED]
        return {**scope, "headers": kept, "scheme": "http"}


def _listed(scope: Scope) -> bool:
    """Whether a method and path is one that the page needs."""
    paths = ALLOWED.get(scope["method"])
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return paths is not None and paths.fullmatch(path) is not None


def _is_full_disk(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_said() -> Iterator[None]:
    """Turns a full disk into one sentence for the visitor."""
    try:
        yield
    except Exception as error:
        # Gradio puts an error of its own before what went wrong with a component.
        if not any(_is_full_disk(one) for one in (error, error.__cause__)):
            raise
        raise gr.Error(FULL_DISK, duration=20, print_exception=False) from error


class StoringBlocks(gr.Blocks):  # type: ignore[misc]  # gradio is not typed
    """Blocks that say so where a picture that they show or were given cannot be stored."""

    async def preprocess_data(self, *given: Any) -> Any:
        with full_disk_said():
            return await super().preprocess_data(*given)

    async def postprocess_data(self, *given: Any) -> Any:
        with full_disk_said():
            return await super().postprocess_data(*given)


def _declared_length(scope: Scope) -> int:
    """The content length a request declares; over every limit where it is no number."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else MAX_BODY + 1


def _counted(receive: Receive) -> Receive:
    """Cuts a request off that sends more than it may, whatever it declared."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return counted


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return sent


def middleware() -> list[Middleware]:
    """What `launch(app_kwargs={"middleware": ...})` takes.

    A Space's proxy is believed, and one that speaks of a name in DROPLE_HOSTS.
    """
    named = (os.environ.get("SPACE_HOST", ""), *os.environ.get("DROPLE_HOSTS", "").split(","))
    return [Middleware(Guard, [name.strip() for name in named if name.strip()])]
