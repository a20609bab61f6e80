"""python -m drople reproduce: a miniature of the papers' tables, from nothing to the report."""

from __future__ import annotations

import re
import shutil

import pytest
from furnished import save_tiny_clip
from papers import lay_out

from drople.__main__ import main
from drople.evaluation.runs import read_results
from drople.training import run as training
from drople.training.run import read_log

SOME = "imagenet,eurosat,imagenetv2,imagenet_a"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """All data sets in CoOp's folders."""
    return lay_out(tmp_path_factory.mktemp("DATA"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The name of a random ViT of two layers."""
    return save_tiny_clip(tmp_path_factory.mktemp("clip") / "two", layers=2)


@pytest.fixture
def reproduce(laid_out, clip, tmp_path):
    """Runs the command on the miniature; its runs lie in the test's own folder."""

    def run(*options, root=laid_out):
        return main(
            ["reproduce", "--data-root", str(root), "--backbone", clip, "--device", "cpu",
             "--runs", str(tmp_path / "runs"), *options]
        )  # fmt: skip

    return run


def interrupt(patch, *, epoch):
    """Raises what Ctrl-C raises, in the first training that gets to an epoch."""
    whole = training.fit

    def interrupted(*args, **options):
        for report in whole(*args, **options):
            yield report
            if report.epoch == epoch:
                raise KeyboardInterrupt

    patch.setattr(training, "fit", interrupted)


@pytest.mark.slow
def test_a_miniature_is_killed_goes_on_and_is_reported(reproduce, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    options = ["--data", SOME, "--seeds", "1", "--epochs", "2"]
    options += ["--methods", "zero-shot,mpl,drople-code"]
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=1)
        assert reproduce(*options) == 130
    before = {file: file.stat().st_mtime_ns for file in (runs / "results").rglob("*.json")}
    (state,) = (runs / "trained").glob("*.state")
    assert before
    assert reproduce(*options) == 0
    said = capsys.readouterr().out
    assert "going on after epoch 1 of 2" in said
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert not [*(runs / "trained").glob("*.state")]
    steps = [(step["epoch"], step["step"]) for step in read_log(state.with_suffix(".jsonl"))]
    assert steps == sorted(set(steps))
    assert {epoch for epoch, _ in steps} == {0, 1}
    found = {(r.protocol, r.data, r.targets_option, r.method) for r in read_results(runs)}
    for method in ("zero-shot", "mpl", "drople-code"):
        for protocol in ("base-to-novel", "few-shot"):
            for data in ("imagenet", "eurosat"):
                assert (protocol, data, "", method) in found
        assert ("cross-dataset", "imagenet", "eurosat", method) in found
        assert ("cross-dataset", "imagenet", "imagenetv2,imagenet_a", method) in found
        assert ("long-tail", "eurosat", "", method) in found
    assert (runs / "RESULTS.md").is_file()
    page = (runs / "PAPERS.md").read_text()
    assert len(re.findall("^## ", page, re.MULTILINE)) == 5
    assert "| PromptSRC | 84.26 | 76.10 | 79.97 | PromptSRC's README |" in page
    assert "**not comparable**" in page
    assert "- mpl: epochs 2; batch 4; optimiser sgd; lr 0.0035; precision fp32" in page
    frozen = next(r for r in read_results(runs) if (r.method, r.protocol, r.data)
                  == ("zero-shot", "base-to-novel", "eurosat"))  # fmt: skip
    base, novel = frozen.accuracy["base"], frozen.accuracy["novel"]
    assert f"| zero-shot | {base:.2f} | {novel:.2f} |" in page.partition("eurosat:")[2]


def test_everything_that_is_missing_is_named_at_once_and_nothing_starts(
    reproduce, laid_out, tmp_path, capsys
):
    root = tmp_path / "DATA"
    shutil.copytree(laid_out, root)
    split = root / "eurosat" / "split_zhou_EuroSAT.json"
    split.unlink()
    shutil.rmtree(root / "imagenet-sketch")
    (root / "dtd" / "images" / "c0" / "test0.jpg").unlink()
    weights = tmp_path / "nothing"
    assert reproduce("--backbone", f"local-dir:{weights}", root=root) == 2
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line.startswith("missing  ")]
    assert lines[:2] == [
        "missing  dtd: split_zhou_DescribableTextures.json lists 1 files not in "
        f"{root}/dtd/images: c0/test0.jpg ...",
        f"missing  eurosat: no file {split}",
    ]
    assert lines[2] == f"missing  imagenet_sketch: no folder {root}/imagenet-sketch/images"
    assert str(weights) in lines[3]
    assert len(lines) == 4
    assert said.err.splitlines()[-1] == "error: 4 things are missing; nothing was started."
    assert not any((tmp_path / "runs").iterdir())
    whole = ["--tables", "domain", "--data", "imagenet,imagenet_r", "--methods", "mpl"]
    assert reproduce(*whole, "--check-only", root=root) == 0


def test_the_check_says_what_it_takes_and_runs_nothing(reproduce, tmp_path, capsys):
    options = ["--tables", "cross-dataset,domain", "--methods", "mpl", "--seeds", "1,2"]
    assert reproduce(*options, "--check-only") == 0
    said = capsys.readouterr().out
    (across,) = re.findall(r"^cross-dataset +(.*)", said, re.MULTILINE)
    trainings, steps, tested = across.split()[:3]
    # Two seeds; of ImageNet's three pictures a class one in five is for validation. MPL: 2 epochs.
    assert (trainings, tested) == ("2", str(2 * (8 + 10 * 6)))
    assert int(steps) == 2 * 2 * 2  # eight are learnt from, four at a time
    (domain,) = re.findall(r"^domain +(.*)", said, re.MULTILINE)
    assert domain.split()[0] == "0"  # it tests what cross-dataset learns
    assert re.search(r"a step of mpl: [\d.]+ s with 4 classes$", said, re.MULTILINE)
    assert re.search(r"^memory: ([\d.]+ [MG]B|not told)", said, re.MULTILINE)
    assert re.search(r"^disk: at most [\d.]+ MB; [\d.]+ [MG]B are free", said, re.MULTILINE)
    assert not any((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tables", "table-1"], "No table is called 'table-1'; known: base-to-novel, few-shot"),
        (["--data", "mnist"], "No data set of the papers is called 'mnist'"),
        (["--methods", "coop"], "No released recipe of 'coop' is known here; known: zero-shot"),
        (["--tables", "long-tail", "--data", "imagenet"], "Nothing is left to run of long-tail"),
        (["--seeds", "one"], "--seeds is 'one'"),
        (["--epochs", "0"], "epochs is 0"),
    ],
)
def test_a_wrong_option_is_one_line(reproduce, capsys, options, message):
    assert reproduce(*options) == 2
    assert message in capsys.readouterr().err
