"""python -m drople, on a tiny backbone and a folder of pictures."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from drople.__main__ import main
from drople.analysis import analyse
from drople.commands import convert, evaluate, replay, train
from drople.evaluation.cost import read_costs
from drople.evaluation.runs import read_results
from drople.storage.analyses import save_analysis
from drople.storage.prompts import load_prompts
from drople.training.data import load_task

QUICK = ["--epochs", "1", "--shots", "2", "--precision", "fp32", "--device", "cpu"]


@pytest.fixture
def here(tmp_path, monkeypatch, backbone):
    """A folder with pictures of four classes, in which the commands run on the tiny backbone."""
    rng = np.random.default_rng(0)
    for name in ("boat", "cat", "dog", "house"):
        (tmp_path / "DATA" / "pets" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "DATA" / "pets" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    for command in (evaluate, replay, train, convert):
        monkeypatch.setattr(command, "load_backbone", lambda name, device="cpu": backbone)
    return tmp_path


def base_to_novel(*options: str) -> int:
    """Runs the protocol of the main results."""
    return main(["evaluate", "base-to-novel", "--data", "DATA/pets", *QUICK, *options])


def test_every_method_and_seed_is_run_beside_the_frozen_branch(here):
    assert base_to_novel("--methods", "drople,coop", "--seeds", "1,2") == 0
    found = {(result.method, result.seed) for result in read_results(here / "runs")}
    assert found == {
        ("zero-shot", 0),
        ("drople", 1),
        ("drople", 2),
        ("coop", 1),
        ("coop", 2),
    }


def report_in(folder):
    """All that the report holds, but for the machine's own figures."""
    pages = [folder / "RESULTS.md", *sorted((folder / "docs" / "results").iterdir())]
    return "\n".join(page.read_text().partition("## Cost")[0] for page in pages)


def test_the_commands_of_the_report_make_its_numbers_again(here):
    base_to_novel("--methods", "drople", "--seeds", "1,2", "--set", "dropout.p_max=0.6")
    main(["evaluate", "choice", "--data", "DATA/pets", "--seeds", "2", *QUICK])
    main(["evaluate", "report"])
    text = report_in(here)
    commands = [line.split("`")[1] for line in text.splitlines() if "`python -m" in line]
    for command in commands:
        main([*shlex.split(command)[3:], "--runs", "again"])
    main(["evaluate", "report", "--runs", "again", "--out", "elsewhere/RESULTS.md"])
    assert report_in(here / "elsewhere") == text


def test_the_frozen_branch_can_be_asked_for_alone(here):
    assert base_to_novel("--methods", "zero-shot", "--seeds", "1,2,3") == 0
    assert [result.method for result in read_results(here / "runs")] == ["zero-shot"]


@pytest.mark.parametrize("protocol", ["few-shot", "long-tail", "pgd"])
def test_each_protocol_is_one_command(here, protocol):
    assert main(["evaluate", protocol, "--data", "DATA/pets", "--methods", "coop", *QUICK]) == 0
    assert {result.protocol for result in read_results(here / "runs")} == {protocol}


def test_costs_are_measured_in_turns_and_kept(here, capsys):
    options = ["--data", "DATA/pets", "--methods", "zero-shot,drople-none,drople", *QUICK]
    assert main(["evaluate", "cost", *options, "--epochs", "3"]) == 0
    (together,) = read_costs(here / "runs")
    assert [one.method for one in together] == ["drople-none", "drople"]
    assert len({len(one.seconds) for one in together}) == 1
    assert min(second for one in together for second in one.seconds) > 0
    assert "drople-none" in capsys.readouterr().out


def test_cross_dataset_takes_its_targets_from_an_option(here):
    options = ["--data", "DATA/pets", "--targets", "DATA/pets", "--methods", "zero-shot", *QUICK]
    assert main(["evaluate", "cross-dataset", *options]) == 0
    (result,) = read_results(here / "runs")
    assert result.accuracy["source"] == result.accuracy["pets"]


def test_training_writes_prompts_that_load(here, backbone, capsys):
    options = ["--method", "drople-vanilla", "--seed", "3", "--out", "p.safetensors"]
    options += ["--classes", "base"]
    assert main(["train", "--data", "DATA/pets", *QUICK, *options]) == 0
    _, card = load_prompts(here / "p.safetensors", backbone)
    assert (card.method, card.seed, card.classes) == ("drople-vanilla", 3, ("boat", "cat"))
    assert {"adapted_base", "frozen_novel", "train_seconds"} <= card.metrics.keys()
    assert capsys.readouterr().out.endswith("python app.py --prompts p.safetensors\n")


def test_the_precision_that_is_faster_is_said_and_kept(here, backbone, capsys):
    at = QUICK.index("--precision")
    quick = [*QUICK[:at], *QUICK[at + 2 :]]
    assert main(["train", "--data", "DATA/pets", *quick, "--out", "p.safetensors"]) == 0
    taken = load_prompts(here / "p.safetensors", backbone)[1].training["precision"]
    assert taken in ("fp32", "bf16")
    assert f"--precision {taken}: the faster one on cpu" in capsys.readouterr().out
    chosen = ["--methods", "zero-shot", *quick]
    assert main(["evaluate", "base-to-novel", "--data", "DATA/pets", *chosen]) == 0
    assert [one.config["precision"] for one in read_results(here / "runs")] == [taken]


