"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes into, which takes its place in one move at the end, so that a stop in the middle
    leaves what was there.

    Its folder is made where there is none; a file that is replaced keeps its permissions.  Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file in one move, as `whole_file` does."""
    with whole_file(path) as file:
        file.write(content.encode("utf8") if isinstance(content, str) else content)
