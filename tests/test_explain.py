"""A folder of images as a table: its numbers are the app's, and a kill loses nothing."""

from __future__ import annotations

import csv
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image
from tiny import NAMES, prompted

from drople.__main__ import main
from drople.analysis import AnalysisSettings, analyse
from drople.class_texts import describe_classes
from drople.commands import explain as command
from drople.errors import DataError
from drople.explain import explain, find_images
from drople.selectivity import meter
from drople.storage.tables import COLUMNS, HEADER, Row, Table, about_table
from drople.tokens.dropout import DropoutSettings

DROPOUT = DropoutSettings(mode="hide", p_min=0.2, p_max=0.9, image_depth=3)
SETTINGS = AnalysisSettings(dropout=DROPOUT, seed=3)


@pytest.fixture
def folder(tmp_path):
    """Seven pictures of noise in two folders, one file that is no picture."""
    rng = np.random.default_rng(0)
    for i in range(7):
        (tmp_path / "images" / f"{i % 2}").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i % 2}" / f"{i}.png")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "images"


def explained(model, folder, **options):
    texts = describe_classes(model, NAMES)
    batches = explain(
        model, folder, find_images(folder), classes=texts, settings=SETTINGS, **options
    )
    return {row.image: row for batch in batches for row in batch}


def test_each_row_says_what_an_analysis_of_that_image_says(folder, model):
    rows = explained(model, folder, draws=0, batch=3)
    assert len(rows) == 8
    for name in ("0/0.png", "1/5.png"):
        row, found = rows[name], analyse(model, Image.open(folder / name), NAMES, SETTINGS)
        frozen, adapted = found.predictions["frozen"], found.predictions["adapted"]
        assert row.frozen == NAMES[frozen.cosines.argmax()]
        assert row.adapted == NAMES[adapted.cosines.argmax()]
        assert row.frozen_probability == pytest.approx(frozen.probabilities.max(), abs=1e-5)
        assert row.adapted_cosine == pytest.approx(adapted.cosines.max(), abs=1e-5)
        assert row.disagree == (row.frozen != row.adapted)
        gap = np.abs(frozen.probabilities - adapted.probabilities).sum() / 2
        assert row.total_variation == pytest.approx(gap, abs=1e-5)
        meters = [meter(layer, 0.9) for layer in found.images["adapted"].layers]
        known = [one for one in meters if one]
        assert row.protected == pytest.approx(np.mean([m.protected for m in known]), rel=1e-4)
        assert row.mean_p == pytest.approx(np.mean([m.mean for m in known]), rel=1e-5)
        assert (row.draws, row.flip_rate) == (0, None)


def test_flips_are_those_of_analyses_with_these_seeds(folder, model):
    rows = explained(model, folder, draws=4, batch=5)
    for name in ("0/2.png", "1/1.png"):
        flips = 0
        for seed in range(3, 7):
            settings = replace(SETTINGS, seed=seed)
            found = analyse(model, Image.open(folder / name), NAMES, settings).predictions
            flips += found["iwtd"].cosines.argmax() != found["adapted"].cosines.argmax()
        assert rows[name].flip_rate == flips / 4
        assert rows[name].flip_low <= flips / 4 <= rows[name].flip_high


def test_the_size_of_a_batch_changes_nothing(folder, model):
    one, many = (explained(model, folder, draws=3, batch=size) for size in (1, 64))
    assert list(one) == list(many)
    for name, row in one.items():
        assert (row.frozen, row.adapted, row.flip_rate, row.error) == (
            many[name].frozen, many[name].adapted, many[name].flip_rate, many[name].error
        )  # fmt: skip


def test_a_file_that_is_no_picture_is_a_row_with_the_reason(folder, model):
    row = explained(model, folder, draws=1)["broken.jpg"]
    assert "not a picture" in row.error
    assert row.frozen is None


def test_without_prompts_there_is_the_frozen_branch_alone(folder, backbone):
    row = explained(backbone, folder)["0/0.png"]
    assert row.frozen in NAMES
    assert (row.adapted, row.disagree, row.flip_rate) == (None, None, None)


def test_no_image_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        find_images(tmp_path / "nowhere")


# --- the table on disk ------------------------------------------------------------------------


