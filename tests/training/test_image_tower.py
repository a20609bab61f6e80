"""The recipe of an image tower: trained end to end on made pictures, cut, resumed, refused."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
import timm
import torch
from furnished import save_tiny_clip
from PIL import Image
from safetensors.torch import load_file
from squares import COLOURS
from torch.nn import functional as F

from drople.errors import BackboneError, DataError, SettingsError
from drople.models.backbone import load_backbone
from drople.training.data import load_task
from drople.training.image_tower import Student, build, look, main, train
from drople.training.run import read_log
from drople.training.tower_recipe import Recipe

STEM = "test_efficientnet"  # timm's own for tests: 0.36 million weights
TAUGHT = ("cat", "dog", "car", "rose", "house")


def paint(folder, colours, count=10):
    """Squares of a colour with a little noise, one folder a colour."""
    rng = np.random.default_rng(0)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(-25, 26, (48, 48, 3))
            square = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(square).save(folder / name / f"{i}.png")
    return str(folder)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Made pictures, kinds, a tiny text tower, and a random stem with a classifier of five."""
    root = tmp_path_factory.mktemp("given")
    save_tiny_clip(root / "text")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(STEM, num_classes=len(TAUGHT))
    torch.save(network.state_dict(), root / "stem.pth")
    (root / "taught.txt").write_text("\n".join(TAUGHT) + "\n")
    kinds = {"red": "warm colour", "green": "cold colour", "blue": "cold colour"}
    (root / "kinds.json").write_text(json.dumps(kinds))
    paint(root / "more", {"anything": (120, 90, 60)})
    return {
        "labelled": paint(root / "photos", COLOURS),
        "kinds": str(root / "kinds.json"),
        "text": str(root / "text"),
        "stem": STEM,
        "stem_weights": str(root / "stem.pth"),
        "unlabelled": str(root / "more"),
        "teacher_names": str(root / "taught.txt"),
    }


def small(given, out, **changes):
    """A recipe that takes a second."""
    shape = {"size": 32, "width": 64, "layers": 2, "batch": 8, "workers": 0, "device": "cpu"}
    run = {"steps": 4, "every": 2, "lr": 2e-2, "out": str(out)}
    return Recipe(**(given | shape | run | changes))


def untaught(given):
    """The same without what needs the classifier."""
    return given | {"teacher_names": None, "unlabelled": None}


def options(recipe):
    """A recipe as the command takes it."""
    named = {k: v for k, v in vars(recipe).items() if v is not None}
    return [part for k, v in named.items() for part in ("--" + k.replace("_", "-"), str(v))]


def test_training_learns_the_made_pictures_and_writes_what_load_backbone_reads(given, tmp_path):
    recipe = small(untaught(given), tmp_path / "out", steps=80, every=80)
    assert main(options(recipe)) == 0
    log = read_log(tmp_path / "out" / "train.jsonl")
    losses = [line["total"] for line in log if "total" in line]
    assert len(losses) == 80
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert log[-1]["test_percent"] == 100

    backbone = load_backbone(f"local-dir:{tmp_path / 'out'}")
    task = load_task(recipe.labelled)
    pixels = torch.from_numpy(np.stack([backbone.pixels(task.test.read(i)) for i in range(9)]))
    images = F.normalize(backbone.encode_image(backbone.normalise(pixels)), dim=-1)
    texts = F.normalize(
        backbone.encode_text([f"a photo of a {name}." for name in task.classes]), dim=-1
    )
    assert (images @ texts.T).argmax(1).tolist() == task.test.labels.tolist()


