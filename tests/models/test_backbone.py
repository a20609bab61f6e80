"""Which CLIPs are covered, which are refused and how, and where their weights come from."""

from __future__ import annotations

import io
import json
import shutil

import huggingface_hub.constants
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transform import image_transform
from PIL import Image
from tiny import TOKENIZER, custom_text_clip, noise_picture, tiny_clip, wrap

from drople import load_backbone
from drople.errors import BackboneError, ClassListError
from drople.models.backbone import (
    CHECKPOINTS,
    Backbone,
    _word_pieces,
    hash_weights,
    other_weights,
)

REFUSED = {
    "attentional pooling": lambda: tiny_clip(vision={"attentional_pool": True}),
    "'avg' pooling of image tokens": lambda: tiny_clip(vision={"pool_type": "avg"}),
    "'tok' pooling of image tokens": lambda: tiny_clip(vision={"final_ln_after_pool": True}),
    "patch dropout": lambda: tiny_clip(vision={"patch_dropout": 0.5}),
    "an image tower of type ModifiedResNet": lambda: tiny_clip(
        vision={"layers": (1, 1, 1, 1), "head_width": 64}
    ),
    "an image tower of type TimmModel": lambda: tiny_clip(
        vision={"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"}
    ),
    "pictures of 32 x 64 pixels": lambda: tiny_clip(vision={"image_size": (32, 64)}),
    "attention of type Attention": lambda: tiny_clip(vision={"qk_norm": True}),
    "a norm after its attention": lambda: tiny_clip(text={"scale_attn": True}),
    "a text tower without a causal mask": lambda: tiny_clip(text={"no_causal_mask": True}),
    "'last' pooling of text tokens": lambda: tiny_clip(text={"pool_type": "last"}),
    "a class token or padding mask": lambda: custom_text_clip(text={"embed_cls": True}),
    "no projection of its text features": lambda: tiny_clip(
        text={"proj_type": "none", "width": 32}
    ),
}
CUSTOM_ATTENTION = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner")


@pytest.mark.parametrize("part", REFUSED)
def test_a_model_the_forward_does_not_cover_is_refused(part):
    clip = REFUSED[part]()
    with pytest.raises(BackboneError) as caught:
        wrap(clip)
    assert f"tiny has {part}" in str(caught.value)
    assert "Plain CLIP ViTs work: ViT-B-32, ViT-B-16, ViT-L-14" in str(caught.value)


@pytest.mark.parametrize("feature", CUSTOM_ATTENTION)
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_attention_with_more_than_clips_four_parts_is_refused(feature, tower):
    clip = tiny_clip(**{tower: {feature: True}})
    with pytest.raises(BackboneError, match="attention of type Attention"):
        wrap(clip)


def test_another_tokenizer_is_refused():
    tokenizer = HFTokenizer.__new__(HFTokenizer)  # its vocabulary would have to be downloaded
    preprocess = image_transform(32, is_train=False)
    with pytest.raises(BackboneError, match="a tokenizer of type HFTokenizer"):
        Backbone.of_clip("tiny", tiny_clip(), preprocess, tokenizer)


def test_a_wrapped_model_is_frozen(backbone):
    assert not any(parameter.requires_grad for parameter in backbone.clip.parameters())
    assert not backbone.clip.training


def test_sizes_are_read_from_the_weights(backbone):
    assert (backbone.image_width, backbone.text_width, backbone.joint_width) == (64, 48, 32)
    assert (backbone.image_layer_count, backbone.text_layer_count) == (4, 4)
    assert (backbone.image_size, backbone.context_length) == (32, 77)


def test_the_bundled_backbone_needs_no_network(mini):
    assert mini.name == "mini"
    assert (mini.image_size, mini.image_layer_count, mini.text_layer_count) == (224, 12, 8)


