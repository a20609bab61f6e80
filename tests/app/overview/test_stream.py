"""The overview comes in steps, each whole, and others compute in between."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoding import decoded
from furnished import FurnishedStudio, save_fresh_prompts, save_tiny_clip
from tiny import NAMES, noise_picture

from app.overview.stream import draws_for, draws_in_turns, overview_of, overview_steps
from drople.analysis import AnalysisSettings
from drople.errors import SettingsError
from drople.models.backbone import load_backbone


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A studio, and what it loaded with and without prompts."""
    folder = tmp_path_factory.mktemp("studio")
    name = save_tiny_clip(folder / "clip")
    prompts = save_fresh_prompts(folder / "p.safetensors", load_backbone(name))
    studio = FurnishedStudio(prompts)
    return studio, studio.load(name, str(prompts)), studio.load(name)


def steps(asked, *, prompts=True, stored=(), **others):
    studio, prompted, frozen = asked
    loaded = prompted if prompts else frozen
    analysis = studio.analyse(loaded, noise_picture(), NAMES, AnalysisSettings())
    overview = overview_of(analysis, loaded.card, **others)
    draws = overview_steps(studio, loaded, overview, stored=stored)
    return [overview.payload(batches) for batches in draws]


def test_the_analysis_comes_first_with_the_draw_it_holds(asked):
    found = steps(asked, count=8)
    assert [step["draws"]["count"] for step in found] == [1, 5, 8]
    assert [seed for one in found[-1]["draws"]["batches"] for seed in one["seeds"]] == [*range(8)]
    assert len({step["id"] for step in found}) == 1
    assert "one draw (seed 0)" in found[0]["sentences"]["answer"]
    assert "Over 8 draws" in found[-1]["sentences"]["answer"]
    # What is known once does not change.
    assert found[0]["importance"] == found[-1]["importance"]
    assert found[0]["draws"]["batches"][0] == found[-1]["draws"]["batches"][0]
    assert found[-1]["learnt"] == [False] * len(NAMES)


def test_without_prompts_the_first_step_has_no_draw(asked):
    found = steps(asked, prompts=False, count=5)
    assert [step["draws"] and step["draws"]["count"] for step in found] == [None, 4, 5]
    assert found[-1]["learnt"] is None
    assert np.isfinite(decoded(found[-1]["maps"]["values"]["iwtd"])).any()


def test_another_pair_is_drawn_from_the_start(asked):
    found = steps(asked, pair=("cls", "inverse"), count=4)
    assert [step["draws"] and step["draws"]["count"] for step in found] == [None, 4]
    with pytest.raises(SettingsError):
        steps(asked, pair=("cls", "cls"), count=4)


def test_draws_made_before_are_not_made_again(asked):
    studio, prompted, _ = asked
    analysis = studio.analyse(prompted, noise_picture(), NAMES, AnalysisSettings())
    stored = [*draws_in_turns(studio, prompted, analysis, stop=8)]
    assert [seed for one in stored for seed in one.seeds] == [*range(8)]
    counts = [step["draws"]["count"] for step in steps(asked, count=10, stored=stored)]
    assert counts == [8, 10]
    other = steps(asked, pair=("cls", "inverse"), count=4, stored=stored)
    assert other[0]["draws"] is None


@pytest.mark.parametrize(("count", "counts"), [(0, [None]), (1, [1])])
def test_no_more_is_drawn_than_asked(asked, count, counts):
    found = steps(asked, count=count)
    assert [step["draws"] and step["draws"]["count"] for step in found] == counts


def test_every_batch_takes_a_turn_of_its_own(asked, monkeypatch):
    studio = asked[0]
    turns = []
    whole = studio.in_turn
    monkeypatch.setattr(studio, "in_turn", lambda work: turns.append(1) or whole(work))
    found = steps(asked, count=9)
    assert len(turns) == len(found)  # two batches and the end


@pytest.mark.parametrize(
    ("shape", "device", "draws"),
    [
        ((12, 768, 14), "cpu", 8),  # ViT-B/16
        ((24, 1024, 16), "cpu", 8),  # ViT-L/14
        ((24, 1024, 16), "cuda", 32),
        ((12, 768, 7), "cpu", 32),  # ViT-B/32
    ],
)
def test_a_large_backbone_on_a_cpu_gets_fewer_draws(shape, device, draws):
    names = ("image_layer_count", "image_width", "grid_size")
    backbone = SimpleNamespace(**dict(zip(names, shape, strict=True)), device=torch.device(device))
    assert draws_for(backbone) == draws


def test_mini_gets_them_all(mini):
    assert draws_for(mini) == 32
