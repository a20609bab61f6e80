"""What several tests share: one tiny backbone, one prompted model, and the trained `mini`."""

from __future__ import annotations

import gc

import pytest
import torch
from furnished import FurnishedStudio, save_fresh_prompts, save_tiny_clip
from reports import costed, finished, report  # noqa: F401  # fixtures
from tiny import noise_picture, noise_pixels, prompted, tiny_clip, wrap

from drople.models.backbone import load_backbone

# The models are so small that sharing them out over threads takes longer than running them.
torch.set_num_threads(1)


def pytest_collection_finish():
    """What is imported stays: collecting garbage need not look through it every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def backbone():
    """A tiny random CLIP: 4 layers, 4 heads, a grid of 4 x 4 patches."""
    return wrap(tiny_clip())


@pytest.fixture(scope="session")
def model(backbone):
    """DroPLe's own prompts and bridge on the tiny backbone; nobody changes it."""
    return prompted(backbone)


@pytest.fixture(scope="session")
def mini():
    """The trained backbone that travels with the project."""
    return load_backbone("mini")


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """A studio with fresh prompts for a tiny model, and the two names it knows them by."""
    folder = tmp_path_factory.mktemp("furnished")
    backbone = save_tiny_clip(folder / "clip")
    studio = FurnishedStudio(folder / "fresh.safetensors")
    save_fresh_prompts(studio.files[0], studio.load(backbone).model)
    return studio, backbone, str(studio.files[0])


@pytest.fixture
def pixels():
    """Three images (3, 3, 32, 32), normalised."""
    return noise_pixels()


@pytest.fixture
def picture():
    """A picture of noise, 40 x 36."""
    return noise_picture()


@pytest.fixture
def generator():
    """A seeded generator of random numbers."""
    return torch.Generator().manual_seed(0)
