"""Robustness: picture, map, answer and drops, clean beside corrupted and attacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.cams import cam_scale
from app.figures.names import spearman_text
from app.figures.patches import dropped_panel, enlarge, overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Picture, Scale, plain
from app.lab.display.tables import Table, table_of
from drople.analysis import Analysis, ClassMaps
from drople.branches import ADAPTED, FROZEN
from drople.lab.patch_maps import target_map
from drople.lab.robustness import Version, drop_likeness, map_likeness

PROBABILITY = Scale(0, 1, "probability of the class looked at; ✗ where the answer is another")


def kind_name(kind: str) -> str:
    """A corruption as one reads it."""
    return kind.replace("_", " ")


def drops_of(analysis: Analysis, condition: str) -> str | None:
    """Whose drops stand under a condition's map: its own, else IWTD's; None where nothing drops."""
    if condition not in (FROZEN, ADAPTED) and condition in analysis.images:
        return condition
    return "iwtd" if "iwtd" in analysis.images else None


def strip_sheet(found: Sequence[Version], condition: str, layer: int, *, target: int) -> Picture:
    """A column a version: the picture, the map on one scale, the drops after a layer; RGBA."""
    known = found[0].analysis.maps
    maps = {one.name: target_map(one.analysis, condition, target) for one in found}
    values = {name: map_[None] for name, map_ in maps.items() if map_ is not None}
    scale = cam_scale(ClassMaps(known.method, known.layer, (target,), values, {}), 0)
    columns = []
    for one in found:
        analysis = one.analysis
        gone = analysis.maps.unavailable[condition]
        map_panel = overlay(analysis.pixels, values[one.name][0], scale, marked=gone)
        pictures = [enlarge(analysis.pixels), map_panel]
        dropping = drops_of(analysis, condition)
        if dropping is not None:
            pictures.append(dropped_panel(analysis, dropping, layer))
        columns.append((condition, one.name, pictures))
    return Picture(sheet_of(columns), (scale,))


def kinds_figure(found: Mapping[str, np.ndarray]) -> go.Figure:
    """Corruptions down, severities across; the colour is the probability, a cross a changed answer.

    Args:
        found: corruption -> (6, 2), see `run_kinds`.
    """
    names = [kind_name(kind) for kind in found]
    z = np.stack([rows[:, 0] for rows in found.values()])
    stays = np.stack([rows[:, 1] for rows in found.values()]) > 0
    figure = go.Figure()
    figure.add_heatmap(
        z=z, x=list(range(6)), y=names, zmin=0, zmax=1, colorscale=PROBABILITY.plotly(),
        showscale=False, xgap=2, ygap=2,
        hovertemplate="%{y}, severity %{x}: %{z:.3f}<extra></extra>",
    )  # fmt: skip
    rows, columns = np.nonzero(~stays)
    figure.add_scatter(
        x=columns, y=[names[i] for i in rows], mode="markers", hoverinfo="skip",
        marker={"symbol": "x", "size": 11, "color": "white",
                "line": {"width": 1.5, "color": "#0f172a"}},
    )  # fmt: skip
    figure.update_xaxes(title="severity", tickvals=list(range(6)))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return plain(figure, height=110 + 28 * len(names))


def strip_table(found: Sequence[Version], condition: str, layer: int, *, target: int) -> Table:
    """What each version gives the class looked at, and how like the clean picture it is."""
    clean, names = found[0].analysis, CONDITION_NAMES
    dropping = drops_of(clean, condition)
    rows = []
    for one in found:
        row = {"picture": one.name}
        for name in clean.conditions:
            p = one.analysis.predictions[name].probabilities[target]
            row[f"{names[name]}: class looked at"] = f"{p:.3f}"
        row[f"answer ({names[clean.branch]})"] = clean.classes[one.analysis.answer]
        alike = map_likeness(clean, one.analysis, condition=condition, target=target)
        row[f"map of {names[condition]}: Spearman with clean"] = spearman_text(alike)
        if dropping:
            drops = drop_likeness(clean, one.analysis, condition=dropping, layer=layer)
            row[f"drops of {names[dropping]}: overlap with clean (by chance)"] = (
                "–" if drops is None else f"{drops.jaccard:.2f} ({drops.by_chance:.2f})"
            )
        rows.append(row)
    return table_of(rows)


def strip_sentence(found: Sequence[Version], kind: str, condition: str, *, target: int) -> str:
    """Where the answer changes, and where the map is least like the clean one."""
    clean = found[0].analysis
    plain_answer = clean.classes[clean.answer]
    said = f"{kind_name(kind)}, one draw of what is random (seed {clean.settings.seed}). "
    flips = [
        f"{clean.classes[one.analysis.answer]} at {one.name}"
        for one in found[1:]
        if one.analysis.answer != clean.answer
    ]
    branch = CONDITION_NAMES[clean.branch]
    if len(found) == 1:
        return said + f"Clean, the {branch} branch answers {plain_answer}."
    said += f"The {branch} branch answers {plain_answer} on the clean picture"
    said += f", and {', '.join(flips)}." if flips else ", and on all others so far."
    alike = [
        (map_likeness(clean, one.analysis, condition=condition, target=target), one.name)
        for one in found[1:]
    ]
    known = [(value, name) for value, name in alike if value is not None]
    if known:
        value, name = min(known, key=lambda one: one[0])
        said += (
            f" The map of {CONDITION_NAMES[condition]} is least like the clean one at {name} "
            f"(Spearman {value:.2f})."
        )
    return said


def kinds_table(found: Mapping[str, np.ndarray]) -> Table:
    """The probabilities of the class looked at; ✗ where the answer is not the clean one."""
    return table_of([
        {
            "corruption": kind_name(kind),
            **{f"severity {n}": f"{p:.3f}{'' if stays else ' ✗'}"
               for n, (p, stays) in enumerate(rows)},
        }
        for kind, rows in found.items()
    ])  # fmt: skip


def kinds_sentence(found: Mapping[str, np.ndarray]) -> str:
    """How many of the corrupted pictures keep the answer, and which kind costs most."""
    stays = np.stack([rows[1:, 1] for rows in found.values()]) > 0
    fall = {kind: rows[0, 0] - rows[1:, 0].mean() for kind, rows in found.items()}
    worst = max(fall, key=lambda kind: fall[kind])
    return (
        f"{int(stays.sum())} of {stays.size} corrupted pictures keep the clean answer; the class "
        f"looked at loses most under {kind_name(worst)}, {fall[worst]:.2f} on average over the "
        "severities."
    )
