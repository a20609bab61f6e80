"""Residual entropy in words and numbers: how undecided each is, and which way the loss pulls."""

from __future__ import annotations

import math

import numpy as np

from drople.lab.residual import STEP, WEIGHTS, Reading, Residual

HEADERS = ("class", "frozen", "adapted, under IWTD", "residual", "after the step")
TERM_HEADERS = ("term of the objective", "read from", "value", "weight", "adds to the loss")
# term -> what it is, where it is known from, its weight
TERMS = {
    "cross_entropy": ("cross entropy, the class looked at as the label", "code", 1.0),
    "text_l1": ("mean |Z_t^d - Z_t^o|", "code", WEIGHTS.text_l1),
    "image_l1": ("mean |Z_v^d - Z_v^o|", "code", WEIGHTS.image_l1),
    "distillation": ("KL(frozen || adapted) / K", "code", WEIGHTS.distillation),
    "entropy_image": ("H(p(y|Z_v^r)), to be raised", "paper, code", -WEIGHTS.residual_entropy),
    "entropy_text": ("H(p(y|Z_t^r)), to be raised", "paper, code", -WEIGHTS.residual_entropy),
    "alignment": ("alignment of the bridge", "code", WEIGHTS.alignment),
}


def probability_rows(
    reading: Reading, residual: Residual, classes: tuple[str, ...], *, shown: list[int]
) -> list[list[str]]:
    """The rows under `HEADERS`: classes, and the entropies."""
    columns = (reading.frozen, reading.adapted, residual.probabilities, residual.stepped)
    rows = [[classes[i], *(f"{p[i]:.3f}" for p in columns)] for i in shown]
    entropies = (
        reading.frozen_entropy, reading.adapted_entropy, residual.entropy, residual.stepped_entropy,
    )  # fmt: skip
    return [*rows, ["H, nats", *(f"{one:.3f}" for one in entropies)]]


def term_rows(reading: Reading) -> list[list[str]]:
    """The rows under `TERM_HEADERS`; the last is the loss, their sum."""
    rows = [
        [what, source, f"{reading.terms[name]:.4f}", f"{weight:+g}",
         f"{weight * reading.terms[name]:+.4f}"]
        for name, (what, source, weight) in TERMS.items()
        if name in reading.terms
    ]  # fmt: skip
    return [*rows, ["loss", "code", "", "", f"{reading.terms['total']:+.4f}"]]


def residual_sentence(
    reading: Reading, residual: Residual, classes: tuple[str, ...], *, drawn: str
) -> str:
    """How undecided branches and residual are, where the term pulls, and how hard.

    Args:
        drawn: which dropout acted, and in which draw.
    """
    most = f"of at most {math.log(len(classes)):.2f}"
    said = (
        f"Lambda {reading.lam:.3f}. {drawn} H is {reading.frozen_entropy:.2f} nats for the frozen "
        f"branch, {reading.adapted_entropy:.2f} for the adapted one and {residual.entropy:.2f} for "
        f"the residual, {most}. "
    )
    change = residual.stepped - residual.probabilities
    down, up = int(np.argmin(change)), int(np.argmax(change))
    if change[up] < 5e-4:
        return f"{said}There is next to nothing to pull: a step of {STEP:g} changes no probability."
    share = residual.pull / residual.cross_entropy_pull if residual.cross_entropy_pull else math.inf
    than = (
        f"{share:.2g} times that of the cross entropy"
        if math.isfinite(share)
        else "all there is, as the cross entropy has none"
    )
    return (
        f"{said}The loss raises the residual's H: a step of {STEP:g} that way takes "
        f"{classes[down]} from {residual.probabilities[down]:.2f} to {residual.stepped[down]:.2f}, "
        f"gives most to {classes[up]} ({change[up]:+.3f}), and H becomes "
        f"{residual.stepped_entropy:.2f}. Its gradient, weighted, is {than}."
    )
