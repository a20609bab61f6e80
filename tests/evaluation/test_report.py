"""The report's pages say what the runs' files say, and what they do not."""

from __future__ import annotations

import json
from dataclasses import replace
from zipfile import ZipFile

import pytest
from reports import row

from drople.errors import DataError
from drople.evaluation.report import write_report
from drople.evaluation.runs import REPORTED
from drople.training.config import METHODS


def test_a_row_holds_mean_and_deviation_over_the_seeds(finished, report):
    for seed, base in ((1, 20), (2, 24), (3, 28)):
        finished("drople", base, 20, seed=seed)
    # 50, 60 and 70 %, and the harmonic means with 50: 50, 54.545 and 58.333
    assert row(report(), "drople")[1:5] == [
        *("60.00 ± 10.00", "50.00 ± 0.00", "54.29 ± 4.17"),
        "1, 2, 3",
    ]


def test_a_row_holds_the_command_that_makes_it(finished, report):
    for seed in (1, 2):
        finished("drople", 20, 20, seed=seed, settings={"epochs": 4, "dropout.p_max": 0.7})
    assert row(report(), "drople")[-1] == (
        "`python -m drople evaluate base-to-novel --data DATA/pets --methods drople --seeds 1,2 "
        "--precision fp32 --set dropout.p_max=0.7 epochs=4`"
    )


def test_a_command_quotes_what_a_shell_would_break(finished, report):
    finished("drople", 20, 20, settings={"template": "a {}."})
    assert "'template=a {}.'" in report()


def test_a_named_data_set_is_commanded_by_name(finished, report):
    finished("mpl", 20, 20, data_option="dtd", backbone="ViT-B-16/openai")
    assert "--data dtd --root ROOT --backbone ViT-B-16/openai --methods mpl" in report()


def test_other_weights_of_a_backbone_are_another_table(finished, report, tmp_path):
    finished("drople", 20, 20)
    finished("drople", 30, 20, weights="0123456789abcdef")
    text = report()
    opening = (tmp_path / "RESULTS.md").read_text()
    assert "With mini@abcdef:" in opening
    assert "With mini@012345:" in opening
    rows = [line for line in text.splitlines() if line.startswith("| drople |")]
    assert len(rows) == 3  # a table each, and the methods as declared


def test_a_declaration_that_has_changed_since_shows_as_a_setting(finished, report, monkeypatch):
    finished("drople", 20, 20)
    finished("drople", 20, 20, seed=2)
    monkeypatch.setitem(METHODS, "drople", replace(METHODS["drople"], lr=0.01))
    assert "--set lr=0.002" in row(report(), "drople")[-1]


def test_a_run_that_is_there_twice_is_refused(finished, report):
    finished("drople", 20, 20)
    finished("drople", 22, 20)
    with pytest.raises(DataError, match="drople, seed 1 and the same settings"):
        report()


def test_rows_are_compared_over_the_seeds_they_share(finished, report):
    for seed, base in ((1, 20), (2, 28)):
        finished("drople", base, 20, seed=seed)
    finished("drople-self", 24, 20, seed=1)
    text = report().partition("## Every row minus DroPLe")[2]
    cells = row(text, "drople-self")
    assert cells[1].startswith("+10.00 [")
    assert cells[-1] == "1"


def test_notes_stand_before_the_accuracies(finished, tmp_path):
    finished("drople", 20, 20)
    (tmp_path / "NOTES.md").write_text("## The data\n\nSmall pictures.\n")
    write_report(tmp_path / "runs", tmp_path / "RESULTS.md", notes=tmp_path / "NOTES.md")
    text = (tmp_path / "docs" / "results" / "accuracies.md").read_text()
    assert text.index("Small pictures.") < text.index("| drople |")


