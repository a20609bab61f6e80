"""The direct path: its parts sum to the difference, and each is what it claims to be."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from analysed import analysed, ask, tiny
from computed import asked, silent
from tiny import NAMES, noise_picture, prompted, tiny_clip, wrap
from torch.nn import functional as F

from app.lab import direct_path as tab
from app.lab.display.direct_path import (
    layers_figure,
    map_panel,
    parts_sentence,
    parts_table,
    patch_map,
)
from app.studio import Loaded
from drople.class_texts import describe_classes
from drople.lab.branch import run_branches
from drople.lab.direct_path import direct_path, explain_difference
from drople.models.prompts import PromptPlan

MODEL = prompted(tiny())
PIXELS = MODEL.backbone.pixels(noise_picture())


def batch_of(backbone):
    return backbone.normalise(torch.from_numpy(PIXELS.copy())[None])


def scaled():
    """A tiny model with LayerScale, and a logit scale of its own in the adapted branch."""
    backbone = wrap(tiny_clip(vision={"ls_init_value": 0.3}, seed=4))
    model = prompted(backbone, seed=5)
    model.logit_scale.data += 0.4
    return model


@pytest.mark.parametrize(
    "model",
    [MODEL, scaled(), prompted(tiny(), PromptPlan(kind="modular"), bridge=0)],
    ids=["deep prompts", "layer scale", "modular prompts"],
)
@pytest.mark.parametrize("against", [None, 2])
def test_the_parts_sum_to_the_difference_of_the_logits(model, against):
    texts = describe_classes(model, NAMES)
    one = explain_difference(model, run_branches(model, PIXELS), texts, target=1, against=against)
    logits = []
    for branch, encoder in (("frozen", model.backbone), ("adapted", model)):
        image = F.normalize(encoder.encode_image(batch_of(model.backbone)), dim=-1)[0]
        own = (texts.features[branch] @ image) * encoder.logit_scale.exp()
        logits.append(float(own[1] - (0 if against is None else own[against])))
    assert one.difference == pytest.approx(logits[1] - logits[0], abs=1e-4)
    parts = one.image.start + one.image.constant + one.text + one.scale
    for array in (
        one.image.patches,
        one.image.prompts,
        one.image.cls,
        one.image.bias,
        one.image.mlp,
    ):
        parts += float(array.sum())
    assert parts == pytest.approx(one.difference, abs=1e-4)
    assert abs(one.remainder) < 1e-4


def test_equal_branches_differ_in_nothing():
    empty = PromptPlan(image_count=0, image_depth=0, text_depth=1)
    model = prompted(tiny(), empty, bridge=0)
    one = explain_difference(
        model, run_branches(model, PIXELS), describe_classes(model, NAMES), target=0
    )
    assert np.abs(one.image.patches).max() < 1e-6
    assert np.abs(one.image.layers).max() < 1e-6
    assert one.scale == 0
    assert one.text == pytest.approx(one.difference, abs=1e-5)


def test_a_part_is_what_the_readout_loses_without_it():
    """Each part against the gradient of the read-out with the norms held fixed."""
    model = scaled()
    visual = model.backbone.visual
    with torch.no_grad():
        records = list(model.image_layers(batch_of(model.backbone)))
    direction = torch.randn(32, generator=torch.Generator().manual_seed(1))
    path = direct_path(visual, records, direction)
    stream = records[-1].tokens[0, 0].clone().requires_grad_(True)
    sigma = (records[-1].tokens[0, 0].var(correction=0) + visual.ln_post.eps).sqrt()
    feature = visual.ln_post.weight * (stream - stream.mean()) / sigma + visual.ln_post.bias
    feature = feature @ visual.proj
    ((feature @ direction) / feature.detach().norm()).backward()
    for depth, (block, record) in enumerate(
        zip(visual.transformer.resblocks, records, strict=True)
    ):
        heads, width = block.attn.num_heads, 64 // block.attn.num_heads
        entering = block.ln_1(record.entering[0])
        _, _, v = F.linear(entering, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(
            3, -1
        )
        for token in (1, 6, 16):
            fetched = torch.zeros(64)
            for h in range(heads):
                cut = slice(h * width, (h + 1) * width)
                fetched[cut] = record.attention[0, h, 0, token] * v[token, cut]
            written = block.ls_1(block.attn.out_proj.weight @ fetched)
            part = path.patches[depth].ravel()[token - 1]
            assert part == pytest.approx(float(written @ stream.grad), abs=1e-5)
    unit = F.normalize(model.encode_image(batch_of(model.backbone)), dim=-1)[0]
    assert path.total == pytest.approx(float(unit @ direction), abs=1e-4)


def test_only_the_patch_that_is_attended_to_has_a_part():
    with torch.no_grad():
        records = list(MODEL.image_layers(batch_of(MODEL.backbone)))
    planted = []
    for record in records:
        attention = torch.zeros_like(record.attention)
        attention[..., 6] = 1  # every token looks at one patch alone
        planted.append(replace(record, attention=attention))
    path = direct_path(MODEL.backbone.visual, planted, torch.ones(32))
    others = np.arange(16) != 5
    assert np.abs(path.patches.reshape(4, 16)[:, others]).max() == 0
    assert (np.abs(path.patches.reshape(4, 16)[:, 5]) > 0).all()
    assert np.abs(path.prompts).max() == np.abs(path.cls).max() == 0


# --- pictures and the view ---


def parts_of(target=1):
    texts = describe_classes(MODEL, NAMES)
    return {tab.LOGIT: explain_difference(MODEL, run_branches(MODEL, PIXELS), texts, target=target)}


def test_the_table_and_the_bars_sum_to_the_difference():
    one = parts_of()[tab.LOGIT]
    rows = parts_table(one)["data"]
    assert len(rows) == 1 + 4 + 6
    summed = sum(float(row[-1]) for row in [*rows[:6], rows[7], rows[8]])
    assert summed == pytest.approx(one.difference, abs=1e-3)
    assert float(rows[-1][-1]) == pytest.approx(one.difference, abs=1e-4)
    bars = sum(float(np.sum(trace.x)) for trace in layers_figure(one).data)
    assert bars == pytest.approx(one.difference, abs=1e-4)
    assert f"{one.difference:+.3f}" in parts_sentence(one, "It")


def test_maps_of_single_layers_share_one_scale():
    path = parts_of()[tab.LOGIT].image
    np.testing.assert_allclose(sum(patch_map(path, i) for i in range(4)), patch_map(path, None))
    first, last = (map_panel(ask(), path, i).scales for i in (0, 3))
    assert first == last
    assert first[0].high == pytest.approx(np.abs(path.patches).max())


def test_the_runner_up_is_the_likeliest_other_class():
    cosines = analysed().predictions["adapted"].cosines
    best = int(cosines.argmax())
    others = [i for i in range(3) if i != best]
    assert tab.runner_up(analysed(), best) == max(others, key=lambda i: cosines[i])
    assert tab.runner_up(analysed(), others[0]) == best
    assert tab.runner_up(analysed("one class"), 0) is None


def test_the_view_computes_both_splits():
    studio = SimpleNamespace(
        load=lambda *a: Loaded(MODEL, None, "p", ""),
        texts=lambda loaded, classes, template: describe_classes(MODEL, classes, template),
        in_turn=lambda work: work(),
    )
    (parts,) = tab.compute(asked(studio, ask(), 1), progress=silent)
    said = ask().predictions
    change = said["adapted"].logits[1] - said["frozen"].logits[1]
    assert parts[tab.LOGIT].difference == pytest.approx(float(change), abs=1e-4)
    assert "The lead of dog over" in tab.draw(ask(), 1, parts, tab.LEAD, tab.ALL, 2)[3]
    all_layers, one = (tab.draw(ask(), 1, parts, tab.LOGIT, of, 2) for of in (tab.ALL, tab.ONE))
    assert all_layers[2] != one[2]  # each has its own scale
