"""The example photographs, and analyses of them that were computed beforehand.

`python -m app.examples` computes them anew; a test says when that is due.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file

from app.form import Form, settings_of
from app.overview.stream import draws_in_turns
from app.studio import Studio, digest_of
from drople.analysis import Analysis
from drople.classes import parse_class_list
from drople.images import read_image
from drople.models.backbone import hash_weights
from drople.paired_draws import DrawBatch
from drople.storage.analyses import load_analysis, load_draws, save_analysis
from drople.storage.prompts import PromptCard, shipped_prompts

FOLDER = Path(__file__).parents[1] / "assets" / "examples"


class Example(NamedTuple):
    """A photograph, classes worth comparing on it, and which of them is right."""

    name: str  # of its files in `FOLDER`
    right: str  # one of its classes
    classes: str
    failure: str = ""  # why it is answered wrongly; empty where both branches answer rightly

    @property
    def photo(self) -> str:
        """The path of the photograph."""
        return str(FOLDER / f"{self.name}.jpg")

    @property
    def label(self) -> str:
        """What the page calls it."""
        return self.name.replace("-", " ") + (" (a failure)" if self.failure else "")


# By the page's first prompts; a test asks them all again.
EXAMPLES = (
    Example("cat-and-canary", "cat", "cat, bird, dog, rabbit, horse, fish"),
    Example("dog", "dog", "dog, cat, fire hydrant, horse, bear, sheep"),
    Example("car", "car", "car, bicycle, train, boat, airplane, horse"),
    Example("horses", "horse", "horse, dog, cow, boat, person, bird"),
    Example("cow", "cow", "cow, horse, dog, elephant, sheep, pig"),
    Example("seagull", "bird", "bird, airplane, boat, dog, fish, kite"),
    Example("elephant", "elephant", "elephant, person, horse, cow, bear, dog"),
    Example("tennis", "tennis player", "tennis player, swimmer, skier, cook, astronaut, cyclist"),
    Example("pizza", "pizza", "pizza, pie, cake, sandwich, soup, salad"),
    Example("bedroom", "bedroom", "bedroom, kitchen, office, bathroom, library, living room"),
    Example(
        "rocket",
        "rocket",
        "rocket, lighthouse, airplane, church, bridge, tree",
        failure="both branches say lighthouse, and of a crop of the rocket alone too: it is not "
        "that the rocket is small.",
    ),
)


def precomputed(
    form: Form, card: PromptCard | None, *, folder: Path = FOLDER
) -> tuple[Analysis, tuple[DrawBatch, ...]] | None:
    """The analysis of an example that answers this very form, and its draws; None without.

    Args:
        card: of the shipped prompts that the form names; None where it names others.

    Raises:
        ClassListError, SettingsError: the form holds what cannot be analysed.
    """
    if form.image is None or card is None or form.prompts not in shipped_prompts():
        return None
    classes, settings = parse_class_list(form.classes), settings_of(form, trained=card.dropout)
    asked = (classes, settings, form.prompts, card.backbone_hash, _prompts_hash(form.prompts))
    digest = digest_of(form.image)
    for example in EXAMPLES:
        path = folder / f"{example.name}.npz"
        if digest != _photo_digest(example.photo) or not path.is_file():
            continue
        stored, draws = _read(path, path.stat().st_mtime_ns)
        known = stored.provenance
        hashes = known["prompts"], known["backbone_hash"], known["prompts_hash"]
        if asked == (stored.classes, stored.settings, *hashes):
            return stored, draws
    return None


@cache
def _photo_digest(photo: str) -> str:
    return digest_of(read_image(photo))


@cache
def _read(path: Path, changed: int) -> tuple[Analysis, tuple[DrawBatch, ...]]:
    return load_analysis(path), load_draws(path)


@cache
def _prompts_hash(name: str) -> str:
    """The hash of shipped prompts' weights, as provenance names it."""
    return hash_weights(load_file(shipped_prompts()[name]))


def compute(studio: Studio, prompts: str, folder: Path = FOLDER) -> list[Path]:
    """Analyses every example as the page asks at first, and writes it with its draws."""
    loaded = studio.load(prompts=prompts)
    settings = settings_of(Form(), trained=loaded.dropout)
    written = []
    for example in EXAMPLES:
        picture, names = read_image(example.photo), parse_class_list(example.classes)
        written.append(folder / f"{example.name}.npz")
        analysis = studio.analyse(loaded, picture, names, settings)
        save_analysis(written[-1], analysis, [*draws_in_turns(studio, loaded, analysis)])
    return written


if __name__ == "__main__":
    here = Studio("cpu")
    for path in compute(here, next(iter(here.prompts_for("mini")))):
        print(path.name, path.stat().st_size)
