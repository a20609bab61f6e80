"""One token's sums, a row a layer, and how often it is dropped."""

from __future__ import annotations

import numpy as np

from drople.lab.token_card import SignalPart, TokenStep, hidden_since

HEADERS = (
    "layer", "signals: raw / total = share", "blend I", "level of I (0 least, 1 most)",
    "p", "draw u", "verdict",
)  # fmt: skip


def card_rows(steps: list[TokenStep], p_min: float, p_max: float, minmax: bool) -> list[list[str]]:
    """The rows under `HEADERS`, a layer each."""
    since = hidden_since(steps)
    return [_row(step, p_min, p_max, minmax, since) for step in steps]


def _row(step: TokenStep, p_min: float, p_max: float, minmax: bool, since: int | None) -> list[str]:
    if not step.scored:
        return [f"{step.depth + 1}", "no importance: the tower is read here", *[""] * 5]
    signals = "\n".join(_signal(part) for part in step.parts)
    blend = " + ".join(f"{p.weight:.3g}·{_digits(p.share)}" for p in step.parts)
    level = "–" if step.level is None else f"{step.level:.4f}"
    if minmax and step.level is not None:
        low, high = _digits(step.low), _digits(step.high)
        level = f"({_digits(step.blend)} − {low}) / ({high} − {low}) = {level}"
    p = "no dropout here"
    if step.p is not None:
        p = f"{p_max:g} − {step.level or 0:.4f} · {p_max - p_min:g} = {step.p:.4f}"
    elif not step.eligible:
        p = "not drawn here"
    u = "" if step.u is None else f"{step.u:.4f}"
    verdict = {True: "u < p: dropped", False: "u ≥ p: kept", None: "kept"}[step.dropped]
    if since is not None and step.depth > since:
        p, verdict = "not drawn: hidden", f"hidden since layer {since + 1}"
    return [f"{step.depth + 1}", signals, f"{blend} = {_digits(step.blend)}", level, p, u, verdict]


def _signal(part: SignalPart) -> str:
    return f"{part.name}: {_digits(part.raw)} / {_digits(part.total)} = {_digits(part.share)}"


def _digits(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def card_sentence(name: str, steps: list[TokenStep], seed: int, *, text: bool) -> str:
    """How often a token is dropped, in words."""
    drawn = [step for step in steps if step.dropped is not None]
    gone = [f"{step.depth + 1}" for step in drawn if step.dropped]
    if not drawn:
        return f"{name} may not be dropped in any layer; its importance is shown all the same."
    draw = f"One draw (seed {seed})"
    would = "would be dropped" if text else "is dropped"
    layers = f"after layer {', '.join(gone)}" if gone else "after no layer"
    said = f"{draw}: {name} {would} {layers}, of {len(drawn)} that draw."
    if hidden_since(steps) is not None:
        said = f"{draw}: {name} {would} {layers}, and stays hidden."
    mean = np.mean([step.p for step in drawn if step.p is not None])
    return said + f" Its p is {mean:.2f} on average."
