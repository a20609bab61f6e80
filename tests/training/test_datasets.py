"""Data sets by name: CoOp's splits, torchvision's folders, and what is said when files lack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from papers import lay_out
from PIL import Image

from drople.errors import DataError
from drople.training.datasets import DATASETS, _readable, open_task
from drople.training.imagenets import IDS, IMAGENETS
from drople.training.layouts import missing_parts


def picture(path: Path) -> None:
    """Writes a small picture, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (len(path.name), 90, 30)).save(path)


@pytest.fixture
def coop(tmp_path):
    """A root with CoOp's split of a data set of two classes, and its pictures."""
    rows = {
        "train": [["a/1.jpg", 0, "maine_coon"], ["b/1.jpg", 1, "pug"], ["b/2.jpg", 1, "pug"]],
        "val": [["a/2.jpg", 0, "maine_coon"]],
        "test": [["a/3.jpg", 0, "maine_coon"], ["b/3.jpg", 1, "pug"]],
    }
    folder = tmp_path / "oxford_pets"
    for part in rows.values():
        for path, _, _ in part:
            picture(folder / "images" / path)
    (folder / "split_zhou_OxfordPets.json").write_text(json.dumps(rows))
    return tmp_path


def test_coops_split_decides_parts_and_names(coop):
    task = open_task("oxford_pets", coop)
    assert task.classes == ("maine coon", "pug")
    assert [len(part) for part in (task.train, task.val, task.test)] == [3, 1, 2]
    assert task.train.keys == ("a/1.jpg", "b/1.jpg", "b/2.jpg")


def write_split(coop, change, encoding="utf-8"):
    """Changes the split file of `coop` and opens it."""
    split = coop / "oxford_pets" / "split_zhou_OxfordPets.json"
    rows = change(json.loads(split.read_text()))
    split.write_bytes(json.dumps(rows, ensure_ascii=False).encode(encoding))
    return open_task("oxford_pets", coop)


@pytest.mark.parametrize("first", [1, 7])
def test_labels_may_start_anywhere(coop, first):
    def moved(rows):
        return {part: [[p, n + first, t] for p, n, t in of] for part, of in rows.items()}

    task = write_split(coop, moved)
    assert task.classes == ("maine coon", "pug")
    assert (task.train.labels.tolist(), task.test.labels.tolist()) == ([0, 1, 1], [0, 1])


def test_a_split_without_val_takes_a_fifth_of_train(coop):
    def many(rows):
        paths = [f"b/{i}.jpg" for i in range(10, 20)]
        for path in paths:
            picture(coop / "oxford_pets" / "images" / path)
        return {"train": [[path, 1, "pug"] for path in paths], "test": rows["test"]}

    task = write_split(coop, many)
    assert [len(part) for part in (task.train, task.val, task.test)] == [8, 2, 2]


def test_a_split_may_be_in_utf_16_and_of_windows(coop):
    def windows(rows):
        return {part: [[p.replace("/", "\\"), n, t] for p, n, t in of] for part, of in rows.items()}

    assert write_split(coop, windows, "utf-16").train.keys == ("a/1.jpg", "b/1.jpg", "b/2.jpg")


def test_labels_of_one_name_are_one_class_and_said(coop, caplog):
    task = write_split(
        coop, lambda rows: {part: [[p, n, "crane"] for p, n, _ in of] for part, of in rows.items()}
    )
    assert task.classes == ("crane",)
    assert set(task.test.labels) == {0}
    assert "split_zhou_OxfordPets.json: Named more than once" in caplog.text


def test_a_picture_in_two_parts_is_said(coop, caplog):
    write_split(coop, lambda rows: rows | {"val": rows["train"][:1]})
    assert "lists 1 pictures more than once" in caplog.text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            ["a/1.jpg", "0", "cat"],
            r"train” is \['a/1.jpg', '0', 'cat'\]; expected a path",
        ),
        (["a/1.jpg", 0], "row 1 of “train”"),
        (["a/1.jpg", True, "cat"], "row 1 of “train”"),
        (["a/1.jpg", 0, " "], "row 1 of “train”"),
        ("a/1.jpg", "row 1 of “train”"),
        (["a/1.jpg", 0, "lion"], "label 0 is “maine_coon” and “lion”"),
        (["a/99.jpg", 0, "maine_coon"], r"lists 1 files not in .*: a/99\.jpg"),
    ],
)
def test_a_row_that_is_wrong_is_named(coop, row, said):
    with pytest.raises(DataError, match=said):
        write_split(coop, lambda rows: rows | {"train": [rows["train"][0], row]})


