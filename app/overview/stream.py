"""The overview as it comes: the analysis at once, then draws, one turn a batch."""

from __future__ import annotations

from collections.abc import Iterator

from app.overview.payload import DRAWS, MAP_DRAWS, PAIR, Overview
from app.studio import Loaded, Studio
from drople.analysis import Analysis
from drople.paired_draws import DrawBatch, first_draw, run_paired
from drople.storage.prompts import PromptCard
from drople.storage.verdicts import read_verdicts


def overview_of(
    analysis: Analysis,
    card: PromptCard | None,
    *,
    pair: tuple[str, str] = PAIR,
    count: int = DRAWS,
) -> Overview:
    """What the page shows of an analysis.

    Args:
        card: of the prompts it was made with.
        pair: keys of STRATEGIES.
        count: draws that will come.
    """
    return Overview(
        analysis,
        pair=pair,
        wanted=count,
        learnt=(card.classes or None) if card else None,
        measured=read_verdicts(str(analysis.provenance["backbone_hash"])),
    )


def overview_steps(
    studio: Studio, loaded: Loaded, overview: Overview
) -> Iterator[tuple[DrawBatch, ...]]:
    """The draws so far: the one that the analysis holds, then after each batch, up to `wanted`.

    Other visitors compute between two batches.

    Raises:
        SettingsError: the two dropouts are the same, or one is none.
        ClassListError: see `Studio.texts`.
    """
    analysis, pair, count = overview.analysis, overview.pair, overview.wanted
    own = first_draw(analysis, pair) if count else None
    batches = () if own is None else (own,)
    yield batches
    settings, done = analysis.settings, len(batches)
    if done >= count:
        return
    draws = run_paired(
        loaded.model,
        analysis.pixels,
        studio.texts(loaded, analysis.classes, settings.template),
        settings,
        pair=pair,
        seeds=range(settings.seed + done, settings.seed + count),
        map_classes=analysis.maps.classes,
        maps_for=MAP_DRAWS - done,
    )
    while batch := studio.in_turn(lambda: next(draws, None)):
        batches = (*batches, batch)
        yield batches
