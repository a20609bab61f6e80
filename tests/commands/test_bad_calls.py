"""Commands that cannot do what is asked: one line that says why and what to do, and exit code 2."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from drople.__main__ import main

EXPLAIN = ("explain", "DATA", "--classes", "cat", "--out", "out")
IMPORT = ("import", "noise", "--backbone", "mini", "--out", "o.safetensors")
TRAIN = ("train", "--data", "DATA", "--shots", "1", "--epochs", "1")
TEST = ("evaluate", "few-shot", "--data", "DATA", "--methods", "zero-shot")
REPORT = ("evaluate", "report", "--runs", "DATA")
CALLS = [
    (),
    ("explode",),
    ("explain",),
    *(("explain", path, *EXPLAIN[2:]) for path in ("gone", "noise", "pipe", "/dev/zero", "loop")),
    *((*EXPLAIN[:-1], path) for path in ("noise", "noise/below", "/proc/nobody", "a\0b", "loop")),
    *(
        (*EXPLAIN[:3], names, "--out", "out")
        for names in ("gone.txt", "./pipe", "", ",", "c" * 500)
    ),
    *((*EXPLAIN, "--prompts", path) for path in ("gone", "noise", "pipe", "DATA", "/dev/null")),
    *((*EXPLAIN, "--backbone", name) for name in ("gone", "local-dir:gone", "\x1b[31m", "DATA")),
    *((*EXPLAIN, "--draws", number) for number in ("-1", "nan", "1e9", "10000000")),
    *((*EXPLAIN, "--batch", number) for number in ("0", "-1", "0.5")),
    *((*EXPLAIN, "--seed", number) for number in ("-1", "inf", "9" * 30)),
    *((*EXPLAIN, "--template", words) for words in ("no place", "", "{}{}{0")),
    *(("import", path, *IMPORT[2:]) for path in ("gone", "noise", "pipe", "/dev/zero", "DATA")),
    *((*IMPORT[:-1], path) for path in ("DATA", "pipe", "/dev/full", "noise", "noise/below")),
    *(("replay", path) for path in ("gone", "noise", "pipe.npz", "DATA", "/dev/zero")),
    *(("info", path) for path in ("gone", "noise", "pipe", "DATA", "/dev/zero")),
    *(("train", "--data", path) for path in ("gone", "noise", "pipe", ",", "empty")),
    *((*TRAIN, "--out", path) for path in ("DATA", "pipe", "noise/below")),
    *((*TRAIN, "--runs", path) for path in ("noise", "pipe", "/proc/nobody")),
    *((*TRAIN, "--lr", number) for number in ("nan", "inf", "-1", "1e9", "x")),
    *((*TRAIN, "--seed", number) for number in ("-1", "9" * 30)),
    *((*TRAIN, "--epochs", number) for number in ("0", "-1", "1e3", "99999999")),
    *(
        (*TRAIN, "--set", f"{name}={value}")
        for name in ("dropout.p", "dropout.weights.s_cls", "losses.alignment", "plan.image_depth")
        for value in ("nan", "inf", "-1", "1e99", "x", "")
    ),
    *((*TRAIN, "--set", words) for words in ("x", "=", "dropout.q=1", "dropout.mode=burn")),
    *((*TEST, "--runs", path) for path in ("noise", "pipe")),
    *((*TEST, "--seeds", numbers) for numbers in ("", "nan", "1,,2", "-1")),
    (*TEST, "--methods", "drople,"),
    ("evaluate", "cross-dataset", "--data", "DATA", "--targets", "gone"),
    ("evaluate", "figures"),
    REPORT,
    *(("evaluate", "report", "--runs", path) for path in ("gone", "noise.zip", "pipe.zip")),
    *((*REPORT, "--out", path) for path in ("DATA", "pipe", "noise/below")),
    *((*REPORT, "--notes", path) for path in ("gone", "pipe", "DATA")),
    *((*REPORT, "--zip", path) for path in ("DATA", "/dev/full")),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures of two classes, noise, pipes and a link to itself."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("cat", "dog"):
        (folder / "DATA" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40, 40), (80 * i, 0, 0)).save(folder / "DATA" / name / f"{i}.png")
    (folder / "empty").mkdir()
    for name in ("noise", "noise.zip"):
        (folder / name).write_bytes(bytes(range(256)))
    for name in ("pipe", "pipe.npz", "pipe.zip"):
        os.mkfifo(folder / name)
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.mark.parametrize("call", CALLS, ids=lambda call: ascii(" ".join(call))[1:60])
def test_what_cannot_be_done_is_one_line_and_exit_code_two(place, monkeypatch, capsys, call):
    monkeypatch.chdir(place)
    try:
        code = main(call)
    except SystemExit as error:  # how argparse ends
        code = error.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert line.endswith(".")
    assert len(line) < 1000


def test_debug_shows_where_an_error_comes_from(capsys):
    assert main(["info", "gone.safetensors", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("error: There is no file gone.safetensors")