@pytest.mark.parametrize("wrong", [[], {}, {"train": []}, {"train": [["a/1.jpg", 0, "a"]]}, 3])
def test_a_split_without_its_parts_is_refused(coop, wrong):
    with pytest.raises(DataError, match=r"has no rows in “t\w+”; expected an object of lists"):
        write_split(coop, lambda _: wrong)


def test_imagenets_names_are_clips_and_all_different():
    titles = [("first", "second")] * 1000
    titles[744], titles[836] = ("projectile", "missile"), ("sunglass",)
    names = _readable("imagenet", titles)
    assert len({name.casefold() for name in names}) == 1000
    assert [names[i] for i in (0, 134, 517, 657, 744, 836, 837)] == [
        "tench", "crane bird", "construction crane", "missile", "projectile", "sunglass",
        "sunglasses",
    ]  # fmt: skip


def test_a_split_without_its_pictures_says_where_they_belong(coop):
    (coop / "oxford_pets" / "images").rename(coop / "elsewhere")
    with pytest.raises(DataError, match="oxford_pets/images"):
        open_task("oxford_pets", coop)


def test_torchvision_reads_what_coop_has_no_split_for(tmp_path):
    for name in ("AnnualCrop", "Forest"):
        for i in range(10):
            picture(tmp_path / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
    task = open_task("eurosat", tmp_path)
    assert task.classes == ("Annual Crop", "Forest")
    assert [len(part) for part in (task.train, task.val, task.test)] == [10, 4, 6]


def test_what_torchvision_does_not_split_is_dealt_out_class_by_class(tmp_path):
    def forests(root, **counts):
        for name, count in counts.items():
            for i in range(count):
                picture(root / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
        task = open_task("eurosat", root)
        return [key for key in task.train.keys if key.startswith("Forest/")]

    few = forests(tmp_path / "few", AnnualCrop=10, Forest=10)
    assert few == forests(tmp_path / "more", AnnualCrop=14, Forest=10)
    assert len(few) == 5


def test_caltech_leaves_out_the_background_and_the_second_faces(tmp_path):
    for name in ("BACKGROUND_Google", "Faces", "Faces_easy", "wild_cat"):
        for i in range(1, 11):
            picture(tmp_path / "caltech101/101_ObjectCategories" / name / f"image_{i:04d}.jpg")
    (tmp_path / "caltech101" / "Annotations").mkdir()
    task = open_task("caltech101", tmp_path)
    assert task.classes == ("Faces", "wild cat")
    assert set(task.test.labels) == {0, 1}


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "ucf101"])
def test_missing_files_are_an_error_and_no_download(tmp_path, name):
    with pytest.raises(DataError, match=f"{name} is not there.*Nothing is downloaded"):
        open_task(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_films_are_refused_in_favour_of_frames(tmp_path):
    with pytest.raises(DataError, match=r"films only.*UCF-101-midframes"):
        open_task("ucf101", tmp_path)


def test_an_incomplete_data_set_is_named(tmp_path):
    (tmp_path / "dtd").mkdir()
    with pytest.raises(DataError, match="dtd is not complete"):
        open_task("dtd", tmp_path)


def test_an_unknown_name_lists_those_that_are_known(tmp_path):
    with pytest.raises(DataError, match=r"'mnist'.*caltech101"):
        open_task("mnist", tmp_path)


def test_a_name_without_a_root_asks_for_it():
    with pytest.raises(DataError, match="--root"):
        open_task("caltech101")


def test_parts_with_files_of_the_same_names_have_keys_of_their_own(tmp_path):
    for part in ("train", "test"):
        picture(tmp_path / part / "cat" / "1.png")
    task = open_task(str(tmp_path))
    assert (task.train.keys, task.test.keys) == (("train/cat/1.png",), ("test/cat/1.png",))


# --- CoOp's folders of ImageNet, its variants and Aircraft ---


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The papers' data sets in CoOp's folders."""
    return lay_out(tmp_path_factory.mktemp("papers"))


def test_imagenet_is_read_from_coops_folders_with_clips_names(papers):
    task = open_task("imagenet", papers)
    assert task.classes == ("tench", "goldfish", "great white shark", "tiger shark")
    assert len(task.train) + len(task.val) == 4 * 3
    assert task.test.keys[:3] == ("n01440764/0.jpg", "n01440764/1.jpg", "n01443537/0.jpg")


@pytest.mark.parametrize(
    ("name", "classes"),
    [("imagenetv2", 4), ("imagenet_sketch", 4), ("imagenet_a", 2), ("imagenet_r", 2)],
)
def test_a_variant_of_imagenet_is_there_to_be_tested_on_alone(papers, name, classes):
    task = open_task(name, papers)
    assert task.classes == open_task("imagenet", papers).classes[:classes]
    assert (len(task.train), len(task.val)) == (0, 0)
    assert task.test.labels.tolist() == [label for label in range(classes) for _ in range(2)]
    with pytest.raises(DataError, match=f"{name} has no images to learn from"):
        task.few(1, seed=1)


def test_folders_of_imagenet_v2_go_by_their_numbers_not_their_letters(tmp_path):
    for number in (2, 10):
        picture(
            tmp_path / "imagenetv2/imagenetv2-matched-frequency-format-val" / str(number) / "a.jpg"
        )
    assert open_task("imagenetv2", tmp_path).classes == ("great white shark", "brambling")


def test_coops_file_of_names_comes_before_clips_and_doubles_are_told_apart(tmp_path):
    for one in (IDS[0], IDS[657], IDS[744]):
        picture(tmp_path / "imagenet-rendition/imagenet-r" / one / "a.jpg")
    names = [f"name {i}" for i in range(1000)]
    names[657] = names[744] = "missile"
    lines = [f"{one} {name}" for one, name in zip(IDS, names, strict=True)]
    (tmp_path / "imagenet-rendition" / "classnames.txt").write_text("\n".join(lines))
    assert open_task("imagenet_r", tmp_path).classes == ("name 0", "missile", "projectile")
    (tmp_path / "imagenet-rendition" / "classnames.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="names 999 of ImageNet's 1000 classes, not n15075141"):
        open_task("imagenet_r", tmp_path)


@pytest.mark.parametrize(
    ("folder", "said"),
    [("cats", "has cats; expected one folder a class, such as n01440764"), (None, "has no folder")],
)
def test_folders_that_are_no_class_of_imagenet_are_refused(tmp_path, folder, said):
    (tmp_path / "imagenet-sketch" / "images" / (folder or "")).mkdir(parents=True)
    with pytest.raises(DataError, match=said):
        open_task("imagenet_sketch", tmp_path)


def test_imagenets_test_images_in_one_folder_are_refused(tmp_path):
    picture(tmp_path / "imagenet/images/train" / IDS[0] / "a.jpg")
    picture(tmp_path / "imagenet/images/val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match="val has no folder; expected one folder a class"):
        open_task("imagenet", tmp_path)


def test_aircraft_is_read_from_coops_folder(papers):
    task = open_task("fgvc_aircraft", papers)
    assert task.classes == ("A00 model", "A10 model", "A20 model")
    assert [len(part) for part in (task.train, task.val, task.test)] == [9, 3, 6]
    assert task.test.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_an_unknown_variant_of_aircraft_is_named(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "fgvc_aircraft" / "variants.txt").write_text("A00 model\n")
    with pytest.raises(DataError, match="has the variant “A10 model”, which"):
        open_task("fgvc_aircraft", tmp_path)


def test_every_data_set_of_the_papers_is_whole_as_coop_lays_it_out(papers, tmp_path):
    names = {*DATASETS, *IMAGENETS}
    assert len(names) == 15
    assert not [line for name in names for line in missing_parts(name, papers)]
    for name in names:
        assert missing_parts(name, tmp_path / "nowhere")
