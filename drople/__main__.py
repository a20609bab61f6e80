"""The command line: python -m drople train | evaluate | reproduce | explain | import | ..."""

from __future__ import annotations

import argparse
import io
import logging
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from typing import NoReturn, TextIO, cast

from drople.errors import DropleError, printable

COMMANDS = {  # name -> its module in drople.commands, what it does
    "train": ("train", "learn prompts from images of classes"),
    "evaluate": ("evaluate", "compare methods, write RESULTS.md"),
    "reproduce": ("reproduce", "the papers' tables, one command"),
    "explain": ("explain", "a folder of images as a table"),
    "import": ("convert", "read other people's checkpoints"),
    "replay": ("replay", "recompute a stored analysis"),
    "info": ("info", "what prompts files say of themselves"),
}


class Parser(argparse.ArgumentParser):
    """One whose errors are one line, which a terminal does not obey."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {printable(message)}. {self.prog} --help shows what there is.\n")


class Printable(io.TextIOBase):
    """A stream that passes lines on as every terminal can show them."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        shown = "\n".join(map(printable, text.split("\n")))
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; what can be expected to go wrong is one line and exit code 2."""
    arguments = [*(sys.argv[1:] if arguments is None else arguments)]
    parser = Parser(prog="python -m drople", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    debug = "--debug" in arguments  # anywhere, as it comes to mind after an error
    arguments = [one for one in arguments if one != "--debug"]
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in arguments:  # the others' modules are not needed, and take seconds to import
            import_module(f"drople.commands.{module}").add_options(command)
    args = parser.parse_args(arguments)
    _log_to_stderr(everything=debug)
    try:
        with redirect_stdout(Printable(sys.stdout)):
            args.run(args)
    except (DropleError, OSError, MemoryError) as error:
        if debug:
            traceback.print_exc()
        said = " ".join(_sentence(error).split())
        print(f"error: {printable(said)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is finished", file=sys.stderr)
        return 130
    return 0


def _log_to_stderr(*, everything: bool) -> None:
    """Lets our warnings be lines as well; others' would stand beside the error they lead to."""
    handler = logging.StreamHandler(cast(TextIO, Printable(sys.stderr)))
    if not everything:
        handler.addFilter(logging.Filter("drople"))
    logging.basicConfig(handlers=[handler], format="%(message)s")


def _sentence(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "There is not enough memory. Ask for less: a smaller --batch, fewer classes."
    if isinstance(error, OSError):
        about = f"{error.filename}: " if error.filename else ""
        return (
            f"{about}{error.strerror or error}. Check that the place is there, yours and not full."
        )
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
