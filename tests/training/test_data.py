"""Tasks from folders and packs: splits, halves, subsets, and what is said when wrong."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from toys import image_set, task

from drople.errors import DataError
from drople.training.data import (
    Task,
    join_tasks,
    load_task,
)


def write_folder(root, counts, parts=("",)):
    """One folder of coloured squares a class."""
    for part in parts:
        for place, (name, count) in enumerate(counts.items()):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                square = Image.new("RGB", (20, 20), (40 * place, 10 * i, 90))
                square.save(root / part / name / f"{i}.png")
    return root


def write_pack(folder, name="pack", *, labels=(0, 1, 0), split=(0, 1, 2), **manifest):
    """A pack of grey squares, as tools of the project write it."""
    coded = []
    for value in range(len(labels)):
        buffer = io.BytesIO()
        Image.new("L", (20, 20), 50 * value).save(buffer, "PNG")
        coded.append(np.frombuffer(buffer.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, coded)])
    arrays = {"blob": np.concatenate(coded), "offsets": offsets}
    np.savez(folder / f"{name}.npz", labels=np.array(labels), split=np.array(split), **arrays)
    known = {"classes": ["night", "day"]} | manifest
    (folder / f"{name}.json").write_text(json.dumps(known))
    return folder / f"{name}.npz"


# --- subsets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "base"), [(37, 19), (102, 51), (47, 24), (10, 5), (3, 2)])
def test_base_is_the_first_half_rounded_up(classes, base):
    whole = task(classes, 1)  # Pets 19/18, Flowers 51/51, DTD 24/23, EuroSAT 5/5
    assert whole.base().classes == whole.classes[:base]
    assert whole.novel().classes == whole.classes[base:]


def test_a_half_is_relabelled_from_zero_and_keeps_its_images():
    novel = task(classes=5, each=2).novel()
    assert novel.classes == ("class 3", "class 4")
    assert novel.test.labels.tolist() == [0, 0, 1, 1]
    assert novel.test.keys == ("6", "7", "8", "9")


def test_a_subset_follows_the_order_given():
    chosen = task(classes=3, each=1).subset([2, 0])
    assert chosen.classes == ("class 2", "class 0")
    assert dict(zip(chosen.train.keys, chosen.train.labels.tolist(), strict=True)) == {
        "0": 1, "2": 0,
    }  # fmt: skip


def test_a_domain_split_learns_in_one_and_is_tested_in_all():
    images = image_set([0, 0, 1, 1], domains=[0, 1, 0, 1])
    whole = Task("toys", ("a", "b"), images, images, images, ("photo", "sketch"))
    split = whole.learnt_in("photo")
    assert split.train.keys == split.val.keys == ("0", "2")
    assert split.test.keys == ("0", "1", "2", "3")


def test_a_domain_the_data_do_not_have_is_refused():
    with pytest.raises(DataError, match=r"toys has the domains \(\), not 'photo'"):
        task().learnt_in("photo")


# --- samples ----------------------------------------------------------------------------------


def test_a_folder_of_classes_is_split_sixty_ten_thirty(tmp_path):
    read = load_task(write_folder(tmp_path, {"red_fox": 10, "dog": 20}))
    assert read.classes == ("dog", "red fox")
    for part, counts in ((read.train, [12, 6]), (read.val, [2, 1]), (read.test, [6, 3])):
        assert np.bincount(part.labels).tolist() == counts


def test_every_image_of_a_folder_is_in_one_split(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 7, "dog": 9}))
    keys = [*read.train.keys, *read.val.keys, *read.test.keys]
    assert sorted(keys) == [f"cat/{i}.png" for i in range(7)] + [f"dog/{i}.png" for i in range(9)]


def test_the_split_of_a_folder_never_changes(tmp_path):
    folder = write_folder(tmp_path, {"cat": 10})
    assert load_task(folder).train.keys == load_task(folder).train.keys


@pytest.mark.parametrize("changed", [{"cat": 14, "dog": 10}, {"bee": 9, "cat": 10, "dog": 10}])
def test_pictures_or_a_class_added_move_no_other_class_between_splits(tmp_path, changed):
    before = load_task(write_folder(tmp_path / "before", {"cat": 10, "dog": 10}))
    after = load_task(write_folder(tmp_path / "after", changed))
    for part in ("train", "val", "test"):
        dogs = [
            [key for key in getattr(task, part).keys if key.startswith("dog/")]
            for task in (before, after)
        ]
        assert dogs[0] == dogs[1] != []


def test_two_classes_of_one_size_are_split_by_themselves(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 20, "dog": 20}))
    cat, dog = (
        [key[4:] for key in read.train.keys if key.startswith(name)] for name in ("cat", "dog")
    )
    assert cat != dog


def test_given_splits_are_kept(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 2, "dog": 1}, ("train", "val", "test")))
    assert [len(part) for part in (read.train, read.val, read.test)] == [3, 3, 3]


def test_a_task_may_do_without_validation_images(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 2}, ("train", "test")))
    assert [len(part) for part in (read.train, read.val, read.test)] == [2, 0, 2]


def test_images_lie_as_deep_as_they_like_and_other_files_are_passed_over(tmp_path):
    folder = write_folder(tmp_path, {"cat": 5})
    (folder / "cat" / "more").mkdir()
    (folder / "cat" / "0.png").rename(folder / "cat" / "more" / "0.PNG")
    (folder / "cat" / "notes.txt").write_text("no picture")
    read = load_task(folder)
    assert len(read.train) + len(read.val) + len(read.test) == 5


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_without_a_test_part_the_validation_part_is_tested_on(tmp_path, caplog, val):
    read = load_task(write_folder(tmp_path, {"cat": 2, "dog": 1}, ("train", val)))
    assert read.classes == ("cat", "dog")
    assert [len(part) for part in (read.train, read.val, read.test)] == [3, 0, 3]
    assert read.test.keys[0] == f"{val}/cat/0.png"
    assert f"has no test/: {val}/ is what is tested on" in caplog.text


def test_parts_may_have_other_names(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 2}, ("Training", "valid", "testing")))
    assert [len(part) for part in (read.train, read.val, read.test)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("val", "test"), "has val/, test/, but no train/ to learn from"),
        (("train", "val", "valid"), "has val/, valid/, which are one part"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(tmp_path, parts, said):
    with pytest.raises(DataError, match=said):
        load_task(write_folder(tmp_path, {"cat": 2}, parts))


def test_a_class_may_be_called_train(tmp_path):
    assert load_task(write_folder(tmp_path, {"train": 3, "bus": 3})).classes == ("bus", "train")


def test_hidden_folders_and_litter_are_no_classes(tmp_path, caplog):
    litter = (".ipynb_checkpoints", "__MACOSX", ".git")
    read = load_task(write_folder(tmp_path, dict.fromkeys(("cat", "dog", *litter), 4)))
    assert read.classes == ("cat", "dog")
    assert len(read.train) + len(read.val) + len(read.test) == 8
    assert not caplog.text


def test_linked_folders_and_pictures_are_read(tmp_path):
    away = write_folder(tmp_path / "away", {"cat": 3})
    here = write_folder(tmp_path / "here", {"dog": 3})
    (here / "cat").symlink_to(away / "cat")
    (here / "dog" / "linked.png").symlink_to(away / "cat" / "0.png")
    read = load_task(here)
    assert read.classes == ("cat", "dog")
    assert len(read.train) + len(read.val) + len(read.test) == 7


@pytest.mark.parametrize("twin", ["golf ball", "Golf_Ball", "golf  ball"])
def test_two_folders_of_one_name_are_one_class_and_said(tmp_path, caplog, twin):
    read = load_task(write_folder(tmp_path, {"golf_ball": 4, twin: 4, "hat": 4}))
    assert [name.casefold() for name in read.classes] == ["golf ball", "hat"]
    labels = np.concatenate([part.labels for part in (read.train, read.val, read.test)])
    assert np.bincount(labels).tolist() == [8, 4]
    assert "Named more than once, and one class each" in caplog.text


def test_what_is_passed_over_is_said(tmp_path, caplog):
    write_folder(tmp_path, {"cat": 2}, ("train", "test"))
    write_folder(tmp_path / "test", {"bird": 1})
    write_folder(tmp_path, {"notes": 1})
    (tmp_path / "train" / "loose.png").touch()
    (tmp_path / "train" / "cat" / "0.heic").touch()
    load_task(tmp_path)
    folders = ("passed over beside its parts: notes/", "since they are no class: bird/")
    for said in (*folders, "passed over 1 images that are in no class folder", "1 .heic; read are"):
        assert said in caplog.text


def test_a_class_of_one_picture_is_learnt_and_said_to_be_untested(tmp_path, caplog):
    read = load_task(write_folder(tmp_path, {"cat": 1, "dog": 10}))
    assert np.bincount(read.train.labels).tolist() == [1, 6]
    assert "no image is left to test cat." in caplog.text


def test_a_folder_of_which_nothing_can_be_tested_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no images to test on.*two images a class"):
        load_task(write_folder(tmp_path, {"cat": 1, "dog": 1}))


def test_halves_of_one_class_are_refused_with_the_reason(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 5}))
    for half in (read.base, read.novel):
        with pytest.raises(DataError, match=r"has one class, cat: base and novel.*two are needed"):
            half()


def test_a_path_too_long_for_the_system_is_refused():
    with pytest.raises(DataError, match="No data at xxx"):
        load_task("x" * 300)


def test_a_picture_is_read_as_it_was_written(tmp_path):
    read = load_task(write_folder(tmp_path, {"cat": 1}, ("train", "test")))
    assert read.train.read(0).getpixel((3, 3)) == (0, 0, 90)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        load_task(tmp_path / "gone")
    message = str(caught.value)
    assert message.startswith(f"No data at {tmp_path / 'gone'}. Expected a folder with one folder")
    assert "(gone.npz beside gone.json)" in message


@pytest.mark.parametrize("folders", [(), ("cat",)])
def test_a_folder_without_images_is_refused(tmp_path, folders):
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"has no images to learn from.*\.bmp, \.gif, \.jfif"):
        load_task(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_picture_names_class_and_file(tmp_path, damage):
    folder = write_folder(tmp_path, {"cat": 1, "dog": 1}, ("train", "test"))
    (folder / "train" / "dog" / "0.png").write_bytes(damage)
    images = load_task(folder).train
    with pytest.raises(DataError, match=r"dog/0\.png: The|dog/0\.png: This"):
        images.read(1)


# --- packs ------------------------------------------------------------------------------------


def test_a_pack_is_read_with_its_splits(tmp_path):
    read = load_task(write_pack(tmp_path))
    assert (read.name, read.classes) == ("pack", ("night", "day"))
    assert [part.labels.tolist() for part in (read.train, read.val, read.test)] == [[0], [1], [0]]
    assert [part.read(0).getpixel((0, 0)) for part in (read.train, read.val, read.test)] == [
        (0, 0, 0), (50, 50, 50), (100, 100, 100),
    ]  # fmt: skip


def test_a_pack_is_found_by_either_file_or_by_its_stem(tmp_path):
    pack = write_pack(tmp_path)
    for path in (pack, pack.with_suffix(".json"), pack.with_suffix("")):
        assert load_task(path).classes == ("night", "day")


def test_a_pack_may_have_domains(tmp_path):
    pack = write_pack(tmp_path, domains=["photo", "sketch"])
    with np.load(pack) as arrays:
        np.savez(pack, **arrays, domain=np.array([1, 0, 1], np.uint8))
    read = load_task(pack)
    assert (read.domains, read.train.domains.tolist()) == (("photo", "sketch"), [1])


def test_a_pack_without_its_manifest_is_refused(tmp_path):
    pack = write_pack(tmp_path)
    pack.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"\(pack\.npz beside pack\.json\)"):
        load_task(pack)


def test_an_unreadable_picture_of_a_pack_is_named(tmp_path):
    pack = write_pack(tmp_path)
    with np.load(pack) as arrays:
        known = dict(arrays)
    known["blob"][:] = 0
    np.savez(pack, **known)
    with pytest.raises(DataError, match=r"pack\[0\]: This is not a picture"):
        load_task(pack).train.read(0)


@pytest.mark.parametrize(
    "damage", ["truncated", "manifest", "no labels", "no classes", "one text", "labels"]
)
def test_a_damaged_pack_is_refused(tmp_path, damage):
    pack = write_pack(tmp_path, labels=(0, 9, 0) if damage == "labels" else (0, 1, 0))
    if damage == "truncated":
        pack.write_bytes(pack.read_bytes()[:100])
    if damage == "manifest":
        pack.with_suffix(".json").write_text("{")
    if damage == "no classes":
        pack.with_suffix(".json").write_text("{}")
    if damage == "one text":
        pack.with_suffix(".json").write_text('{"classes": "ab"}')
    if damage == "no labels":
        np.savez(pack, blob=np.zeros(3))
    with pytest.raises(DataError, match=r"pack\.npz is not a pack that can be read"):
        load_task(pack)


def test_a_class_without_a_picture_is_named(tmp_path):
    write_folder(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError, match="no images to learn from in bird"):
        load_task(tmp_path)


def test_classes_of_a_pack_with_one_name_are_one(tmp_path, caplog):
    read = load_task(write_pack(tmp_path, classes=["crane", "crane"]))
    assert read.classes == ("crane",)
    assert [part.labels.tolist() for part in (read.train, read.val, read.test)] == [[0], [0], [0]]
    assert "pack.npz: Named more than once" in caplog.text


def test_joined_tasks_share_classes_of_the_same_name():
    first, second = task(classes=2, each=3), task(classes=3, each=2)
    joined = join_tasks([first, replace(second, name="more")])
    assert joined.classes == ("class 0", "class 1", "class 2")
    assert np.bincount(joined.train.labels).tolist() == [5, 5, 2]
    assert len(set(joined.train.keys)) == 12
    assert joined.train.keys[0] == "toys/0" and joined.train.keys[6] == "more/0"
