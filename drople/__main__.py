"""The command line: python -m drople train | evaluate | explain | import | replay | info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drople.commands import convert, evaluate, explain, info, replay, train
from drople.errors import DropleError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a `DropleError` becomes one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m drople", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    train.add_options(commands.add_parser("train", help="learn prompts from images of classes"))
    evaluate.add_options(commands.add_parser("evaluate", help="compare methods, write RESULTS.md"))
    explain.add_options(commands.add_parser("explain", help="a folder of images as a table"))
    convert.add_options(commands.add_parser("import", help="read other people's checkpoints"))
    replay.add_options(commands.add_parser("replay", help="recompute a stored analysis"))
    info.add_options(commands.add_parser("info", help="what prompts files say of themselves"))
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except DropleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is finished", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
