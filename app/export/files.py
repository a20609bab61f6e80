"""Pictures and tables as files: PNG, SVG, CSV, and all of them as one archive."""

from __future__ import annotations

import base64
import io
import re
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from html import escape, unescape

import numpy as np
from PIL import Image

from drople.analysis import Analysis
from drople.storage.cells import csv_text

WIDTH = 800  # of an SVG; its picture is scaled to it without loss
LETTERS = 100  # in a line of its text
LINE = 22
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BAR = re.compile(
    r'lens-bar-colours" style="background:([^"]*)".*?lens-bar-ends">(.*?)</div>'
    r'.*?lens-bar-meaning">(.*?)</div>',
    re.DOTALL,
)


@dataclass(frozen=True)
class Bar:
    """A colour bar as the page shows it."""

    colours: tuple[str, ...]  # evenly spaced, from left to right
    ends: tuple[str, ...]  # two or three labels, evenly spaced
    meaning: str

    @property
    def line(self) -> str:
        """The bar in words."""
        return f"{self.meaning}: from {self.ends[0]} to {self.ends[-1]}"


def read_bars(html: str) -> list[Bar]:
    """The colour bars in what `theme.colour_bar` wrote."""
    return [
        Bar(
            tuple(re.findall(r"rgb\(\d+,\d+,\d+\)", colours)),
            tuple(unescape(end) for end in re.findall(r"<span>(.*?)</span>", ends)),
            unescape(meaning),
        )
        for colours, ends, meaning in _BAR.findall(html)
    ]


def read_cells(html: str) -> list[list[str]]:
    """The rows of coloured cells, as `importance.text_table` wrote them, under each one's title."""
    rows = re.findall(r"<h2>.*?</h2>|<tr>.*?</tr>", html, re.DOTALL)
    found = [re.findall(r"<(?:h2|th|td)[^>]*>(.*?)</(?:h2|th|td)>", row, re.DOTALL) for row in rows]
    return [[_text(cell) for cell in row] for row in found]


def _text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def as_png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3 or 4) uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def as_svg(picture: np.ndarray, title: str, bars: Sequence[Bar], *, notes: Sequence[str]) -> str:
    """A picture without loss, with its title, colour bars and notes as real text, on white.

    Args:
        notes: paragraphs beneath.
    """
    high = WIDTH * picture.shape[0] / picture.shape[1]
    data = base64.b64encode(as_png(picture)).decode()
    parts = [
        _line(title, 20, 26, size=18),
        f'<image x="20" y="40" width="{WIDTH}" height="{high:.1f}" '
        f'href="data:image/png;base64,{data}"/>',
    ]
    y = 40 + high + 20
    for i, bar in enumerate(bars):
        parts.append(_bar(bar, i, y))
        y += 64
    for note in notes:
        for line in textwrap.wrap(note, LETTERS):
            y += LINE
            parts.append(_line(line, 20, y))
        y += LINE / 2
    size = f"{WIDTH + 40} {y + LINE:.1f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" '
        f'fill="#0f172a"><title>{_xml(title)}</title><rect width="100%" height="100%" '
        f'fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _line(text: str, x: float, y: float, *, size: int = 15, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{_xml(text)}</text>"
    )


def _bar(bar: Bar, index: int, y: float) -> str:
    last = len(bar.colours) - 1
    stops = "".join(
        f'<stop offset="{i / last:.4f}" stop-color="{colour}"/>'
        for i, colour in enumerate(bar.colours)
    )
    across, left = WIDTH / 2, 20 + WIDTH / 4
    anchors = ["start", *["middle"] * (len(bar.ends) - 2), "end"]
    ends = "".join(
        _line(end, left + across * i / (len(bar.ends) - 1), y + 28, size=13, anchor=anchor)
        for i, (end, anchor) in enumerate(zip(bar.ends, anchors, strict=True))
    )
    return (
        f'<defs><linearGradient id="bar{index}">{stops}</linearGradient></defs>'
        f'<rect x="{left}" y="{y:.1f}" width="{across}" height="12" fill="url(#bar{index})"/>'
        f"{ends}{_line(bar.meaning, left + across / 2, y + 46, size=13, anchor='middle')}"
    )


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


def as_csv(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; a cell that a spreadsheet would take for a formula starts with an apostrophe."""
    return csv_text([headers, *rows] if headers else rows)


def stem_of(analysis: Analysis, target: int, what: str) -> str:
    """A file name without its ending: what it shows, of which picture, classes and seed."""
    picture = blake2b(analysis.pixels.tobytes(), digest_size=3).hexdigest()
    classes = _slug("-".join(analysis.classes), 60)
    looked_at = _slug(analysis.classes[target], 30)
    seed = analysis.settings.seed
    return f"{_slug(what, 40)}_picture-{picture}_{looked_at}_of_{classes}_seed-{seed}"


def _slug(text: str, length: int) -> str:
    """Letters, digits and dashes alone; at most so many."""
    return re.sub(r"[^\w]+", "-", text).strip("-_")[:length].strip("-_") or "unnamed"


def archive(files: Mapping[str, bytes]) -> bytes:
    """Files by name as one ZIP file, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