def test_the_packed_runs_say_what_the_folder_says(finished, costed, tmp_path):
    finished("drople", 20, 20)
    costed({"drople": [0.6, 1.1]})
    folder, text, packed = tmp_path / "runs", tmp_path / "RESULTS.md", tmp_path / "runs.zip"
    (folder / "trained").mkdir()
    (folder / "trained" / "large.safetensors").write_text("")
    write_report(folder, text, packed=packed)
    pages = sorted((tmp_path / "docs" / "results").iterdir())
    written = [file.read_text() for file in pages]
    for _ in range(2):  # packed again, and over itself
        write_report(packed, tmp_path / "AGAIN.md", packed=packed)
        assert (tmp_path / "AGAIN.md").read_text() == text.read_text()
        assert [file.read_text() for file in pages] == written
    assert {name.split("/")[0] for name in ZipFile(packed).namelist()} == {"results", "costs"}


def test_a_zip_that_is_none_is_named(tmp_path):
    (tmp_path / "runs.zip").write_text("no zip")
    for name in ("runs.zip", "absent.zip"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a ZIP"):
            write_report(tmp_path / name, tmp_path / "RESULTS.md")


def test_a_setting_that_was_taken_away_is_a_row_of_its_own(finished, report):
    finished("promptsrc", 20, 20)
    finished("promptsrc", 24, 20, settings={"gaussian_epochs": None})
    text = report()
    assert row(text, "promptsrc")[1] == "50.00"
    assert row(text, "promptsrc (gaussian_epochs null)")[1] == "60.00"


def test_methods_are_described_as_they_are_declared(finished, report):
    finished("promptsrc", 20, 20)
    finished("drople-none", 20, 20)
    after = report().partition("## Methods as declared")[2]
    assert row(after, "promptsrc")[2:4] == ["4 x 9", "4 x 9"]
    assert "80 templates" in row(after, "promptsrc")
    assert row(after, "drople-none")[-1] == "none"


def test_methods_that_hit_alike_show_no_difference(finished, report):
    for method in ("drople", "drople-none", "drople-vanilla"):
        finished(method, 20, 20)
    cells = row(report(), "drople minus drople-vanilla")
    assert cells[1:] == [*["+0.00 [+0.00, +0.00]"] * 3, "1"]


def test_settings_of_every_row_are_said_once_and_others_in_the_row(finished, report):
    finished("drople", 20, 20, settings={"epochs": 4})
    finished("drople", 22, 20, settings={"epochs": 4, "dropout.p_max": 0.7})
    text = report()
    assert (
        "Every learnt row, unless it says otherwise: shots 16, epochs 4, batch 16, lr 0.002."
        in text
    )
    assert row(text, "drople (dropout.p_max 0.7)")[1] == "55.00"


def test_ablations_are_set_against_droples_own_row(finished, report):
    finished("drople", 20, 20)
    finished("drople-self", 24, 20)
    finished("drople", 18, 20, settings={"losses.alignment": 0.0})
    text = report().partition("## Every row minus DroPLe")[2]
    assert row(text, "drople-self")[1].startswith("+10.00 [")
    assert row(text, "drople (losses.alignment 0.0)")[1].startswith("-5.00 [")


def test_rivals_with_a_changed_setting_are_set_against_droples_row_with_it(finished, report):
    wide = {"dropout.p_max": 0.5}
    finished("drople", 20, 20)
    finished("drople-vanilla", 20, 20)
    finished("drople", 26, 20, settings=wide)
    finished("drople-vanilla", 24, 20, settings=wide)
    after = report().partition("| minus drople (dropout.p_max 0.5) |")[2]
    assert row(after, "drople-vanilla (dropout.p_max 0.5)")[1].startswith("-5.00 [")
    assert "| drople-vanilla |" not in after.partition("\n\n")[0]


def test_validation_runs_stand_apart_from_the_test_results(finished, report):
    finished("drople", 20, 20)
    finished("drople", 40, 40, split="val", settings={"lr": 0.01})
    before, _, after = report().partition("## What was tried, on validation data")
    assert "100.00" not in before
    assert "--split val --precision fp32 --set lr=0.01" in after
    assert "\nTest images: base 40, novel 40." in before
    assert "\nValidation images: base 40, novel 40." in after


def test_costs_are_relative_to_no_dropout_at_equal_depths(finished, costed, report):
    finished("drople", 20, 20, cost={"peak_mib": 950.0})
    finished("drople", 20, 20, seed=2, cost={"peak_mib": 960.0})
    finished("drople", 20, 20, cost={"peak_mib": 1.0}, settings={"shots": 2})
    costed({"drople-none": [0.5, 1.0, 0.4], "drople": [0.6, 1.1, 0.52], "coop": [0.2, 0.2, 0.1]})
    text = report().partition("## Cost")[2]
    start = "pets, mini@abcdef"
    assert row(text, f"{start} | drople-none")[2:5] == ["0.50", "1.00 (1.00 to 1.00)", "3"]
    assert row(text, f"{start} | drople")[2:] == ["0.60", "1.20 (1.10 to 1.30)", "3", "955", "cpu"]
    assert row(text, f"{start} | coop")[2:] == ["0.20", "", "3", "", "cpu"]
    command = "python -m drople evaluate cost --data DATA/pets --methods drople-none,drople,coop"
    assert f"- `{command} --seeds 1 --precision fp32`" in text


def test_single_seeds_and_absent_rows_are_named(finished, report):
    finished("drople", 20, 20)
    missing = report().partition("## What is missing")[2]
    assert (
        "base-to-novel on pets, mini@abcdef: no run of drople-none, drople-vanilla, mpl." in missing
    )
    assert "base-to-novel on pets, mini@abcdef: drople has a single seed." in missing
    assert "No test of the protocols few-shot" in missing


def test_published_numbers_are_labelled_as_published(finished, report):
    finished("drople", 20, 20)
    before, _, after = report().partition("## Published numbers, not ours")
    assert "79.97" not in before
    assert row(after, "PromptSRC")[3] == "79.97"


@pytest.mark.parametrize(
    "change", [{"settings": {}}, {"config": {}}, {"config": {name: ["x"] for name in REPORTED}}]
)
def test_a_run_of_another_version_is_named(finished, report, tmp_path, change):
    finished("drople", 20, 20)
    (file,) = (tmp_path / "runs").rglob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=rf"{file.name} was written by another version"):
        report()


