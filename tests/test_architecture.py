"""Which module may import which, how long a module may be, and which names are public."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import drople

ROOT = Path(__file__).parents[1]
MODULES = sorted(p for folder in ("app", "drople") for p in (ROOT / folder).rglob("*.py"))
PUBLIC = [
    "DROP_MODES",
    "METHODS",
    "STRATEGIES",
    "Analysis",
    "AnalysisSettings",
    "DropleError",
    "DropoutSettings",
    "PromptedClip",
    "TrainConfig",
    "analyse",
    "describe_classes",
    "fit",
    "load_analysis",
    "load_backbone",
    "load_prompts",
    "replay",
    "save_analysis",
    "save_prompts",
    "score_tokens",
]


def imports(tree):
    """The dotted names that a piece of syntax imports, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported(path):
    """The dotted names that a module imports."""
    return [*imports(ast.parse(path.read_text()))]


def importers(folder, *packages):
    """The files of a folder that import one of the packages, as names from the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if path.is_relative_to(ROOT / folder)
        and any(
            name == package or name.startswith(f"{package}.")
            for name in imported(path)
            for package in packages
        )
    }


def test_the_method_knows_no_app_and_no_picture_library():
    assert not importers("drople", "app", "gradio", "gradio_client", "matplotlib", "plotly")


def test_figures_know_neither_gradio_nor_torch_nor_the_rest_of_the_app():
    assert not importers("app/figures", "gradio", "torch", "app.tabs", "app.studio", "app.demo")


def test_the_studio_knows_no_gradio():
    assert "app/studio.py" not in importers("app", "gradio", "app.tabs", "app.demo", "app.figures")


def test_tabs_do_not_know_who_shows_them():
    assert not importers("app/tabs", "app.demo", "app.page")


def test_nothing_imports_the_tests():
    assert not importers(".", "tests", "tiny", "conftest")


def test_one_module_knows_the_package_of_maps_and_imports_it_late():
    assert importers(".", "pytorch_grad_cam") == {"drople/gradcam.py"}
    tree = ast.parse((ROOT / "drople" / "gradcam.py").read_text())
    early = [name for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)
             for name in imports(node)]  # fmt: skip
    assert not any(name.startswith("pytorch_grad_cam") for name in early)


@pytest.mark.slow
def test_importing_the_method_loads_no_app_library():
    code = "import sys, drople; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "drople" in loaded
    assert not loaded & {"app", "gradio", "matplotlib", "plotly", "pytorch_grad_cam", "cv2"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_can_be_read_in_one_go(path):
    assert len(path.read_text().splitlines()) < 350


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_it_is_for(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said
    assert said.splitlines()[0].endswith((".", "?"))


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_module_is_a_drawer_for_everything(name):
    assert not [path for path in MODULES if path.stem == name]


def test_the_public_names_are_these():
    assert sorted(drople.__all__) == sorted(PUBLIC)
    assert all(getattr(drople, name) is not None for name in PUBLIC)


def test_every_error_is_one_that_a_visitor_can_be_shown():
    from drople import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) == 8
    assert all(issubclass(kind, drople.DropleError) for kind in kinds)
