"""Whatever code and documents point at is there: sections of the method, functions, files."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHOD = ROOT / "docs" / "METHOD.md"
CODE = sorted(
    path
    for folder in ("app", "drople", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)  # it spells what it looks for
)
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [path for folder in ("checkpoints", "docs") for path in (ROOT / folder).rglob("*.md")]
)

NUMBER = r"[1-9]\d*(?:\.\d+)?"
REFERENCE = re.compile(rf"METHOD\.md ({NUMBER}(?:(?:, | and ){NUMBER})*)")
WITHIN = re.compile(rf"\bsection ({NUMBER})")
OTHERS = re.compile(r"\b(?:DESIGN|PEERS|GRADIO)\b|\bMETHOD \d|\b(?:DATA|STYLE|UI)\.md")
OURS = re.compile(r"\b((?:app|drople|tests)/[\w/]+\.py)(?:::([\w.]+))?")
FILE = re.compile(r"[\w./-]+\.(?:py|sh|json)\b")
RELEASED = {
    "configs/patch_aug.json",
    "data/coop/oxford_pets.py",
    "data/randaugment.py",
    "flags.py",
    "models/drople.py",
    "scripts/launch/launch.sh",
    "train_drople.py",
    "utils/multimodal_alignment.py",
    "utils/residual_entropy_loss.py",
    "utils/token_importance.py",
}
"""Files of DroPLe's released code, at commit 3c2ef2a, that the method is read from."""


def lines(path):
    """Where a line stands, to be clicked on, and the line."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        yield f"{path.relative_to(ROOT).as_posix()}:{number}", line


@cache
def sections():
    """Number -> text of every section of the method, without the sections below it."""
    parts = re.split(rf"^#{{2,3}} ({NUMBER}) ", METHOD.read_text(), flags=re.MULTILINE)
    numbers = parts[1::2]
    assert len(set(numbers)) == len(numbers), "a section's number is given twice"
    return dict(zip(numbers, parts[2::2], strict=True))


FORMULAS = [number for number, text in sections().items() if "```" in text]


def defined(path):
    """The names a module of ours defines: functions, classes, their members, constants."""

    def names(body, prefix=""):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield prefix + node.name
                if isinstance(node, ast.ClassDef):
                    yield from names(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield prefix + node.target.id
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                        if isinstance(part, ast.Name):
                            yield prefix + part.id

    return {*names(ast.parse((ROOT / path).read_text()).body)}


def missing(text):
    """What a text names of our code that is not there."""
    for path, name in OURS.findall(text):
        if not (ROOT / path).is_file():
            yield f"no file {path}"
        elif name and name.rstrip(".") not in defined(path):
            yield f"no {name} in {path}"


def test_every_reference_names_a_section_that_exists():
    broken, found = [], 0
    for path in [*CODE, *DOCUMENTS]:
        if path == METHOD:
            continue
        for place, line in lines(path):
            for reference in REFERENCE.findall(line):
                found += 1
                numbers = re.findall(NUMBER, reference)
                broken += [f"{place}: no section {n}" for n in numbers if n not in sections()]
    assert not broken, "\n".join(broken)
    assert found > 50


def test_every_mention_of_the_method_has_the_one_form():
    odd = [
        f"{place}: {line.strip()}"
        for path in CODE
        for place, line in lines(path)
        # In quotes it is the file itself, to be read.
        if line.replace('"METHOD.md"', "").count("METHOD.md") != len(REFERENCE.findall(line))
        or re.search(r"docs/METHOD|§", line)
    ]
    assert not odd, "\n".join(odd)


def test_the_methods_sections_refer_to_one_another():
    broken, found = [], 0
    for place, line in lines(METHOD):
        for number in WITHIN.findall(line):
            found += 1
            broken += [] if number in sections() else [f"{place}: no section {number}"]
    assert not broken, "\n".join(broken)
    assert found > 5


def test_nothing_refers_to_a_document_that_is_not_here():
    left = [
        f"{place}: {line.strip()}"
        for path in [*CODE, *DOCUMENTS]
        for place, line in lines(path)
        if OTHERS.search(line)
    ]
    assert not left, "\n".join(left)


@pytest.mark.parametrize("number", FORMULAS)
def test_a_formula_names_what_computes_it_and_where_it_is_from(number):
    found = re.search(r"^Ours: (.+?)^Source: (.+)", sections()[number], re.DOTALL | re.MULTILINE)
    assert found, f"section {number} has no lines Ours: and Source:"
    assert [name for _, name in OURS.findall(found[1]) if name]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_that_a_document_names_exists(path):
    broken = [
        f"{place}: {what}"
        for place, line in lines(path)
        if not line.endswith(": a new file")  # of a recipe
        for what in missing(line)
    ]
    assert not broken, "\n".join(broken)


def test_what_contributing_names_in_backticks_exists():
    text = re.sub(r"^```.*?^```$", "", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M | re.S)
    ours = [path for path in CODE if not path.is_relative_to(ROOT / "tests")]
    known = {path: defined(path) for path in ours}
    names = {part for some in known.values() for name in some for part in name.split(".")}
    files = [path.relative_to(ROOT).as_posix() for path in ours]
    broken, found = [], 0
    for word in re.findall(r"`([\w/.:]+)`", text):
        file, _, name = word.partition("::")
        if "/" in file or file.endswith(".py"):
            places = [one for one in files if one == file or one.endswith(f"/{file}")]
            there = bool(places) or (ROOT / file).exists()
            if name:
                there = any(name in known[ROOT / one] for one in places)
        elif re.fullmatch(r"_*[A-Z]\w*|[a-z]+_\w+", word):  # a name of the code, by its looks
            there = word in names
        else:
            continue
        found += 1
        broken += [] if there else [word]
    assert not broken, broken
    assert found > 80


def test_released_files_are_written_in_one_way():
    odd, named = [], set()
    for path in [METHOD, *(path for path in CODE if path.is_relative_to(ROOT / "drople"))]:
        for place, line in lines(path):
            for found in FILE.finditer(line):
                file = found[0]
                if path == METHOD:
                    before = line[: found.start()]
                    if OURS.match(file) or re.search(r"[\w-]+/[\w-]+:$", before):
                        continue
                    named.add(file)
                    quoted = before.endswith("`")
                    if file not in RELEASED or not quoted:
                        odd.append(f"{place}: {file}")
                elif any(whole.endswith(f"/{file}") for whole in RELEASED):  # shortened
                    odd.append(f"{place}: {file}")
    assert not odd, "\n".join(odd)
    assert named == RELEASED
