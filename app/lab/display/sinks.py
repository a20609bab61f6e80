"""Sinks: norm and received attention per layer with the outliers framed, and p without them."""

from __future__ import annotations

import numpy as np

from app.figures.patches import outline, overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Picture, Scale
from app.lab.display.tables import Table, table_of, table_under
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.sinks import LayerSinks, SinkEffect, far_out

Found = dict[str, list[LayerSinks]]  # branch -> layers


def sinks_sheet(analysis: Analysis, found: Found, layer: int) -> Picture:
    """A column a branch: norms above, received attention below, outliers framed; RGBA."""
    shown = {branch: layers[layer] for branch, layers in found.items()}
    norms = np.concatenate([one.norms[one.content] for one in shown.values()])
    received = np.concatenate([one.received[one.content] for one in shown.values()])
    norm_scale = Scale(float(norms.min()), float(norms.max()), "above: norm entering the layer")
    attention_scale = Scale(
        0, float(np.quantile(received, 0.98)),
        "below: attention received, in multiples of an even share", clipped=True,
    )  # fmt: skip
    columns = []
    for branch, one in shown.items():
        pictures = [
            outline(overlay(analysis.pixels, one.patches(values), scale), one.patches(marked))
            for values, scale, marked in (
                (one.norms, norm_scale, one.high_norm),
                (one.received, attention_scale, one.high_attention),
            )
        ]
        columns.append((branch, CONDITION_NAMES[branch], pictures))
    return Picture(sheet_of(columns), (norm_scale, attention_scale))


def p_sheet(before: Analysis, after: Analysis, layer: int) -> Picture | None:
    """IWTD's p on the undropped tokens before and after, far-out importance framed; RGBA.

    None where no dropout acts after this layer.
    """
    dropout = before.settings.dropout
    scale = Scale(dropout.p_min, dropout.p_max, "IWTD’s probability of being dropped (p)")
    columns = []
    for title, one in (("all on the scale", before), ("without sinks", after)):
        trace = one.images[ADAPTED].layers[layer]
        if trace.probability is None:
            return None
        aside = far_out(trace.blend[0], trace.content[0])
        panel = overlay(before.pixels, trace.patches(trace.probability), scale)
        columns.append(("iwtd", title, [outline(panel, trace.patches(aside[None]))]))
    return Picture(sheet_of(columns), (scale,))


EFFECT_HEADERS = (
    "layer", "set aside", "mean p, undropped: before", "after", "sd of p: before", "after",
    "dropped: before", "after",
)  # fmt: skip


def sinks_table(found: Found) -> Table:
    """The sinks of each layer and branch."""
    return table_of([
        {
            "layer": f"{one.depth + 1}",
            "branch": CONDITION_NAMES[branch],
            "norm: median": f"{np.median(one.norms[one.content]):.2f}",
            "norm: largest": f"{one.norms[one.content].max():.2f}",
            "high norm": f"{one.high_norm.sum()}",
            "attention: largest": f"{one.received[one.content].max():.2f}",
            "high attention": f"{one.high_attention.sum()}",
            "both": f"{(one.high_norm & one.high_attention).sum()}",
            "attention they get": f"{100 * one.share:.1f} %",
        }
        for layers in zip(*found.values(), strict=True)
        for branch, one in zip(found, layers, strict=True)
    ])  # fmt: skip


def sinks_sentence(found: Found, layer: int) -> str:
    """How many sinks this layer has, and which learned prompts are among them."""
    parts = []
    for branch, layers in found.items():
        one = layers[layer]
        both = (one.high_norm & one.high_attention).sum()
        part = (
            f"{CONDITION_NAMES[branch]}: {one.high_norm.sum()} of {one.content.sum()} tokens have "
            f"a far-out norm, {one.high_attention.sum()} get far-out attention "
            f"({100 * one.share:.0f} % of it all), {both or 'none'} of them "
            f"{'have' if both > 1 else 'has'} both"
        )
        start, stop = one.prompts
        names = [f"P{i - start + 1}" for i in range(start, stop) if one.high_attention[i]]
        parts.append(
            part + (f"; among the latter learned prompts {', '.join(names)}" if names else "")
        )
    return f"Layer {layer + 1}. {'; '.join(parts)}."


def effects_table(effects: list[SinkEffect]) -> Table:
    """What setting the sinks aside changes in each layer."""
    rows = [
        [f"{one.depth + 1}", f"{one.set_aside}",
         *(f"{p:.3f}" for p in (*one.mean_p, *one.sd_p)), *(f"{count}" for count in one.dropped)]
        for one in effects
    ]  # fmt: skip
    return table_under(EFFECT_HEADERS, rows)


def effect_sentence(before: Analysis, after: Analysis, target: int) -> str:
    """What setting the sinks aside changes in the answer of this one draw."""
    said = [one.predictions["iwtd"] for one in (before, after)]
    answers = [
        one.classes[int(p.cosines.argmax())] for one, p in zip((before, after), said, strict=True)
    ]
    change = "stays" if answers[0] == answers[1] else "changes from " + answers[0] + " to"
    return (
        f"One draw (seed {before.settings.seed}): with IWTD, {before.classes[target]} goes from "
        f"{said[0].probabilities[target]:.3f} to {said[1].probabilities[target]:.3f}; the answer "
        f"{change} {answers[1]}. Set aside are tokens whose importance is far out; they keep "
        "p_min and stay in the network, but no longer set the scale of p. The mean p changes with "
        "it (see the table), so part of any change is that more or fewer tokens are dropped."
    )
