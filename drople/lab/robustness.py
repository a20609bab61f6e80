"""One picture clean, corrupted ever more, and attacked: what becomes of answer, map and drops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from drople.analysis import Analysis, analyse
from drople.class_texts import ClassTexts
from drople.lab.branch import Branch
from drople.lab.patch_maps import target_map
from drople.measures import Agreement, agreement
from drople.perturb.attack import EPSILONS
from drople.perturb.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from drople.statistics.correlation import spearman

CLEAN = "clean"


@dataclass(frozen=True)
class Version:
    """The picture in one state."""

    name: str  # CLEAN, "severity 1" to "severity 5", "PGD 1/255", ...
    analysis: Analysis


def corrupted_picture(pixels: np.ndarray, kind: str, severity: int, *, seed: int) -> np.ndarray:
    """A picture (S, S, 3) uint8; every severity has the same random stream. 0 changes nothing."""
    return corrupt(pixels, kind, severity, rng=np.random.default_rng(seed))


def run_versions(
    branch: Branch, clean: Analysis, texts: ClassTexts, *, target: int, kind: str
) -> Iterator[Version]:
    """Yields the clean picture, every severity of a corruption, then the attacks.

    The attack leads the branch that answers away from its own clean answer.

    Args:
        clean: must hold a map of the class `target`.
        kind: a key of CORRUPTIONS.
    """
    settings = replace(clean.settings, target=clean.classes[target])
    answer = clean.answer

    def version(name: str, pixels: np.ndarray) -> Version:
        return Version(name, analyse(branch.model, Image.fromarray(pixels), texts, settings))

    yield Version(CLEAN, clean)
    for severity in SEVERITIES:
        pixels = corrupted_picture(clean.pixels, kind, severity, seed=clean.settings.seed)
        yield version(f"severity {severity}", pixels)
    for name, epsilon in EPSILONS.items():
        yield version(f"PGD {name}", branch.attacked(clean.pixels, answer, epsilon))


VERSIONS = 1 + len(SEVERITIES) + len(EPSILONS)


def map_likeness(clean: Analysis, other: Analysis, *, condition: str, target: int) -> float | None:
    """Spearman over the patches of a condition's two maps; None where one is flat or missing."""
    maps = [target_map(one, condition, target) for one in (clean, other)]
    if maps[0] is None or maps[1] is None:
        return None
    gone = clean.maps.unavailable[condition] | other.maps.unavailable[condition]
    return spearman(maps[0][~gone], maps[1][~gone]) if (~gone).any() else None


def drop_likeness(
    clean: Analysis, other: Analysis, *, condition: str, layer: int
) -> Agreement | None:
    """How alike the dropped sets are, under the same u; None where nothing drops."""
    if condition not in clean.images:
        return None
    a, b = (one.images[condition].layers[layer] for one in (clean, other))
    return None if a.dropped is None or b.dropped is None else agreement(a, b)


def run_kinds(branch: Branch, clean: Analysis, target: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each corruption with what the branch says: probability and top-1 (6, 2).

    Rows are the severities 0 to 5; the second column is 1 where the clean answer stays.
    """
    answer = clean.answer
    for kind in CORRUPTIONS:
        pictures = [
            corrupted_picture(clean.pixels, kind, severity, seed=clean.settings.seed)
            for severity in (0, *SEVERITIES)
        ]
        answers = branch.answers(np.stack(pictures))
        stays = answers.probabilities.argmax(axis=1) == answer
        yield kind, np.stack([answers.probabilities[:, target], stays], axis=1)
