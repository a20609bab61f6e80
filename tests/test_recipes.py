"""The recipes of CONTRIBUTING.md, followed word for word in a copy of the tree."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tiny import TEXT, VISION, noise_picture

from drople import load_backbone
from drople.models.stem import build_clip

ROOT = Path(__file__).parents[1]
COPIED = ("app", "assets", "drople", "tests")
PIECE = re.compile(r"^# (\S+\.py): (.+)\n", re.MULTILINE)
pytestmark = pytest.mark.slow

# What the copy is asked once all recipes are followed: the page, an analysis and a training step.
ASKED = """
import json
import sys
from pathlib import Path

from analysed import ask, tiny
from furnished import FurnishedStudio, save_fresh_prompts, save_tiny_clip
from squares import coloured_squares

import app
from app.demo import build_demo
from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES
from app.form import Form, dropout_values, settings_of
from app.page import Page
from app.lab.display.modes import MEANINGS
from drople.lab.modes import variants
from drople.tokens.dropout import COMPARED, DropoutSettings
from drople.tokens.importance import SignalWeights
from drople.training.config import METHODS
from drople.training.loop import build_model, fit
from drople.training.overrides import override

folder = Path(sys.argv[1])
backbone = save_tiny_clip(folder / "clip")
studio = FurnishedStudio(folder / "fresh.safetensors")
save_fresh_prompts(studio.files[0], studio.load(backbone).model)
parts = build_demo(studio).get_config_file()["components"]
strategies = ("vanilla", "iwtd", "below-mean")
dropped = ask(strategies=strategies, dropout=DropoutSettings(mode="halve", p=0.5))
weighed = ask(dropout=DropoutSettings(weights=SignalWeights(s_others=9)))
config = override(METHODS["coop"], ["losses.apart=2", "batch=4"])
step = next(fit(build_model(tiny(), config), coloured_squares(), config)).terms
form = Form(mode="halve", placement="next", w_others=2.0)
json.dump({
    "file": app.__file__,
    "choices": [one["props"].get("choices") or [] for one in parts],
    "info": [one["props"].get("info") or "" for one in parts],
    "labels": [one["props"].get("label") or "" for one in parts],
    "compared": COMPARED,
    "name": CONDITION_NAMES["below-mean"],
    "colour": CONDITION_COLOURS["below-mean"],
    "colours": [CONDITION_COLOURS[name] for name in COMPARED],
    "options": Page(studio).api_options()["modes"],
    "variants": [*variants(DropoutSettings())],
    "meaning": MEANINGS["halve"],
    "conditions": dropped.conditions,
    "dropped": [int(layer.dropped.sum()) for layer in dropped.images["below-mean"].layers
                if layer.dropped is not None],
    "signals": [*weighed.images["adapted"].layers[0].shares],
    "share": weighed.images["adapted"].layers[0].shares["s_others"].sum().item(),
    "weighed": settings_of(form, trained=DropoutSettings()).dropout.weights.s_others,
    "shown": dropout_values(DropoutSettings())["w_others"],
    "terms": step,
    "method": METHODS["drople-post"].dropout.placement,
}, sys.stdout)
"""


def pieces():
    """(file, where, lines) of all code under Recipes, in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split("\n## Recipes\n")[1].split("\n## ")[0]
    for code in re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
        parts = PIECE.split(code)
        assert not parts[0], "code of a recipe begins with where it goes"
        yield from zip(parts[1::3], parts[2::3], parts[3::3], strict=True)


def inserted(text, where, lines):
    """A module's text with the lines of a recipe where it says."""
    rows, (word, _, rest) = text.splitlines(keepends=True), where.partition(" ")
    if where == "at the end":
        return f"{text}\n\n{lines}"
    if word in ("after", "before"):
        at = next(i for i, row in enumerate(rows) if rest in row) + (word == "after")
    else:
        name = re.fullmatch(r"last in (\w+)", where)[1]
        (node,) = (one for one in ast.parse(text).body if name in defined(one))
        at = node.end_lineno - 1  # the closing bracket
        if isinstance(node, ast.ClassDef):
            at = max(one.end_lineno for one in node.body if isinstance(one, ast.AnnAssign))
    return "".join([*rows[:at], lines, *rows[at:]])


