"""The example photographs, and analyses of them that were computed beforehand.

`python -m app.examples` computes them anew; a test says when that is due.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from gradio.media import get_image
from PIL import Image
from safetensors.torch import load_file
from sklearn import datasets

from app.studio import Studio, digest_of
from drople.analysis import Analysis, AnalysisSettings
from drople.checkpoints import PromptCard, shipped_prompts
from drople.classes import parse_class_list
from drople.evidence import load_analysis, save_analysis
from drople.images import read_image
from drople.models.backbone import hash_weights

FOLDER = Path(__file__).parents[1] / "assets" / "examples"
BACKBONE = "mini"
_SAMPLES = Path(datasets.__file__).parent / "images"


class Example(NamedTuple):
    """A photograph that installs with the dependencies, and classes worth comparing on it."""

    name: str
    photo: str  # path
    classes: str


EXAMPLES = (
    Example(
        "cheetah", get_image("cheetah.jpg"), "cheetah, leopard, lion, house cat, dog, elephant"
    ),
    Example("lion", get_image("lion.jpg"), "lion, cheetah, house cat, dog, bear, sheep"),
    Example("tower", get_image("tower.jpg"), "tower, bridge, church, ship, skyscraper, tree"),
    Example(
        "pagoda", str(_SAMPLES / "china.jpg"), "pagoda, palace, church, bridge, mountain, boat"
    ),
    Example(
        "flower",
        str(_SAMPLES / "flower.jpg"),
        "flower, butterfly, mushroom, fruit, bird, jellyfish",
    ),
    Example("bus", get_image("bus.png"), "school bus, car, truck, train, bicycle, house"),
)


def precomputed(
    image: Image.Image,
    classes: tuple[str, ...],
    settings: AnalysisSettings,
    prompts: str,
    card: PromptCard | None,
    *,
    folder: Path = FOLDER,
) -> Analysis | None:
    """The analysis of an example that answers this very question; None where there is none.

    Args:
        prompts: name of the shipped prompts that are asked, whose card is `card`.
    """
    if card is None or prompts not in shipped_prompts():
        return None
    digest = digest_of(image)
    for example in EXAMPLES:
        path = folder / f"{example.name}.npz"
        if digest != _photo_digest(example.photo) or not path.is_file():
            continue
        found = _read(path, path.stat().st_mtime_ns)
        known = found.provenance
        asked = (classes, settings, prompts, card.backbone_hash, _prompts_hash(prompts))
        made = (
            found.classes,
            found.settings,
            known["prompts"],
            known["backbone_hash"],
            known["prompts_hash"],
        )
        if asked == made:
            return found
    return None


@cache
def _photo_digest(photo: str) -> str:
    return digest_of(read_image(photo))


@cache
def _read(path: Path, changed: int) -> Analysis:
    return load_analysis(path)


@cache
def _prompts_hash(name: str) -> str:
    """The hash of shipped prompts' weights, as provenance names it."""
    return hash_weights(load_file(shipped_prompts()[name]))


def compute(studio: Studio, prompts: str, folder: Path = FOLDER) -> list[Path]:
    """Analyses every example as the page asks at first, and writes the analyses."""
    loaded = studio.load(BACKBONE, prompts)
    assert loaded.card is not None
    settings = AnalysisSettings(dropout=loaded.card.dropout)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for example in EXAMPLES:
        picture, names = read_image(example.photo), parse_class_list(example.classes)
        written.append(folder / f"{example.name}.npz")
        save_analysis(written[-1], studio.analyse(loaded, picture, names, settings))
    return written


if __name__ == "__main__":
    here = Studio("cpu")
    for path in compute(here, next(iter(here.prompts_for(BACKBONE)))):
        print(path.name, path.stat().st_size)
