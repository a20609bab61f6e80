"""The overview as it comes: the analysis at once, then draws, one turn a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.overview.payload import DRAWS, MAP_DRAWS, PAIR, Overview
from app.studio import Loaded, Studio
from drople.analysis import Analysis
from drople.models.backbone import Backbone
from drople.paired_draws import DrawBatch, first_draw, run_paired
from drople.storage.prompts import PromptCard
from drople.storage.verdicts import read_verdicts

FEW = 8  # draws of a large backbone on a CPU
LARGE = 10e9  # multiply-adds of the layers for one picture: ViT-B/16 has 17e9, ViT-B/32 4e9


def draws_for(backbone: Backbone) -> int:
    """How many draws of each dropout come within a minute or so."""
    tokens, width = 1 + backbone.grid_size**2, backbone.image_width
    cost = backbone.image_layer_count * 12 * width**2 * tokens
    return FEW if backbone.device.type == "cpu" and cost > LARGE else DRAWS


def overview_of(
    analysis: Analysis, card: PromptCard | None, *, pair: tuple[str, str] = PAIR, count: int = DRAWS
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
    studio: Studio, loaded: Loaded, overview: Overview, *, stored: Sequence[DrawBatch] = ()
) -> Iterator[tuple[DrawBatch, ...]]:
    """The draws so far: those there are, then after each batch, up to `overview.wanted`.

    Other visitors compute between two batches.

    Args:
        stored: draws made before, of this very analysis; those of another pair are not taken.

    Raises:
        SettingsError: the two dropouts are the same, or one is none.
        ClassListError: see `Studio.texts`.
    """
    analysis, pair = overview.analysis, overview.pair
    batches = tuple(batch for batch in stored if batch.pair == pair)
    own = first_draw(analysis, pair)
    if not batches and own is not None and overview.wanted > 0:
        batches = (own,)
    yield batches
    done = sum(len(batch.seeds) for batch in batches)
    for batch in draws_in_turns(
        studio, loaded, analysis, pair=pair, start=done, stop=overview.wanted
    ):
        batches = (*batches, batch)
        yield batches


def draws_in_turns(
    studio: Studio,
    loaded: Loaded,
    analysis: Analysis,
    *,
    pair: tuple[str, str] = PAIR,
    start: int = 0,
    stop: int = DRAWS,
) -> Iterator[DrawBatch]:
    """Draws `start` to `stop`, counted from the analysis's own, which is 0; one turn a batch.

    Raises:
        SettingsError, ClassListError: see `overview_steps`.
    """
    settings = analysis.settings
    draws = run_paired(
        loaded.model,
        analysis.pixels,
        studio.texts(loaded, analysis.classes, settings.template),
        settings=settings,
        pair=pair,
        seeds=range(settings.seed + start, settings.seed + stop),
        map_classes=analysis.maps.classes,
        maps_for=max(MAP_DRAWS - start, 0),
    )
    while batch := studio.in_turn(lambda: next(draws, None)):
        yield batch