@pytest.mark.parametrize(
    "change",
    [
        *(
            {name: value}
            for name in ("method", "seed", "accuracy", "config")
            for value in ([], 1.5)
        ),
        {"accuracy": {"base": 50.0}},
        {"accuracy": {"base": 99.0, "novel": 50.0}},
        {"samples": {}},
        {"images": {"base": "40", "novel": 40}},
    ],
)
def test_a_damaged_record_is_named(finished, report, tmp_path, change):
    finished("drople", 20, 20)
    (file,) = (tmp_path / "runs").rglob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=rf"{file.name} is damaged \(.*\)\. Delete it"):
        report()


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_half_a_file_in_a_zip_is_named(finished, tmp_path, ending):
    finished("drople", 20, 20)
    with ZipFile(tmp_path / "runs.zip", "w") as packed:
        for file in (tmp_path / "runs").rglob("*.*"):
            data = file.read_bytes()
            half = len(data) // (2 if file.suffix == f".{ending}" else 1)
            packed.writestr(str(file.relative_to(tmp_path / "runs")), data[:half])
    with pytest.raises(DataError, match=rf"\.{ending} is damaged"):
        write_report(tmp_path / "runs.zip", tmp_path / "RESULTS.md")


def test_the_frozen_branch_alone_is_reported(finished, report):
    finished("zero-shot", 20, 20)
    assert "zero-shot" in report()


def test_without_runs_there_is_no_report(tmp_path, report):
    with pytest.raises(DataError, match="No finished run"):
        report()
    assert not (tmp_path / "RESULTS.md").exists()