def defined(node):
    """The names that a statement of a module gives."""
    if isinstance(node, ast.AnnAssign):
        return [node.target.id]
    return [node.name] if isinstance(node, ast.ClassDef) else []


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the tree in which all recipes have been followed."""
    copy = tmp_path_factory.mktemp("recipes") / "tree"
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder)
    (copy / "checkpoints").symlink_to(ROOT / "checkpoints")
    for name in ("CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for name, where, lines in pieces():
        file = copy / name
        if where == "a new file":
            file.write_text(lines)
        else:
            file.write_text(inserted(file.read_text(), where, lines))
    add_tab(copy)
    return copy


def add_tab(copy):
    """Follows the recipe of a tab, with the lab view's file for it."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    opened, shown = re.findall(r"`(with gr\.Tab\(.+?|views \+= .+?)`", text)
    view = (copy / "app" / "lab" / "norms.py").read_text()
    view = view.replace("from app.lab.bench import Bench\n", "").replace("bench: Bench", "")
    (copy / "app" / "tabs" / "norms.py").write_text(view)
    file = copy / "app" / "demo.py"
    demo = file.read_text().replace("import batch, method,", "import batch, method, norms,")
    lab = '            with gr.Tab("Lab",'
    demo = demo.replace(lab, f"{' ' * 12}{opened}\n{' ' * 16}{shown}\n{lab}")
    file.write_text(demo)


def run(copy, *command):
    """What a Python command says in the copy."""
    path = os.pathsep.join([str(copy), str(copy / "tests")])
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, "GRADIO_ANALYTICS_ENABLED": "False"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said(copy, tmp_path_factory):
    """The copy's answers to ASKED."""
    answers = json.loads(run(copy, "-c", ASKED, str(tmp_path_factory.mktemp("models"))))
    assert Path(answers["file"]).is_relative_to(copy)
    return answers


def offered(said, value):
    """Whether a component of the page has a choice."""
    return any([*choice][-1] == value for choices in said["choices"] for choice in choices)


def test_a_strategy_is_on_the_page_and_in_the_rate_curve(said):
    assert offered(said, "below-mean")
    assert said["compared"][-1] == "below-mean"
    assert said["name"] == "Below mean"
    assert said["colours"].count(said["colour"]) == 1


def test_a_strategy_and_a_mode_are_analysed(said):
    assert said["conditions"][-1] == "below-mean"
    assert sum(said["dropped"]) > 0


def test_a_mode_is_in_the_form_the_api_and_the_lab(said):
    assert offered(said, "halve")
    assert any("halve: A dropped token is halved." in info for info in said["info"])
    assert said["options"][-1] == "halve"
    assert "halve" in said["variants"]
    assert said["meaning"] == "halve: A dropped token is halved."


def test_a_lab_view_is_a_tab_of_the_lab_and_a_tab_is_one_of_the_page(said):
    assert said["labels"].count("Norms") == 2


def test_a_signal_has_a_share_a_choice_and_a_weight(said):
    assert said["signals"][-1] == "s_others"
    assert said["share"] == pytest.approx(1, abs=1e-5)
    assert offered(said, "s_others")
    assert "weight of s_others" in said["labels"]
    assert (said["weighed"], said["shown"]) == (2, 0)


def test_a_loss_is_a_term_and_part_of_the_total(said):
    terms = said["terms"]
    assert -1 <= terms["apart"] <= 1
    assert terms["total"] == pytest.approx(terms["cross_entropy"] + 2 * terms["apart"], rel=1e-5)


def test_a_method_is_known(said):
    assert said["method"] == "post"


def test_the_copy_keeps_the_layers(copy):
    law = "test_imports_go_down_the_table_of_layers"
    run(copy, "-c", f"import test_architecture as t; [*map(t.{law}, t.MODULES)]")


def test_the_copy_keeps_the_rules_of_ruff(copy):
    run(copy, "-m", "ruff", "check", "--no-cache", "app", "drople")


def test_a_folder_of_two_files_is_a_backbone_with_a_stem(tmp_path):
    config = {
        "model_cfg": {"embed_dim": 32, "vision_cfg": {**VISION, "image_size": 64, "patch_size": 16},
                      "text_cfg": TEXT},
        "stem": {"arch": "resnet18"},
    }  # fmt: skip
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(build_clip(config).state_dict(), tmp_path / "open_clip_model.safetensors")
    backbone = load_backbone(f"local-dir:{tmp_path}")
    assert backbone.has_stem
    assert backbone.grid_size == 4
    assert backbone.encode_image(backbone.normalise(backbone.pixels(noise_picture())[None])).shape