@pytest.fixture
def commanded(folder, monkeypatch, backbone):
    """Runs the command on the folder with the frozen tiny backbone."""
    monkeypatch.setattr(command, "load_backbone", lambda name, device: backbone)
    monkeypatch.chdir(folder.parent)
    ask = ["explain", "images", "--classes", ", ".join(NAMES), "--out", "out", "--device", "cpu"]
    return lambda *options: main([*ask, "--batch", "2", *options])


def read(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_run_goes_on_where_it_was(commanded, folder):
    assert commanded() == 0
    path = folder.parent / "out" / "rows.csv"
    whole = path.read_text()
    assert {row["image"] for row in read(path)} == {
        p.relative_to(folder).as_posix() for p in find_images(folder)
    }
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][:7])  # killed in the middle of a line
    assert commanded() == 0
    assert path.read_text() == whole


def test_a_table_made_otherwise_is_not_gone_on_with(commanded):
    assert commanded() == 0
    assert commanded("--seed", "9") == 2


def test_several_processes_share_the_images(commanded, folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert commanded() == 0
    parts = [read(folder.parent / "out" / f"rows-{i}of2.csv") for i in (1, 2)]
    assert [len(part) for part in parts] == [4, 4]
    assert len({row["image"] for part in parts for row in part}) == 8


def test_names_with_commas_and_quotes_survive(tmp_path, backbone):
    texts = describe_classes(backbone, ['the "dog, or cat"', "boat"])
    table = Table.open(tmp_path, about_table(backbone, texts, SETTINGS))
    Image.new("RGB", (40, 40)).save(tmp_path / 'a, "b".png')
    images = find_images(tmp_path)
    for rows in explain(backbone, tmp_path, images, classes=texts, settings=SETTINGS):
        table.add(rows, dict(zip(['a, "b".png'], images, strict=True)))
    (row,) = read(table.rows)
    assert row["image"] == 'a, "b".png'
    assert row["frozen"] in texts.names
    assert tuple(row) == HEADER == tuple(one.name for one in fields(Row))


def test_the_table_has_its_columns_explained_beside_it(commanded, folder):
    assert commanded() == 0
    lines = (folder.parent / "out" / "columns.txt").read_text().splitlines()
    assert [line.split(": ", 1) for line in lines] == [[*one] for one in COLUMNS.items()]


def test_prompts_of_another_shape_are_taken_too(folder, backbone):
    assert explained(prompted(backbone, bridge=0), folder, draws=2)["0/0.png"].flip_rate is not None


def test_a_replaced_picture_and_a_damaged_line_are_computed_anew(commanded, folder, caplog):
    assert commanded() == 0
    path = folder.parent / "out" / "rows.csv"
    whole = read(path)
    Image.new("RGB", (64, 64), "red").save(folder / "0" / "0.png")
    path.write_text(path.read_text().replace("1/1.png,,", "1/1.png,x,"))
    assert commanded() == 0
    assert "1 rows are damaged" in caplog.text
    assert "1 rows are of replaced pictures" in caplog.text
    again = {row["image"]: row for row in read(path)}
    assert len(again) == len(whole)
    changed = [row["image"] for row in whole if again[row["image"]] != row]
    assert changed == ["0/0.png"]


def test_a_picture_that_was_only_touched_keeps_its_row(commanded, folder, caplog):
    assert commanded() == 0
    (folder / "0" / "0.png").touch()
    assert commanded() == 0
    assert not caplog.text


def test_a_table_without_its_settings_is_refused(commanded, folder, capsys):
    assert commanded() == 0
    (folder.parent / "out" / "about.json").unlink()
    assert commanded() == 2
    assert "says how it was made" in capsys.readouterr().err


def test_a_name_that_is_a_formula_or_not_utf8_is_a_row_once(commanded, folder):
    (folder / "0" / "0.png").rename(folder / "=1+1.png")
    (folder / "0" / "2.png").rename(folder / "caf\udce9.png")
    for _ in range(2):
        assert commanded() == 0
        names = [row["image"] for row in read(folder.parent / "out" / "rows.csv")]
        assert len(names) == 8
        assert {"'=1+1.png", r"caf\udce9.png"} <= {*names}


def test_a_place_that_is_a_file_is_refused(commanded, folder, capsys):
    (folder.parent / "out").write_text("x")
    assert commanded() == 2
    assert "Choose another --out" in capsys.readouterr().err
