"""What stands between strangers and Gradio: closed routes, a body limit, security headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 24 * 2**20  # bytes of one request; Gradio's own limit counts each file for itself
# Routes of Gradio that this page never uses and that cost memory, disk or requests to elsewhere.
CLOSED = (
    "/pwa_icon",
    "/monitoring",
    "/gradio_api/process_recording",
    "/gradio_api/proxy=",
    "/gradio_api/file=http",
    "/gradio_api/vibe",
    "/gradio_api/undo-vibe",
)
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
    """ASGI middleware that refuses what the page never asks for."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].lower().startswith(CLOSED):
            await _refuse(send, 404, b"Not found")
        elif _declared_length(scope) > MAX_BODY:
            await _refuse(send, 413, b"The request is too large")
        else:
            await self.app(scope, _counted(receive), _with_headers(send))


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


async def _refuse(send: Send, status: int, text: bytes) -> None:
    length = str(len(text)).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def middleware() -> list[Middleware]:
    """What `launch(app_kwargs={"middleware": ...})` takes."""
    return [Middleware(Guard)]
