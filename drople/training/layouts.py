"""What CoOp's DATASETS.md wants of a data set, and what of it is not there."""

from __future__ import annotations

from pathlib import Path

from drople.training.datasets import AIRCRAFT, AIRCRAFT_FILES, DATASETS
from drople.training.imagenets import IMAGENETS


def missing_parts(data: str, root: Path) -> list[str]:
    """The folders and files of a data set that are not where CoOp has them, one sentence each.

    The pictures themselves are not looked for; `open_task` does.

    Args:
        data: a key of `DATASETS` or `IMAGENETS`.
        root: the folder that holds all data sets.
    """
    if data in IMAGENETS:
        folders, files = [*IMAGENETS[data].parts], []
    elif data == AIRCRAFT:
        folders, files = [f"{AIRCRAFT}/images"], [f"{AIRCRAFT}/{file}" for file in AIRCRAFT_FILES]
    else:
        dataset = DATASETS[data]
        there = [place for place in dataset.images if (root / place).is_dir()]
        folders = (there or [*dataset.images])[:1]
        home = dataset.images[0].partition("/")[0]  # CoOp's
        files = [] if dataset.find_split(root) else [f"{home}/{dataset.split_file}"]
    return [
        *(f"{data}: no folder {root / one}" for one in folders if not (root / one).is_dir()),
        *(f"{data}: no file {root / one}" for one in files if not (root / one).is_file()),
    ]