def test_a_phones_photograph_is_seen_upright_without_being_asked_for():
    backbone, upright = wrap(tiny_clip()), noise_picture(90, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(file := io.BytesIO(), "PNG", exif=exif)
    assert (backbone.pixels(Image.open(file)) == backbone.pixels(upright)).all()


def test_what_the_model_sees_is_a_square_of_bytes(backbone):
    seen = backbone.pixels(noise_picture(90, 50).convert("L"))
    assert (seen.shape, seen.dtype.name) == ((32, 32, 3), "uint8")


def test_a_folder_of_a_backbone_can_be_loaded(tmp_path):
    clip = tiny_clip()
    config = json.loads((CHECKPOINTS / "mini" / "open_clip_config.json").read_text())
    del config["stem"]
    config["model_cfg"] = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "head_width": 16,
        },
        "text_cfg": {
            "width": 48, "heads": 4, "layers": 4, "vocab_size": 49408, "context_length": 77,
        },
    }  # fmt: skip
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(clip.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    loaded = load_backbone(f"local-dir:{tmp_path}")
    assert loaded.weights_hash == wrap(clip).weights_hash


@pytest.mark.parametrize("name", ["ViT-Z-99/openai", "ViT-B-16", "", "ViT-B-16/nobody", "Mini"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(BackboneError, match="'ViT-B-16/openai'") as caught:
        load_backbone(name)
    assert str(caught.value).startswith(f"No backbone is called {name!r}. Use 'mini', 'hf-hub:user")


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "hf-hub:nobody/nothing"])
def test_no_network_is_one_clear_sentence(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BackboneError, match="Connect once to fetch them, or use 'mini'") as caught:
        load_backbone(name)
    assert f"The weights of the backbone {name} are not in the local cache" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_clear_sentence(tmp_path):
    shutil.copy(CHECKPOINTS / "mini" / "open_clip_config.json", tmp_path)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(BackboneError, match=r"damaged or .* \(.*header too large\). Copy both"):
        load_backbone(f"local-dir:{tmp_path}")


def test_a_phrase_too_long_for_the_context_is_refused(backbone):
    name = "cat " * 80
    with pytest.raises(ClassListError) as caught:
        backbone.tokenise(["dog", name])
    message = str(caught.value)
    assert message.startswith(f"“{name[:57]}...” is 82 tokens long with its template; tiny reads")
    assert "reads 77. Shorten the class name or the template." in message


def test_a_phrase_that_just_fits_the_context_is_read(backbone):
    phrase = " ".join(["cat"] * 75)
    assert torch.equal(backbone.tokenise([phrase]), TOKENIZER([phrase]))


@given(st.text(st.characters(codec="ascii"), max_size=40) | st.text(max_size=20))
@example("Granny's  ice-cream (no. 12) & co <end_of_text>")
@example("don&#39;t l33t &amp; caf\u00e9 \u201cq\u201d")
def test_words_are_split_as_the_tokenizer_splits_them(phrase):
    assert _word_pieces(TOKENIZER, phrase) == TOKENIZER.encode(phrase)


def test_a_hash_knows_names_shapes_and_values():
    state = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    changed = [
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"c": torch.zeros(2, 3), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([1, 1, 1, 1.0001])},
    ]
    hashes = {hash_weights(one) for one in (state, *changed)}
    assert len(hashes) == 4
    assert hash_weights(dict(reversed(state.items()))) in hashes  # whatever their order


def test_equal_weights_have_an_equal_hash():
    assert wrap(tiny_clip(seed=3)).weights_hash == wrap(tiny_clip(seed=3)).weights_hash
    assert wrap(tiny_clip(seed=3)).weights_hash != wrap(tiny_clip(seed=4)).weights_hash


def test_the_tokenizer_of_the_bundled_backbone_is_clips(mini):
    assert type(mini.tokenizer) is SimpleTokenizer


def test_what_was_made_for_the_former_mini_says_which_version_reads_it(mini):
    said = other_weights("mini", "b454d4c554683269", mini)
    assert "made for the mini of 0.1 (weights b454d4c554683269); install 0.1.0 to recompute" in said
    assert mini.weights_hash in said
