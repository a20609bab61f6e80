"""The logit lens: what each layer would answer, read as the last one is."""

from __future__ import annotations

import numpy as np
import pytest
from analysed import KINDS
from tiny import NAMES, noise_picture
from torch.nn import functional as F

from drople import analyse, describe_classes


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "hidden tokens", "modular prompts"])
def test_the_lens_ends_at_the_prediction_without_dropout(kind):
    analysis = KINDS[kind]()
    branches = [name for name in ("frozen", "adapted") if name in analysis.predictions]
    assert [*analysis.lens] == branches
    for branch in branches:
        cosines = analysis.lens[branch]
        assert cosines.shape == (4, len(analysis.classes))
        np.testing.assert_allclose(cosines[-1], analysis.predictions[branch].cosines, atol=1e-6)


def test_the_lens_reads_every_layer_as_the_last_is_read(backbone):
    texts = describe_classes(backbone, NAMES)
    pixels = backbone.normalise(backbone.pixels(noise_picture())[None])
    records = [*backbone.image_layers(pixels)]
    analysis = analyse(backbone, noise_picture(), texts)
    for depth, record in enumerate(records):
        read = backbone.visual.ln_post(record.tokens[:, 0]) @ backbone.visual.proj
        cosines = F.normalize(read, dim=-1) @ texts.features["frozen"].T
        np.testing.assert_allclose(analysis.lens["frozen"][depth], cosines[0].numpy(), atol=1e-6)
