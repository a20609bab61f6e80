"""A visitor without a browser: sends what the page would, and follows what it sets off."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from serving import visitor

BUSY = 503  # the queue is full: ask again


@dataclass
class Visit:
    """A page that is open: what its components hold, and what it was told."""

    http: httpx.Client
    parts: dict[int, dict[str, Any]]  # components by id
    events: list[dict[str, Any]]
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    values: dict[int, Any] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)  # messages, without what they carry
    again: int = 0  # asked again because the queue was full

    def fill(self, elem_id: str, value: Any) -> None:
        """Writes into a component."""
        self.values[self.part(elem_id)] = value

    def part(self, elem_id: str) -> int:
        """The number of a component."""
        return next(i for i, one in self.parts.items() if one["props"].get("elem_id") == elem_id)

    def press(self, elem_id: str) -> Iterator[str]:
        """Clicks on a button: names of all calls that this sets off, each as it ends.

        Raises:
            RuntimeError: one of them failed.
            httpx.HTTPStatusError: one of them was not taken.
        """
        button = self.part(elem_id)
        for event in self.events:
            if [button, "click"] in event["targets"]:
                yield from self._follow(event)

    def _follow(self, event: dict[str, Any]) -> Iterator[str]:
        if event["backend_fn"]:
            self._ask(event)
            yield event["api_name"]
        for one in self.events:
            if one["trigger_after"] == event["id"] and not one["trigger_only_on_failure"]:
                yield from self._follow(one)

    def _ask(self, event: dict[str, Any]) -> None:
        data = [self.values.get(i) for i in event["inputs"]]
        asked = {"data": data, "fn_index": event["id"], "session_hash": self.session}
        while (taken := self.http.post("gradio_api/queue/join", json=asked)).status_code == BUSY:
            self.again += 1
            time.sleep(1)
        taken.raise_for_status()
        where = f"gradio_api/queue/data?session_hash={self.session}"
        with self.http.stream("GET", where) as answer:
            for line in answer.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {"msg": ""}
                output = message.pop("output", {})
                self.told.append(message)
                if message["msg"] == "process_completed":
                    if not message["success"]:
                        raise RuntimeError(f"{event['api_name']}: {output}")
                    return
                if message["msg"] == "unexpected_error":
                    raise RuntimeError(message["message"])


@contextmanager
def page_of(url: str, patience: float = 900) -> Iterator[Visit]:
    """Opens the page, and leaves it at the end."""
    with visitor(url, patience) as http:
        http.get("").raise_for_status()
        config = http.get("config").json()
        parts = {one["id"]: one for one in config["components"]}
        page = Visit(http, parts, config["dependencies"])
        page.values = {i: one["props"].get("value") for i, one in parts.items()}
        with http.stream("GET", f"gradio_api/heartbeat/{page.session}"):
            yield page
