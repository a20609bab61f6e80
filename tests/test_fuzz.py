"""Whatever strangers send is read, or refused in a sentence; nothing else ever happens."""

from __future__ import annotations

import copy
import io
import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from tiny import noise_picture, tiny_clip

from drople.classes import MAX_CLASSES, MAX_NAME, clean_name, parse_class_list
from drople.errors import CheckpointError, ClassListError, DropleError, ImageError
from drople.images import MAX_SIDE, MIN_SIDE, read_image
from drople.importers import READERS, import_prompts
from drople.paired_draws import first_draw
from drople.storage.analyses import analysis_bytes, load_analysis, load_draws
from drople.storage.evidence import replay
from drople.storage.prompts import PromptCard, read_card, save_prompts

# Always the same cases, as many as take a second or two.
settings.register_profile("fuzz", derandomize=True, deadline=None, max_examples=150,
                          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
FUZZ = settings.get_profile("fuzz")
FEW = settings(FUZZ, max_examples=40)  # of what runs a model
KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def encoded(kind):
    data = io.BytesIO()
    noise_picture(18, 16).save(data, kind)
    return data.getvalue()


PICTURES = {kind: encoded(kind) for kind in KINDS}


# Where, as shares of the bytes or of the first few, how many go, and what comes instead.
EDITS = st.lists(
    st.tuples(st.sampled_from([16, 64, None]), st.floats(0, 1), st.integers(0, 8),
              st.binary(max_size=8)),
    min_size=1, max_size=6,
)  # fmt: skip


def damaged(whole):
    """Bytes with some replaced, cut out or put in, most of them near the start."""

    def damage(edits, kept):
        data = bytearray(whole)
        for reach, where, cut, new in edits:
            at = int(where * max(0, min(reach or len(data), len(data)) - 1))
            data[at : at + cut] = new
        return bytes(data if kept is None else data[: int(kept * len(data))])

    return st.builds(damage, EDITS, st.none() | st.floats(0, 1))


def outcome(kind, read, given):
    """What is read, or the sentence in which it is refused; any other error is none of ours."""
    try:
        return read(given), ""
    except kind as error:
        return None, str(error)


def read_or_refused(data):
    """Reads a picture; None where it is refused in a sentence."""
    image, words = outcome(ImageError, read_image, io.BytesIO(data))
    if image is None:
        assert 10 < len(words) < 300
        assert words.endswith((".", ")."))
        return None
    assert image.mode == "RGB"
    assert 1 <= min(image.size) <= max(image.size) <= MAX_SIDE
    assert not image.getexif()
    return image


@FUZZ
@given(st.sampled_from(KINDS).flatmap(lambda kind: damaged(PICTURES[kind])))
def test_damaged_pictures_are_read_or_refused(data):
    read_or_refused(data)


@FUZZ
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused(data):
    assert read_or_refused(data) is None


@FUZZ
@given(
    st.sampled_from(["PNG", "BMP", "TIFF", "GIF"]),
    st.integers(MIN_SIDE, 64),
    st.integers(MIN_SIDE, 64),
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"]),
)
def test_whole_pictures_are_always_read(kind, width, height, mode):
    image = Image.fromarray(np.arange(width * height, dtype="uint8").reshape(height, width))
    image = image.convert("RGBA" if mode == "RGBA" else "L")
    if mode in ("I;16", "F"):
        array = np.asarray(image.convert("L")).astype("uint16" if mode == "I;16" else "float32")
        image = Image.fromarray(array)
    else:
        image = image.convert(mode)
    data = io.BytesIO()
    try:
        image.save(data, kind)
    except (OSError, KeyError):
        return  # this format has no such mode
    found = read_or_refused(data.getvalue())
    assert found is not None
    assert found.size == (width, height)


# --- class lists ---

ANY_TEXT = st.text(st.characters(), max_size=400)  # unpaired surrogates too


@FUZZ
@given(st.one_of(ANY_TEXT, st.lists(ANY_TEXT, max_size=20).map(",".join)))
def test_any_text_is_a_class_list_or_refused(text):
    names, words = outcome(ClassListError, parse_class_list, text)
    if names is None:
        assert "class list is empty" in words
        assert not any(clean_name(part) for part in text.replace(";", ",").split(","))
        return
    assert 1 <= len(names) <= MAX_CLASSES
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert 1 <= len(name) <= MAX_NAME
        assert name.encode()
        assert name == " ".join(name.split())
        assert name.isprintable()


@FUZZ
@given(ANY_TEXT)
def test_a_clean_name_is_clean_already(name):
    assert clean_name(clean_name(name)) == clean_name(name)


# --- checkpoints ---


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A prompts file of the tiny model: its bytes, and its header as JSON."""
    from storage.test_stored_prompts import card_of

    path = tmp_path_factory.mktemp("fuzz") / "whole.safetensors"
    save_prompts(path, model, card_of(model))
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return data, json.loads(data[8 : 8 + size])


def card_or_refused(path):
    card, words = outcome(CheckpointError, read_card, path)
    assert isinstance(card, PromptCard) if card else path.name in words
    return card


@FUZZ
@given(data=st.data())
def test_damaged_checkpoints_are_read_or_refused(whole, tmp_path, data):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data.draw(damaged(whole[0])))
    card_or_refused(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@FUZZ
@given(data=st.data())
def test_a_header_with_any_value_is_read_or_refused(whole, tmp_path, data):
    known = json.loads(whole[1]["__metadata__"]["drople"])
    place = data.draw(st.sampled_from([known, known["plan"], known["dropout"]]))
    place[data.draw(st.sampled_from(sorted(place)) | st.text(max_size=8))] = data.draw(JSON)
    header = whole[1] | {"__metadata__": {"drople": json.dumps(known)}}
    text = json.dumps(header).encode()
    start = 8 + struct.unpack("<Q", whole[0][:8])[0]
    path = tmp_path / "header.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[0][start:])
    card_or_refused(path)


@FUZZ
@given(st.integers(0, 2**64 - 1), st.binary(max_size=64))
def test_a_header_of_any_length_is_refused(tmp_path, length, rest):
    path = tmp_path / "length.safetensors"
    path.write_bytes(struct.pack("<Q", length) + rest)
    assert card_or_refused(path) is None


# --- checkpoints of other code ---


@pytest.fixture(scope="module")
def others():
    """Checkpoints of other methods for the tiny model: a pickled one, and one of safetensors."""
    from others import coop, maple

    clip = tiny_clip()
    pickled = io.BytesIO()
    torch.save({"state_dict": maple(clip), "epoch": 5}, pickled)
    return {".pth": pickled.getvalue(), ".safetensors": save(coop(clip))}


def imported_or_refused(path, backbone):
    found, words = outcome(CheckpointError, lambda file: import_prompts(file, backbone), path)
    assert found or path.name in words
    return found


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_checkpoints_of_others_are_read_or_refused(
    others, backbone, tmp_path, suffix, data
):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(data.draw(damaged(others[suffix])))
    imported_or_refused(path, backbone)


TENSORS = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.lists(st.sampled_from([0, 1, 2, 4, 48, 64]), max_size=4),
    st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.bool,
                     torch.complex64, torch.bfloat16]),
    st.sampled_from([0.0, 0.5, 1e30, float("nan"), float("inf")]),
)  # fmt: skip
NUMBER = st.sampled_from(["0", "1", "2", "7", "99999999999", "9" * 5000])
KEY = st.one_of(
    st.sampled_from(["ctx", "proj.weight", "proj.bias", "bias_vectors", "token_prefix",
                     "token_suffix", "logit_scale", "visual_prompts", "image_encoder.VPT",
                     "image_encoder.proj", "meta_net.linear1.weight"]),
    NUMBER.map("compound_prompts_text.{}".format),
    NUMBER.map("compound_prompt_projections.{}.weight".format),
    NUMBER.map("txt2img_proj.{}.0.weight".format),
    NUMBER.map("text_prompts.{}".format),
    NUMBER.map("image_encoder.transformer.resblocks.{}.VPT_shallow".format),
    st.text(max_size=12),
)  # fmt: skip


@FUZZ
@given(state=st.dictionaries(KEY, TENSORS, max_size=6), method=st.sampled_from([None, *READERS]))
def test_a_checkpoint_of_any_keys_is_read_or_refused(backbone, tmp_path, state, method):
    path = tmp_path / "any.pth"
    torch.save(state, path)
    found, words = outcome(
        CheckpointError, lambda file: import_prompts(file, backbone, method=method), path
    )
    assert found or path.name in words


# --- stored analyses ---


@pytest.fixture(scope="module")
def bundle():
    """A stored analysis with draws: its bytes, its header and its arrays."""
    from analysed import analysed

    draws = [first_draw(analysed(), ("iwtd", "vanilla"))]
    data = analysis_bytes(analysed(), draws)
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return data, json.loads(str(arrays.pop("header"))), arrays


def replayed_or_refused(path, model):
    """Loads and replays a file; None where it is refused in a sentence."""

    def redo(file):
        return replay(load_analysis(file), model, draws=load_draws(file))

    report, words = outcome(DropleError, redo, path)
    assert report or words.endswith(".")
    return report


@FEW
@given(data=st.data())
def test_damaged_analyses_are_refused(bundle, model, tmp_path, data):
    path = tmp_path / "damaged.npz"
    path.write_bytes(data.draw(damaged(bundle[0])))
    replayed_or_refused(path, model)


def places(value, at=()):
    """Where nested JSON has values."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


@FEW
@given(data=st.data())
def test_a_stored_analysis_with_any_value_is_refused_or_replayed(bundle, model, tmp_path, data):
    header = copy.deepcopy(bundle[1])
    *path, key = data.draw(st.sampled_from([place for place in places(header) if place]))
    into = header
    for step in path:
        into = into[step]
    into[key] = data.draw(JSON | st.sampled_from([{"$array": f"a{i}"} for i in range(40)]))
    file = tmp_path / "any.npz"
    np.savez(file, header=np.array(json.dumps(header)), **bundle[2])
    replayed_or_refused(file, model)


ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
    st.lists(st.sampled_from([0, 1, 2, 3, 17, 32]), max_size=4),
    st.sampled_from(["f4", ">f4", "f2", "f8", "i4", "?", "U3", "c8", "M8[s]", "u1"]),
    st.sampled_from([0, 1]),
)


@FEW
@given(data=st.data())
def test_a_stored_analysis_with_any_array_is_refused_or_replayed(bundle, model, tmp_path, data):
    arrays = dict(bundle[2])
    name = data.draw(st.sampled_from(sorted(arrays)))
    kept = data.draw(st.booleans())
    arrays[name] = (
        np.full_like(arrays[name], data.draw(st.sampled_from([0, 1, 255, np.nan, np.inf])))
        if kept and arrays[name].dtype.kind == "f"
        else data.draw(ARRAYS)
    )
    file = tmp_path / "any.npz"
    np.savez(file, header=np.array(json.dumps(bundle[1])), **arrays)
    replayed_or_refused(file, model)