def test_the_precision_is_no_other_setting(here, capsys):
    assert base_to_novel("--set", "precision=bf16") == 2
    assert "write --precision fp32 or bf16" in capsys.readouterr().err


def test_training_on_all_classes_is_tested_on_all(here, backbone, capsys):
    assert main(["train", "--data", "DATA/pets", *QUICK, "--out", "p.safetensors"]) == 0
    _, card = load_prompts(here / "p.safetensors", backbone)
    assert card.classes == ("boat", "cat", "dog", "house")
    assert {"adapted_accuracy", "frozen_accuracy"} <= card.metrics.keys()
    said = capsys.readouterr().out
    assert f"adapted  accuracy {card.metrics['adapted_accuracy']:.2f}" in said
    assert "percent of 12 test images" in said
    (log,) = (here / "runs" / "trained").glob("*.jsonl")
    assert str(log.relative_to(here)) in said


def test_a_damaged_test_image_is_named_and_costs_no_prompts(here, backbone, capsys):
    damaged = load_task("DATA/pets").test.keys[0]
    (here / "DATA" / "pets" / damaged).write_text("I am no picture")
    assert main(["train", "--data", "DATA/pets", *QUICK, "--out", "p.safetensors"]) == 2
    assert damaged in capsys.readouterr().err
    load_prompts(here / "p.safetensors", backbone)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_learnt(here, capsys):
    out = "DATA/pets/cat/0.png/p.safetensors"
    assert main(["train", "--data", "DATA/pets", *QUICK, "--out", out]) == 2
    said = capsys.readouterr().err
    assert f"{out} cannot be written" in said
    assert "Choose another --out." in said
    assert not (here / "runs").exists()


def test_stopping_says_how_to_go_on(here, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_run", stop)
    assert main(["train", "--data", "DATA/pets", *QUICK]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_picture_that_was_replaced_is_not_taken_for_the_old_one(here, part):
    base_to_novel("--methods", "drople")
    images = getattr(load_task("DATA/pets").base().few(2, 1), part)
    Image.new("RGB", (32, 32), "red").save(here / "DATA" / "pets" / images.keys[-1])
    base_to_novel("--methods", "drople")
    found = [result.method for result in read_results(here / "runs")]
    assert sorted(found) == ["drople", "drople", *["zero-shot"] * (2 if part == "test" else 1)]


def test_a_stored_analysis_is_replayed_with_the_prompts_it_was_made_with(here, backbone, capsys):
    for seed in ("1", "2"):
        main(
            ["train", "--data", "DATA/pets", *QUICK, "--seed", seed, "--out", f"{seed}.safetensors"]
        )
    model, _ = load_prompts("1.safetensors", backbone)
    save_analysis("a.npz", analyse(model, Image.open("DATA/pets/cat/0.png"), ["cat", "dog"]))
    assert main(["replay", "a.npz", "--prompts", "1.safetensors"]) == 0
    assert "equal, within" in capsys.readouterr().out
    assert main(["replay", "a.npz", "--prompts", "2.safetensors"]) == 2
    assert main(["replay", "a.npz"]) == 2
    assert "Name their file with --prompts" in capsys.readouterr().err


def test_a_checkpoint_of_other_code_becomes_prompts_of_ours(here, backbone, capsys):
    torch.save({"state_dict": {"ctx": torch.ones(4, 48)}}, "model.pth.tar-50")
    options = ["--method", "kgcoop", "--data", "pets", "--out", "k.safetensors"]
    assert main(["import", "model.pth.tar-50", *options]) == 0
    assert "used: 1 tensors" in capsys.readouterr().out
    model, card = load_prompts("k.safetensors", backbone)
    assert (card.method, card.data) == ("kgcoop", "pets")
    assert float(model.prompts.text.min()) == 1.0


def test_info_says_what_a_file_says_of_itself(here, capsys):
    main(["train", "--data", "DATA/pets", *QUICK, "--out", "p.safetensors"])
    capsys.readouterr()
    assert main(["info", "p.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "drople on pets" in said
    assert "4 classes (boat, cat, dog, house), 2 shots" in said


def test_info_lists_the_backbones_that_load(capsys):
    assert main(["info", "--backbones"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "mini  comes with the project"
    assert any(line.startswith("ViT-B-16/openai  ") for line in said)
    assert not any("SigLIP" in line or line.startswith("RN50") for line in said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "base-to-novel", "--methods", "droppl"], "No method is called 'droppl'"),
        (["evaluate", "base-to-novel", "--seeds", "one"], "--seeds is 'one'"),
        (["evaluate", "domain-shift"], "pets has no domains"),
        (["evaluate", "cross-dataset"], "needs --targets"),
        (["evaluate", "pgd", "--set", "dropout.q=1"], "no setting “dropout.q”"),
        (["evaluate", "few-shot", "--root", "."], "No data set is called 'DATA/pets'"),
        (["train", "--method", "zero-shot"], "zero-shot learns nothing"),
        (["train", "--set", "shots=0"], "shots is 0; it must lie in [1, 1000000]"),
        (["train", "--set", "batch=-3"], "batch is -3; it must lie in [1, 1000000]"),
        (["train", "--lr", "-1"], "lr is -1"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_two(here, capsys, arguments, message):
    assert main([*arguments, "--data", "DATA/pets", *QUICK]) == 2
    assert message in capsys.readouterr().err
