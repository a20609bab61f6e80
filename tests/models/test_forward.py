"""The one forward: open_clip's features, our attention, and what a record may hold."""

from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from tiny import (
    NAMES,
    TOKENIZER,
    custom_text_clip,
    noise_pixels,
    prompted,
    randomise_biases,
    tiny_clip,
    wrap,
)
from torch.nn import functional as F

from drople.models.towers import image_features, last, text_features
from drople.tokens.layout import TokenLayout

PHRASES = ["a photo of a cat.", "dog", "a blurry photo of many golden retrievers at the sea"]
VARIANTS = {
    "plain": lambda: tiny_clip(),
    "custom text": lambda: custom_text_clip(),
    "quick gelu": lambda: tiny_clip(quick_gelu=True),
    "layer scale": lambda: tiny_clip(vision={"ls_init_value": 0.5, "no_ln_pre": True}),
    "linear projection": lambda: custom_text_clip(text={"proj_bias": True}),
    "own attention": lambda: tiny_clip(
        vision={"block_type": "custom"}, text={"block_type": "custom"}
    ),
    "normed mlp": lambda: tiny_clip(vision={"scale_fc": True}),
}


def assert_same_features(clip, size=32):
    """Compares our features with open_clip's own, as they come and as unit vectors."""
    ours = wrap(clip, size)
    pixels = noise_pixels(2, size)
    with torch.no_grad():
        pairs = (
            (ours.encode_image(pixels), clip.encode_image(pixels)),
            (ours.encode_text(PHRASES), clip.encode_text(TOKENIZER(PHRASES))),
        )
    for got, expected in pairs:
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
        unit = F.normalize(got, dim=-1), F.normalize(expected, dim=-1)
        torch.testing.assert_close(*unit, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_equal_open_clips(variant):
    assert_same_features(VARIANTS[variant]())


def test_features_of_mini_equal_open_clips(mini):
    assert_same_features(mini.clip, mini.image_size)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16"])
def test_features_of_a_full_random_vit_equal_open_clips(name):
    torch.manual_seed(0)
    assert_same_features(randomise_biases(open_clip.create_model(name)), 224)


def test_features_of_two_layers_of_a_large_vit_equal_open_clips():
    torch.manual_seed(0)
    config = open_clip.get_model_config("ViT-L-14")
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    assert_same_features(randomise_biases(CLIP(**config)), 224)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_pixels_equal_open_clips_preprocessing(picture, resize_mode):
    clip = tiny_clip()
    preprocess = open_clip.transform.image_transform(32, is_train=False, resize_mode=resize_mode)
    ours = type(wrap(clip)).of_clip("tiny", clip, preprocess, TOKENIZER)
    seen = ours.normalise(ours.pixels(picture)[None])
    torch.testing.assert_close(seen[0], preprocess(picture), rtol=0, atol=1e-6)


def test_token_ids_equal_open_clips_up_to_padding(backbone):
    ids = backbone.tokenise(PHRASES)
    theirs = TOKENIZER(PHRASES)
    assert torch.equal(ids, theirs[:, : ids.shape[1]])
    assert not theirs[:, ids.shape[1] :].any()


def test_words_are_the_pieces_of_a_phrase(backbone):
    row = backbone.tokenise(["golden retriever", "a photo of a very long neighbour"])[0]
    assert backbone.words(row) == ["[SOS]", "golden", "retriever", "[EOS]"]


def test_a_batch_of_many_lengths_keeps_its_order(backbone):
    phrases = [" ".join(["cat"] * (1 + i * 7 % 11)) for i in range(300)]  # more than one batch
    together = backbone.encode_text(phrases)
    for i in (0, 1, 150, 299):
        alone = backbone.encode_text([phrases[i]])[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-5, atol=1e-6)


def test_attention_equals_torchs_own(backbone, pixels):
    with torch.no_grad():
        for record in backbone.image_layers(pixels):
            block = backbone.visual.transformer.resblocks[record.depth]
            y = block.ln_1(record.entering)
            _, expected = block.attn(y, y, y, need_weights=True, average_attn_weights=False)
            torch.testing.assert_close(record.attention, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("branch", ["image", "text"])
def test_attention_rows_sum_to_one(model, pixels, branch):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    layers = model.image_layers(pixels) if branch == "image" else model.text_layers(ids)
    for record in layers:
        sums = record.attention.sum(dim=-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_text_attends_to_nothing_that_follows(backbone):
    for record in backbone.text_layers(backbone.tokenise(PHRASES)):
        assert not record.attention.triu(1).any()


@pytest.mark.parametrize("branch", ["image", "text"])
def test_the_readout_row_alone_equals_the_full_last_block(model, pixels, branch):
    ids = model.backbone.tokenise(model.phrases(NAMES))

    def features(**changes):
        if branch == "image":
            return image_features(
                model.backbone.visual, last(model.image_layers(pixels, **changes))
            )
        return text_features(model.backbone.text, last(model.text_layers(ids, **changes)))

    torch.testing.assert_close(features(readout_only=True), features(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("branch", ["image", "text"])
def test_scoring_changes_no_feature(model, pixels, branch):
    ids = model.backbone.tokenise(model.phrases(NAMES))
    if branch == "image":
        plain, scored = (
            last(model.image_layers(pixels)),
            last(model.image_layers(pixels, score=True)),
        )
    else:
        plain, scored = last(model.text_layers(ids)), last(model.text_layers(ids, score=True))
    assert scored.importance is not None
    assert torch.equal(plain.tokens, scored.tokens)


def test_only_watched_layers_are_scored(model, pixels):
    records = list(model.image_layers(pixels, score=True, watched=2))
    assert [record.importance is not None for record in records] == [True, True, False, False]
    assert [record.bridge is not None for record in records] == [True, True, False, False]


def test_a_second_image_changes_nothing_for_the_first(model, pixels):
    torch.testing.assert_close(
        model.encode_image(pixels)[:1], model.encode_image(pixels[:1]), rtol=1e-5, atol=1e-6
    )


def test_a_logit_scale_in_a_vector_is_read_as_a_number():
    backbone = wrap(tiny_clip(nonscalar_logit_scale=True))
    assert backbone.logit_scale.shape == ()
    assert prompted(backbone).logit_scale.shape == ()


def test_a_layout_reads_the_readout_row_of_each_sequence():
    tokens = torch.arange(2 * 3 * 1.0).view(2, 3, 1)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    layout = TokenLayout(torch.tensor([2, 0]), nothing, nothing, slice(1, 1))
    assert layout.read(tokens).flatten().tolist() == [2.0, 3.0]


def test_the_patches_of_an_image_are_row_major(backbone):
    pixels = torch.zeros(2, 3, 32, 32)
    pixels[1, :, 8:16, 16:24] = 5  # second row, third column of a 4 x 4 grid
    record = next(backbone.image_layers(pixels))
    changed = (record.entering[0] != record.entering[1]).any(dim=-1)
    patches = changed[record.layout.patches].view(record.layout.grid)
    assert patches.nonzero().tolist() == [[1, 2]]
    assert not changed[0]
