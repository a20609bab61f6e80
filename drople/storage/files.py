"""Files as a reader finds them: whole or not there, and one process at a time at each."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from drople.errors import DataError, SettingsError, printable

log = logging.getLogger(__name__)
SEAL = b"\ndrople-seal-1 "  # before the checksum of all that precedes it, in 32 hex digits
SEALED = len(SEAL) + 32
WAIT = 0.2  # seconds from one look at a lock to the next


def write_bytes(file: str | Path, data: bytes, *, sealed: bool = False) -> None:
    """Writes a file that is whole or as it was before, and makes the folders above it.

    Args:
        sealed: with a checksum at its end, for `read_sealed`.

    Raises:
        DataError: it cannot be written.
    """
    file = Path(os.path.realpath(file))  # what a link leads to, not the link
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")  # another process has another
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as out:
            out.write(data + _seal(data) if sealed else data)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(f"{file} cannot be written: {error.strerror}.") from error


def write_text(file: str | Path, text: str) -> None:
    """As `write_bytes`, in UTF-8; half a surrogate pair, as of an odd file name, is escaped."""
    write_bytes(file, text.encode("utf-8", "backslashreplace"))


def read_sealed(file: Path) -> bytes:
    """What was written sealed; a file without a seal, of an earlier version, as it is.

    Raises:
        DataError: it is not what was written.
    """
    data = file.read_bytes()
    body, end = data[:-SEALED], data[-SEALED:]
    if not end.startswith(SEAL):
        return data
    if end != _seal(body):
        raise DataError(f"{file} is damaged: its checksum is another.")
    return body


def _seal(data: bytes) -> bytes:
    return SEAL + blake2b(data, digest_size=16).hexdigest().encode()


def set_aside(file: Path, why: str) -> None:
    """Renames a file that is of no use to NAME.damaged, and says so."""
    aside = file.with_name(f"{file.name}.damaged")
    file.replace(aside)
    log.warning("%s", printable(f"{why} It is set aside as {aside.name} and made anew."))


def check_writable(file: Path, option: str = "--out") -> None:
    """Refuses a file that could not be written, before any work; makes the folders above it.

    Raises:
        SettingsError: it is a folder, or its folder cannot be made or written.
    """
    if "\0" in str(file):
        raise SettingsError(f"{file} is no file name. Name another as {option}.")
    if file.is_dir():
        raise SettingsError(f"{file} is a folder. Name a file as {option}.")
    if file.exists() and not stat.S_ISREG(file.stat().st_mode):
        raise SettingsError(f"{file} is a device or a pipe. Name a file as {option}.")
    check_folder(file.parent, option, what=file)


def check_folder(folder: Path, option: str = "--out", *, what: Path | None = None) -> None:
    """Makes a folder, and refuses one that could not be written, before any work.

    Raises:
        SettingsError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{what or folder} cannot be written: {reason}. Choose another {option}."
        ) from None


def check_readable(file: Path) -> None:
    """Refuses what is no file to read, such as a pipe that would never end.

    Raises:
        DataError: there is none, or it is a folder, a pipe or a device.
    """
    try:
        kind = file.stat().st_mode
    except (OSError, ValueError):
        raise DataError(f"There is no file {file}. Check the path.") from None
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe or a device"
        raise DataError(f"{file} is {what}. Name a file.")


@contextmanager
def locked(file: Path, *, wait: bool) -> Iterator[None]:
    """Holds a lock file, which goes with the process that holds it, however that ends.

    Args:
        wait: for another process to let go of it, rather than refuse.

    Raises:
        DataError: another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while (held := _take(file)) is None:
        if not wait:
            raise DataError(
                f"Another process is writing in {file.parent}. Wait for it, or choose another "
                "folder."
            )
        if not told:
            log.warning("%s", printable(f"waiting for another process that does the same ({file})"))
            told = True
        time.sleep(WAIT)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; then it stays, and is free
            file.unlink()
        held.close()


def _take(file: Path) -> BinaryIO | None:
    """The lock file, locked; None where another process has it."""
    held = file.open("ab")
    try:
        _lock(held)
        # Whoever had it may have deleted it just before: then this is no longer the file there.
        if os.path.samestat(os.fstat(held.fileno()), file.stat()):
            return held
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass
    except OSError:  # a file system without locks
        return held
    held.close()
    return None


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
