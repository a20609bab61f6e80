"""A forest plot as the text of an SVG: estimates with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from xml.sax.saxutils import escape

from drople.evaluation.bootstrap import Interval

WIDTH, LABELS, VALUES = 860, 345, 165  # px: the figure; left of the axis; right of it
LINE, HEAD, FOOT = 20, 52, 34  # px: a row; above the rows; below them
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.whole { font-weight: 600 }
.back { fill: #ffffff }
.mark { fill: #0b5cad; stroke: #0b5cad; stroke-width: 2 }
.thin { stroke: #0b5cad }
.grid { stroke: #d1d9e0 }
.zero { stroke: #59636e; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .back { fill: #0d1117 }
  .mark { fill: #6cb6ff; stroke: #6cb6ff }
  .thin { stroke: #6cb6ff }
  .grid { stroke: #3d444d }
  .zero { stroke: #9198a1 }
}
"""


@dataclass(frozen=True)
class ForestRow:
    """One line of the plot; `whole` marks a summary over the lines that follow it."""

    label: str
    interval: Interval
    corrected: Interval  # for the number of comparisons
    whole: bool = False


def axis_of(rows: Sequence[ForestRow]) -> list[int]:
    """Ticks of the axis, evenly spaced whole numbers; they enclose 0 and every interval."""
    low = min([0.0, *(row.corrected.low for row in rows)])
    high = max([0.0, *(row.corrected.high for row in rows)])
    step = next(step for step in (1, 2, 5, 10, 20, 50) if high - low <= 10 * step)
    return [*range(step * floor(low / step), step * max(ceil(high / step), 1) + 1, step)]


def position(value: float, ticks: Sequence[int]) -> float:
    """Where a value lies, in px from the left."""
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return LABELS + share * (WIDTH - LABELS - VALUES)


def forest(rows: Sequence[ForestRow], title: str) -> str:
    """The plot; the axis is in the unit of the intervals, which the title names."""
    ticks = axis_of(rows)
    bottom = HEAD + LINE * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + FOOT}" '
        f'width="{WIDTH}" height="{bottom + FOOT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        '<rect class="back" width="100%" height="100%"/>',
        f'<text class="whole" x="12" y="24">{escape(title)}</text>',
    ]
    for tick in ticks:
        x = position(tick, ticks)
        name, value = ("grid", f"{tick:+d}") if tick else ("zero", "0")
        lines += [
            f'<line class="{name}" x1="{x:.2f}" x2="{x:.2f}" y1="{HEAD - 8}" y2="{bottom}"/>',
            f'<text x="{x:.2f}" y="{bottom + 20}" text-anchor="middle">{value}</text>',
        ]
    for i, row in enumerate(rows):
        lines += _drawn(row, ticks, HEAD + LINE * i + LINE // 2)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(row: ForestRow, ticks: Sequence[int], y: int) -> list[str]:
    one = row.interval
    low, middle, high = (position(v, ticks) for v in (one.low, one.estimate, one.high))
    least, most = (position(v, ticks) for v in (row.corrected.low, row.corrected.high))
    size = 5 if row.whole else 3
    shape = (
        f'<path class="mark" d="M{middle:.2f} {y - size} l{size} {size} l-{size} {size} '
        f'l-{size} -{size} z"/>'
        if row.whole
        else f'<circle class="mark" cx="{middle:.2f}" cy="{y}" r="{size}"/>'
    )
    weight, indent = (' class="whole"', 12) if row.whole else ("", 28)
    return [
        f'<text{weight} x="{indent}" y="{y + 4}">{escape(row.label)}</text>',
        f'<line class="thin" x1="{least:.2f}" x2="{most:.2f}" y1="{y}" y2="{y}"/>',
        f'<line class="mark" x1="{low:.2f}" x2="{high:.2f}" y1="{y}" y2="{y}"/>',
        shape,
        f'<text{weight} x="{WIDTH - 12}" y="{y + 4}" text-anchor="end">{one}</text>',
    ]
