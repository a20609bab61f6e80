"""Rate curves: what is left of prediction and feature as more tokens are dropped."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, band, plain
from app.lab.display.tables import Table, table_of
from drople.lab.rate_curve import NONE, Point, RateCurves
from drople.statistics.intervals import mean_interval, wilson_interval
from drople.tokens.dropout import COMPARED

BAND_FROM = 8  # draws; fewer say too little for a band
QUANTITIES = {
    "probability": "probability of the class looked at",
    "cosine": "cosine with the class looked at",
    "kept": "cosine with the undropped feature",
    "flipped": "share of draws whose answer flips",
}


def interval_of(point: Point, quantity: str) -> tuple[float, float] | None:
    """95 % over the draws: Wilson's for flips, else the t-interval; None for fewer than two."""
    if quantity != "flipped":
        return bounded(mean_interval(vars(point)[quantity]), quantity)
    return wilson_interval(int(point.flipped.sum()), point.count) if point.count > 1 else None


def bounded(interval: tuple[float, float] | None, quantity: str) -> tuple[float, float] | None:
    """An interval cut at what the quantity can be, since the t-interval knows no bounds."""
    if interval is None:
        return None
    least = 0.0 if quantity in ("probability", "flipped") else -1.0
    return max(interval[0], least), min(interval[1], 1.0)


def difference_figure(curves: RateCurves, quantity: str) -> go.Figure:
    """IWTD minus vanilla dropout over the rates, paired by draw; a band from `BAND_FROM` on."""
    ours, other = curves.of("iwtd"), curves.of("vanilla")
    rows = []
    for rate in sorted(ours.keys() & other.keys()):
        count = min(ours[rate].count, other[rate].count)
        pairs = vars(ours[rate])[quantity][:count] - vars(other[rate])[quantity][:count]
        ends = mean_interval(pairs) if count >= BAND_FROM else None
        rows.append((rate, float(pairs.mean()), *(ends or (np.nan, np.nan)), count))
    rates, means, low, high, counts = np.array(rows).T
    figure, known = go.Figure(), np.isfinite(low)
    if known.any():
        figure.add_scatter(
            **band(rates[known], low[known], high[known]),
            fillcolor=CONDITION_COLOURS["iwtd"], opacity=0.2, showlegend=False,
        )  # fmt: skip
    figure.add_scatter(
        x=rates, y=means, mode="lines+markers", customdata=counts, showlegend=False,
        line={"color": CONDITION_COLOURS["iwtd"], "width": 2.5},
        hovertemplate="rate %{x:.2f}<br>%{y:+.4f}, mean of %{customdata} draws<extra></extra>",
    )  # fmt: skip
    figure.add_hline(0, line_color=CONDITION_COLOURS["vanilla"], line_dash="dash")
    return _on_axes(figure, f"IWTD − vanilla: {QUANTITIES[quantity]}")


def rates_figure(curves: RateCurves, quantity: str) -> go.Figure:
    """A line a dropout over the rates, its band the 95 % interval."""
    figure = go.Figure()
    for name in (NONE, *COMPARED):
        points = curves.of(name)
        colour = CONDITION_COLOURS[name]
        drawn = [(rate, interval_of(p, quantity)) for rate, p in points.items() if rate > 0]
        known = [(rate, *ends) for rate, ends in drawn if ends is not None]
        if known and name != NONE:
            rates, low, high = np.array(known).T
            figure.add_scatter(
                **band(rates, low, high),
                fillcolor=colour, opacity=0.14, legendgroup=name, showlegend=False,
            )  # fmt: skip
        figure.add_scatter(
            x=[*points], y=[vars(p)[quantity].mean() for p in points.values()],
            mode="lines" if name == NONE else "lines+markers",
            name=CONDITION_NAMES[name], legendgroup=name,
            line={"color": colour, "width": 2.5, "dash": "dash" if name == NONE else "solid"},
            customdata=[[p.reached.mean(), p.count] for p in points.values()],
            hovertemplate=(
                f"<b>{CONDITION_NAMES[name]}</b><br>rate %{{x:.2f}}, truly dropped "
                "%{customdata[0]:.3f}<br>%{y:.3f}, mean of %{customdata[1]} draws<extra></extra>"
            ),
        )  # fmt: skip
    return _on_axes(figure, QUANTITIES[quantity])


def _on_axes(figure: go.Figure, title: str) -> go.Figure:
    figure.update_xaxes(title="rate: mean p over the tokens that may be dropped")
    figure.update_yaxes(title=title)
    return plain(figure, height=460, legend=True)


def _mean(values: np.ndarray, interval: tuple[float, float] | None) -> str:
    if not values.size:
        return "–"
    around = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{values.mean():.3f}{around}"


def areas_table(curves: RateCurves) -> Table:
    """The mean of each dropout's curves over the rates."""
    rows = []
    for name in (NONE, *COMPARED):
        row = {"dropout": CONDITION_NAMES[name]}
        for key, meaning in QUANTITIES.items():
            areas = curves.areas(name, key)
            interval = None if name == NONE else bounded(mean_interval(areas), key)
            row[f"area: {meaning}"] = _mean(areas, interval)
        rows.append(row)
    return table_of(rows)


def points_table(curves: RateCurves) -> Table:
    """All points of the curves; at rate 0 and without dropout there is nothing to draw."""
    rows = []
    for name in (NONE, *COMPARED):
        for rate, point in curves.of(name).items():
            if name == NONE and rate > 0:
                continue
            drawn = rate > 0
            rows.append({
                "dropout": CONDITION_NAMES[name],
                "rate asked for": f"{rate:.2f}",
                "tokens truly dropped": f"{point.reached.mean():.3f}",
                "draws": f"{point.count}" if drawn else "–",
                **{meaning: _mean(vars(point)[key], interval_of(point, key) if drawn else None)
                   for key, meaning in QUANTITIES.items()},
            })  # fmt: skip
    return table_of(rows)


def rates_sentence(curves: RateCurves, name: str, draws: int, *, first_seed: int) -> str:
    """How IWTD compares with vanilla dropout over all rates, and how sure that is."""
    if not draws:
        return f"The first draw (seed {first_seed}), for {name}: the rates come one by one."
    many = f"{draws} draws (seeds {first_seed} to {first_seed + draws - 1})"
    said = f"{many if draws > 1 else f'One draw (seed {first_seed})'}, for {name}."
    difference = curves.areas("iwtd", "probability") - curves.areas("vanilla", "probability")
    interval = mean_interval(difference)
    if interval is None:
        return f"{said} One draw says nothing of how often."
    settled = interval[0] > 0 or interval[1] < 0
    return (
        f"{said} Over all rates IWTD gives the class {difference.mean():+.3f} more probability "
        f"than vanilla dropout ({interval[0]:+.3f} to {interval[1]:+.3f}, paired by draw): "
        + ("a difference on this picture." if settled else "these draws do not tell them apart.")
    )
