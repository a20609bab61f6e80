"""The command line: python -m drople train | evaluate | reproduce | explain | import | replay | info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from drople.errors import DropleError

COMMANDS = {  # name -> its module in drople.commands, what it does
    "train": ("train", "learn prompts from images of classes"),
    "evaluate": ("evaluate", "compare methods, write RESULTS.md"),
    "reproduce": ("reproduce", "the papers' tables, one command"),
    "explain": ("explain", "a folder of images as a table"),
    "import": ("convert", "read other people's checkpoints"),
    "replay": ("replay", "recompute a stored analysis"),
    "info": ("info", "what prompts files say of themselves"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a `DropleError` becomes one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m drople", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in arguments:  # the others' modules are not needed, and take seconds to import
            import_module(f"drople.commands.{module}").add_options(command)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except DropleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is finished", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
