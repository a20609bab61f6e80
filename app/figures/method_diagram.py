"""The method as a diagram: boxes named as in the code, each with its function and its view."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Box:
    """One part of the method."""

    title: str
    formula: str
    row: int
    column: int  # 0: image, 1: both, 2: text
    function: str  # module:name
    section: str  # of the document of the method
    view: str  # where the page shows it: names of tabs, or of a panel, with " / " between
    span: int = 1  # columns
    kind: str = "both"  # decides its colour: frozen, adapted, iwtd, loss, both


BOXES = {
    "photograph": Box("Photograph", "pixels", 0, 0, "drople.images:read_image", "1.2", "Overview"),
    "names": Box("Class names", "“a photo of a {}.”", 0, 2,
                 "drople.class_texts:describe_classes", "1.4", "Text"),
    "image prompts": Box("Image prompts", "P_i, after the patches", 1, 0,
                         "drople.models.prompts:DeepPrompts.image_steps", "1.2",
                         "Overview / Matters", kind="adapted"),
    "plan": Box("Replace or carry", "out: old, in: fresh", 1, 1,
                "drople.tokens.layout:TokenLayout.write_prompts", "8.1", "Lab / Prompts",
                kind="adapted"),
    "text prompts": Box("Text prompts", "P_i, before the name", 1, 2,
                        "drople.models.prompts:DeepPrompts.text_steps", "1.3", "Text",
                        kind="adapted"),
    "layer": Box("Layer i of both towers", "x, A = block_i(x)", 2, 0,
                 "drople.models.attention:run_block", "1.2", "Lab / Attention", span=3,
                 kind="adapted"),
    "importance": Box("Importance", "I = mean of s_self, s_cls, s_cross, each a share", 3, 0,
                      "drople.tokens.importance:score_tokens", "2.2", "Overview / Matters",
                      span=2, kind="iwtd"),
    "bridge": Box("Bridge", "C = softmax(U y)", 3, 2, "drople.tokens.importance:Bridge.read_image",
                  "2.3", "Lab / Choice and sinks", kind="iwtd"),
    "probability": Box("Probability", "p = p_max - Ĩ (p_max - p_min)", 4, 0,
                       "drople.tokens.strategies:ImportanceWeighted.probability", "3.1",
                       "Lab / Choice and sinks", kind="iwtd"),
    "draw": Box("Draw", "dropped where u < p", 4, 1, "drople.tokens.dropout:TokenDropout.draw",
                "3.8", "Overview / Dropped", kind="iwtd"),
    "drop": Box("Drop", "zero, hide or noise", 4, 2, "drople.tokens.dropout:TokenDropout.erase",
                "3.5", "Lab / Modes", kind="iwtd"),
    "frozen image": Box("Frozen image", "Z_v^o", 5, 0, "drople.conditions:Run.frozen", "1.4",
                        "Overview / Says", kind="frozen"),
    "adapted": Box("Adapted branch", "Z_v^d, Z_t^d;  p(y)", 5, 1,
                   "drople.conditions:Run.prediction", "1.1", "Overview / Says", kind="adapted"),
    "frozen text": Box("Frozen text", "Z_t^o", 5, 2,
                       "drople.training.features:frozen_text_features", "1.4", "Text",
                       kind="frozen"),
    "image residual": Box("Image residual", "Z_v^r = (Z_v^d - λZ_v^o) / (1 - λ)", 6, 0,
                          "drople.training.losses:residual", "4.1", "Lab / Residual entropy",
                          kind="loss"),
    "lambda": Box("Lambda", "rises: 0 to 0.083", 6, 1, "drople.training.losses:lambda_at", "4.2",
                  "Lab / Residual entropy", kind="loss"),
    "text residual": Box("Text residual", "Z_t^r = (Z_t^d - λZ_t^o) / (1 - λ)", 6, 2,
                         "drople.training.losses:residual", "4.1", "Lab / Residual entropy",
                         kind="loss"),
    "entropy": Box("Entropy of the residuals, maximised", "H(p(y|Z_v^r)) + H(p(y|Z_t^r))", 7, 0,
                   "drople.training.losses:residual_entropy", "4.1", "Lab / Residual entropy",
                   span=3, kind="loss"),
    "distances": Box("Near the frozen", "L1 and KL", 8, 0, "drople.training.losses:l1_consistency",
                     "5.1", "Lab / Residual entropy", kind="loss"),
    "answer": Box("Right answer", "cross entropy", 8, 1,
                  "drople.training.objective:BatchFeatures.terms", "5.1", "Trained with",
                  kind="loss"),
    "alignment": Box("Alignment", "(1 - cos(F_v, F_t)) / 2", 8, 2,
                     "drople.training.losses:alignment", "2.3", "Lab / Residual entropy",
                     kind="loss"),
    "objective": Box("Objective", "L, their weighted sum", 9, 0,
                     "drople.training.objective:Objective.terms", "5.1", "Lab / Residual entropy",
                     span=3, kind="loss"),
}  # fmt: skip
ARROWS = (
    ("photograph", "image prompts"), ("names", "text prompts"), ("image prompts", "layer"),
    ("plan", "layer"), ("text prompts", "layer"), ("layer", "importance"), ("layer", "bridge"),
    ("bridge", "importance"), ("importance", "probability"), ("probability", "draw"),
    ("draw", "drop"), ("draw", "adapted"), ("frozen image", "image residual"),
    ("adapted", "image residual"), ("adapted", "text residual"), ("frozen text", "text residual"),
    ("image residual", "entropy"), ("text residual", "entropy"),
    ("lambda", "image residual"), ("lambda", "text residual"), ("answer", "objective"),
)  # fmt: skip
FRAMES = (  # first row, last row, what the boxes in it have in common
    (1, 4, "the adapted branch, layer by layer; it drops while training only"),
    (7, 8, "terms of the loss"),
)


@dataclass(frozen=True)
class Layout:
    """How large things are, in pixels; and where they lie, as SVG."""

    width: int  # of all
    pitch: int  # of a row
    height: int  # of a box in it
    gap: int  # between columns
    edge: int  # left and right of all
    details: bool  # formulas and functions too; without, titles alone

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """Left, top, width and height of a box."""
        column = (self.width - 2 * self.edge - 2 * self.gap) / 3
        left = self.edge + box.column * (column + self.gap)
        wide = box.span * column + (box.span - 1) * self.gap
        return left, box.row * self.pitch + (self.pitch - self.height) / 2, wide, self.height

    def box(self, box: Box) -> str:
        """A box: its title, formula and function; what it opens is told to whoever listens."""
        x, y, wide, high = self.place(box)
        name = box.function.partition(":")[2]
        lines = {"title": escape(box.title)}
        if self.details:
            lines |= {"formula": mathematics(box.formula), "function": escape(name)}
        first = 19 if self.details else 20
        texts = "".join(
            f'<text x="{x + wide / 2:g}" y="{y + first + 16 * i:g}" class="{kind}">{line}</text>'
            for i, (kind, line) in enumerate(lines.items())
        )
        tip = escape(f"{box.function.replace(':', '.')}, section {box.section} of the method")
        return (
            f'<a href="#" class="{box.kind}" data-view="{escape(box.view)}" '
            f'aria-label="{escape(box.title)}: open {escape(box.view)}"><title>{tip}</title>'
            f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="7"/>{texts}</a>'
        )

    def frame(self, first: int, last: int, says: str) -> str:
        """A line around rows, with what it says at its top, between the arrows."""
        top, left = first * self.pitch - 6, self.edge - 12
        high, wide = (last - first + 1) * self.pitch + 9, self.width - 2 * left
        words = f'<text x="{self.width / 2:g}" y="{top + 12}" class="frame">{escape(says)}</text>'
        return (
            f'<rect class="frame" x="{left}" y="{top}" width="{wide}" height="{high}" rx="10"/>'
            f"{words if self.details else ''}"
        )

    def arrow(self, start: Box, end: Box) -> str:
        """From a box to one beside it, or to one below."""
        x, y, wide, high = self.place(start)
        other, below, breadth, _ = self.place(end)
        if start.row == end.row:
            level = y + high / 2
            a, b = (x + wide, other) if other > x else (x, other + breadth)
            return f'<path d="M{a:g} {level:g} H{b:g}"/>'
        left, right = max(x, other), min(x + wide, other + breadth)
        if left < right:
            return f'<path d="M{(left + right) / 2:g} {y + high:g} V{below:g}"/>'
        a = x + wide * (0.3 if other < x else 0.7)
        b = other + breadth * (0.8 if other < x else 0.2)
        return f'<path d="M{a:g} {y + high:g} L{b:g} {below:g}"/>'

    def around(self) -> str:
        """From a drop back to the next layer; inputs to the frozen branch, past the adapted one."""
        x, y, wide, high = self.place(BOXES["drop"])
        _, top, _, tall = self.place(BOXES["layer"])
        back = f"M{x + wide:g} {y + high / 2:g} h6 V{top + tall / 2:g} h-6"
        paths = [back]
        for name, to, side in (("photograph", "frozen image", 0), ("names", "frozen text", 1)):
            x, y, wide, high = self.place(BOXES[name])
            _, below, _, tall = self.place(BOXES[to])
            a, out = (x, 4) if side == 0 else (x + wide, self.width - 4)
            paths.append(f"M{a:g} {y + high / 2:g} H{out:g} V{below + tall / 2:g} H{a:g}")
        return "".join(f'<path d="{one}"/>' for one in paths)


WIDE = Layout(width=700, pitch=80, height=58, gap=14, edge=26, details=True)
NARROW = Layout(width=336, pitch=52, height=32, gap=8, edge=20, details=False)


def diagram(layout: Layout) -> str:
    """The diagram as SVG; its colours are the page's style's."""
    frames = "".join(layout.frame(*one) for one in FRAMES)
    arrows = "".join(layout.arrow(BOXES[a], BOXES[b]) for a, b in ARROWS)
    boxes = "".join(layout.box(one) for one in BOXES.values())
    width, height = layout.width, layout.pitch * (1 + max(one.row for one in BOXES.values()))
    size = "wide" if layout.details else "narrow"
    return (
        f'<svg class="lens-diagram {size}" viewBox="0 0 {width} {height}" width="{width}" '
        f'role="group" aria-label="The method as a diagram; each box opens its view">'
        f'<defs><marker id="lens-head-{size}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        f'{frames}<g class="arrows" marker-end="url(#lens-head-{size})">{arrows}{layout.around()}'
        f"</g>{boxes}</svg>"
    )


def mathematics(formula: str) -> str:
    """A formula as SVG text: what follows _ is set lower, what follows ^ higher."""

    def shifted(found: re.Match[str]) -> str:
        down = found[1] == "_"
        there, back = (3, -3) if down else (-5, 5)
        return (
            f'<tspan dy="{there}" class="small">{found[2]}</tspan><tspan dy="{back}">\u200b</tspan>'
        )

    text = escape(formula).replace(" - ", " − ")
    return re.sub(r"([_^])(max|min|self|cls|cross|[a-z])", shifted, text)
