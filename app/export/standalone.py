"""The overview as one HTML page that opens anywhere, with no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[2] / "assets"


def standalone_page(payload: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The page, HTML, drawn by the overview's own renderer.

    Args:
        payload: what the overview draws.
        state: what it shows first: layer from 0, class by name; what is not named is chosen there.
    """
    text = json.dumps({"payload": payload, "state": state}, separators=(",", ":"))
    parts = {
        "__CSS__": (ASSETS / "overview.css").read_text(encoding="utf-8"),
        "__JS__": (ASSETS / "overview.js").read_text(encoding="utf-8"),
        # Inside a script element only < could end it.
        "__DATA__": text.replace("<", "\\u003c"),
    }
    page = (ASSETS / "standalone.html").read_text(encoding="utf-8")
    for place, part in parts.items():
        page = page.replace(place, part)
    return page