def test_a_cut_training_goes_on_to_the_same_weights(given, tmp_path):
    assert main(options(small(given, tmp_path / "whole"))) == 0
    cut = small(given, tmp_path / "cut")
    assert [*islice(train(cut), 5)][-1]["step"] == 3  # saved after step 2, so step 3 is lost
    assert main(options(cut)) == 0
    whole, resumed = (
        load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("whole", "cut")
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert [line["step"] for line in read_log(tmp_path / "cut" / "train.jsonl")] == [2, 3, 4, 4, 4]


def test_a_state_of_other_options_is_not_gone_on_from(given, tmp_path):
    assert main(options(small(given, tmp_path))) == 0
    with pytest.raises(SettingsError, match="other options"):
        next(train(small(given, tmp_path, seed=1)))


@pytest.mark.parametrize("stem", [STEM, "test_resnet", "ghostnet_050"])
def test_the_student_sees_what_open_clip_sees(given, tmp_path, stem):
    recipe = small(untaught(given), tmp_path, stem=stem, stem_weights=None)
    text = load_backbone(f"local-dir:{recipe.text}")
    _, clip, network = build(recipe, text, 0)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mid, deep, _ = look(network, pixels)
    with torch.no_grad():
        seen = Student(clip, "fp32")(mid, deep, torch.tensor([[3, 0, 1, 2]] * 2))
        expected = F.normalize(clip.encode_image(pixels), dim=-1)
    torch.testing.assert_close(seen, expected)


def test_the_text_tower_and_the_stem_stay_as_they_were_given(given, tmp_path):
    assert main(options(small(given, tmp_path))) == 0
    written = load_file(tmp_path / "open_clip_model.safetensors")
    text = load_file(f"{given['text']}/open_clip_model.safetensors")
    stem = torch.load(given["stem_weights"], weights_only=True)
    trunk = "visual.conv1.trunk."
    frozen = {name: v for name, v in text.items() if not name.startswith(("visual.", "logit"))}
    frozen |= {name: stem[name.removeprefix(trunk)] for name in written if name.startswith(trunk)}
    assert len(frozen) > 100
    assert all(torch.equal(written[name], v.to(written[name].dtype)) for name, v in frozen.items())


def test_the_classifier_teaches_where_its_classes_have_names(given, tmp_path):
    opening, first = islice(train(small(given, tmp_path / "taught")), 2)
    assert opening["taught"] == len(TAUGHT)
    assert opening["pictures"] == [18, 10]
    assert first["teacher"] > 0
    total = first["names"] + 0.3 * first["kinds"] + first["teacher"]
    assert first["total"] == pytest.approx(total, abs=1e-4)
    opening, first = islice(train(small(untaught(given), tmp_path / "untaught")), 2)
    assert opening["taught"] == 0
    assert "teacher" not in first


def test_tokens_are_kept_between_the_shares(given, tmp_path):
    recipe = small(untaught(given), tmp_path, size=64, steps=12, keep_low=0.25, keep_high=0.5)
    kept = [line["kept"] for line in train(recipe) if "kept" in line]
    assert 4 <= min(kept) < max(kept) <= 8  # of 16


def test_half_precision_trains_to_a_finite_loss(given, tmp_path):
    lines = train(small(untaught(given), tmp_path, precision="bf16"))
    assert np.isfinite([line["total"] for line in lines if "total" in line]).all()


def test_a_random_stem_is_said_in_the_log(given, tmp_path):
    opening = next(train(small(untaught(given) | {"stem_weights": None}, tmp_path)))
    assert opening["stem"].startswith("WARNING: random weights")


def test_an_empty_folder_is_refused(given, tmp_path):
    (tmp_path / "empty").mkdir()
    for part in ("labelled", "unlabelled"):
        changed = given | {part: str(tmp_path / "empty")}
        with pytest.raises(DataError, match="has no images"):
            next(train(small(changed, tmp_path / "out")))


def test_an_unknown_stem_is_refused_in_a_sentence(given, tmp_path, capsys):
    recipe = small(given, tmp_path, stem="no_such_net")
    with pytest.raises(BackboneError, match="'no_such_net' is no network of timm"):
        next(train(recipe))
    assert main(options(recipe)) == 2
    assert capsys.readouterr().err.startswith("error: The stem 'no_such_net'")


def test_weights_of_another_stem_are_refused(given, tmp_path):
    with pytest.raises(BackboneError, match="does not give test_resnet its weights"):
        next(train(small(given, tmp_path, stem="test_resnet")))


def test_a_classifier_with_another_number_of_classes_is_refused(given, tmp_path):
    with pytest.raises(BackboneError, match="with 1000 outputs"):
        next(train(small(given, tmp_path, teacher_names="imagenet")))


def test_a_stem_without_its_classifier_cannot_teach(given, tmp_path):
    state = torch.load(given["stem_weights"], weights_only=True)
    bare = {
        name: v for name, v in state.items() if not name.startswith(("classifier", "conv_head"))
    }
    torch.save(bare, tmp_path / "bare.pth")
    given = given | {"stem_weights": str(tmp_path / "bare.pth")}
    with pytest.raises(BackboneError, match=r"lacks conv_head\.weight"):
        next(train(small(given, tmp_path / "out")))
    assert next(train(small(untaught(given), tmp_path / "out")))["taught"] == 0


def test_a_name_without_a_kind_is_refused(given, tmp_path):
    (tmp_path / "kinds.json").write_text('{"red": "colour"}')
    with pytest.raises(DataError, match="no kind for blue, green"):
        next(train(small(given, tmp_path, kinds=str(tmp_path / "kinds.json"))))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 40}, "size is 40; expected a positive multiple of 16"),
        ({"width": 96}, "multiple of 64"),
        ({"steps": 0}, "steps is 0"),
        ({"keep_low": 0.8}, "keep_low <= keep_high"),
        ({"unlabelled_share": 1.0}, "unlabelled_share < 1"),
        ({"stem_weights": None}, "teaches noise"),
        ({"teacher_names": None}, "need a teacher"),
    ],
)
def test_options_out_of_range_or_at_odds_are_refused(given, tmp_path, changes, says):
    with pytest.raises(SettingsError, match=says):
        small(given, tmp_path, **changes)
