"""Which layer may import which, how long a module may be, and which names are public."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
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
    "read_image",
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
    """The files of a folder, or the file itself, that import one of the packages."""
    return {
        name_of(path)
        for path in MODULES
        if path.is_relative_to(ROOT / folder)
        and any(
            name == package or name.startswith(f"{package}.")
            for name in imported(path)
            for package in packages
        )
    }


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def layers():
    """Folder or module -> its row in the table of CONTRIBUTING.md, from 0 at the top."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(r"^## The layers$(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert section, "CONTRIBUTING.md has no section 'The layers'"
    rows = re.findall(r"^\| (`.+?`) \|", section[1], re.MULTILINE)
    named = [(unit, row) for row, cell in enumerate(rows) for unit in re.findall(r"`(.+?)`", cell)]
    assert len(dict(named)) == len(named), "a layer is named twice"
    return dict(named)


LAYERS = layers()


def unit_of(path):
    """The entry of the table that a file belongs to."""
    units = [name_of(one) for one in (path, *path.parents[:-1]) if one.is_relative_to(ROOT)]
    found = [unit for unit in units if unit in LAYERS]
    assert found, f"{name_of(path)} has no place in the table of CONTRIBUTING.md"
    return found[0]


def files_imported(path):
    """The files of ours that a module imports."""
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in ("app", "drople"):
            # The last part may be a module's name, or a name in the module.
            places = [ROOT.joinpath(*some) for some in (parts, parts[:-1]) if some]
            files = [file for place in places
                     for file in (place.with_suffix(".py"), place / "__init__.py")
                     if file.is_file()]  # fmt: skip
            assert files, f"{name_of(path)} imports {name}"
            yield files[0]


def test_the_table_of_layers_names_what_is_there():
    assert len(LAYERS) > 20
    assert not [unit for unit in LAYERS if not (ROOT / unit).exists()]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_table_of_layers(path):
    targets = [*files_imported(path)]
    if not targets and path.name == "__init__.py":
        return
    unit = unit_of(path)
    wrong = [
        name_of(target)
        for target in targets
        if (other := unit_of(target)) != unit and LAYERS[other] <= LAYERS[unit]
    ]
    assert not wrong, f"{unit} must not import {wrong}: it is no lower in CONTRIBUTING.md's table"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name_of(path): {name_of(other) for other in files_imported(path)} for path in MODULES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)


@pytest.mark.parametrize(
    ("folder", "packages"),
    [
        ("drople", ("gradio", "gradio_client", "matplotlib", "plotly")),
        *[
            (f"app/{one}", ("gradio", "torch"))
            for one in ("export", "figures", "lab/display", "wording")
        ],
        ("app/studio.py", ("gradio",)),
        (".", ("tests", "tiny", "conftest")),
    ],
)
def test_a_folder_does_without_a_package(folder, packages):
    assert not importers(folder, *packages)


def test_one_module_knows_the_package_of_maps_and_imports_it_late():
    assert importers(".", "pytorch_grad_cam") == {"drople/gradcam.py"}
    tree = ast.parse((ROOT / "drople" / "gradcam.py").read_text())
    early = [name for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)
             for name in imports(node)]  # fmt: skip
    assert not any(name.startswith("pytorch_grad_cam") for name in early)


FOR_THE_PAGE = {"app", "gradio", "matplotlib", "plotly", "pytorch_grad_cam", "cv2"}
FOR_A_MODEL = {"open_clip", "timm", "torchvision", "scipy", "sklearn"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import drople", {"torch", *FOR_THE_PAGE, *FOR_A_MODEL}),
        ("import drople.__main__", {"torch", *FOR_THE_PAGE, *FOR_A_MODEL}),
        ("from drople import DropoutSettings, score_tokens", FOR_THE_PAGE | FOR_A_MODEL),
        ("from drople import *", FOR_THE_PAGE),
    ],
)
def test_importing_the_method_loads_no_app_library(statement, unwanted):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "drople" in loaded
    assert not loaded & unwanted


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
    assert {*PUBLIC} <= {*dir(drople)}
    with pytest.raises(AttributeError, match="no attribute 'analyze'"):
        drople.analyze  # noqa: B018


def test_every_error_is_one_that_a_visitor_can_be_shown():
    from drople import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) == 8
    assert all(issubclass(kind, drople.DropleError) for kind in kinds)
