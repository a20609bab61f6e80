"""python -m app.gallery OUT FILE...: stored analyses as pages and an index, a static web site.

The folder opens from disk with no network, and is a static Hugging Face Space as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from app.export.standalone import standalone_page
from app.figures.patches import jpeg_uri
from app.overview.payload import Overview
from app.wording.sentences import headline
from drople.analysis import Analysis
from drople.errors import DropleError
from drople.storage.analyses import load_analysis
from drople.storage.files import write_text

SPACE = """---
title: {title}
sdk: static
app_file: index.html
---
Made with DroPLe Lens.
"""
INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 60rem; }}
ul {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem;
  padding: 0; list-style: none; }}
img {{ width: 100%; border-radius: .5rem; }}
</style></head><body><h1>{title}</h1><ul>
{items}
</ul></body></html>
"""
ITEM = '<li><a href="{page}"><img src="{photo}" alt="{name}">{name}</a><br>{answers}</li>'


def write_gallery(out: Path, files: Sequence[Path], title: str) -> None:
    """Writes a page for each stored analysis, the index and a Space's README.

    Raises:
        EvidenceError: a file is no stored analysis.
    """
    items = []
    for number, file in enumerate(files, start=1):
        analysis = load_analysis(file)
        page = f"{number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', file.stem).strip('-') or 'page'}.html"
        write_text(out / page, page_of(analysis))
        answers = "; ".join(f"{name}: {said}" for name, said in [*headline(analysis).items()][:2])
        items.append(
            ITEM.format(
                page=page,
                photo=jpeg_uri(Image.fromarray(analysis.pixels), 90),
                name=escape(file.stem, quote=True),
                answers=escape(answers),
            )
        )
    index = INDEX.format(title=escape(title), items="\n".join(items))
    write_text(out / "index.html", index)
    write_text(out / "README.md", SPACE.format(title=title))


def page_of(analysis: Analysis, target: int | None = None) -> str:
    """The page of an analysis; of its likeliest class with a map, where no other is named."""
    wanted = analysis.answer if target is None else target
    payload = Overview(analysis, wanted=1).payload()
    return standalone_page(payload, {"class": analysis.classes[wanted]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; a `DropleError` becomes one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m app.gallery", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("files", type=Path, nargs="+", help="stored analyses (.npz)")
    parser.add_argument("--title", default="DroPLe Lens: analyses")
    options = parser.parse_args(arguments)
    try:
        write_gallery(options.out, options.files, options.title)
    except DropleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
