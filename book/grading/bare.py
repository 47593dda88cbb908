"""A notebook's file without its outputs, for a file that is large because of them.

Outputs, pictures pasted into cells and the states of widgets play no part in grading, and an animation or a
plot of a million points makes a file of some 20 MB.  They are cut out of the file's text, at the speed of a
search and without a Python object for each of their parts: as JSON such a file takes many times its size.
"""

from __future__ import annotations

import codecs
import mmap
import os
import re
import shutil
from pathlib import Path

LARGE = 500_000
"""Bytes above which a file is kept without its outputs."""

MOST_CUT = 20_000
"""Outputs that are cut out of a file; an exercise has a hundred cells."""

_DEEPEST = 24
"""Lists and dicts in one another that are cut out; a figure of plotly or vega has some ten."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = rb'"(?:outputs|attachments|widgets)"\s*+:\s*+(?=[\[{])'
_KEPT = re.compile(rb'(?:[^"]++|(?!' + _KEY + rb")" + _STRING + rb")*+", re.DOTALL)


def _value() -> bytes:
    """A list or dict with what lies in it, as far down as is cut out.  No group is tried a second way: what
    does not fit is left after one look."""
    inner = rb'(?:[^][{}"]++|' + _STRING + rb")*+"
    for _ in range(_DEEPEST):
        inner = rb'(?:[^][{}"]++|' + _STRING + rb"|[\[{]" + inner + rb"[]}])*+"
    return rb"[\[{]" + inner + rb"[]}]"


_CUT = re.compile(rb"(?P<key>" + _KEY + rb")" + _value(), re.DOTALL)


def write_bare(path: Path) -> int:
    """Replace a file by the same without outputs; returns its size.

    The rest stays to the byte, and a file that is no notebook stays as it is.  A file in UTF-16 becomes
    UTF-8.  Takes a second or two for 100 MB, whatever is in it, and little memory.
    """
    if not path.stat().st_size:
        return 0
    _to_utf8(path)
    other = path.with_suffix(".bare")
    with open(path, "rb") as file, open(other, "wb") as out:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:
            place = 0
            for _ in range(MOST_CUT):
                cut = _CUT.match(whole, _KEPT.match(whole, place).end())
                if not cut:
                    break
                out.write(view[place : cut.end("key")])
                out.write(b"[]" if view[cut.end("key")] == ord("[") else b"{}")
                place = cut.end()
            out.write(view[place:])
    os.replace(other, path)
    return path.stat().st_size


def _to_utf8(path: Path) -> None:
    """Make UTF-8 of a file in UTF-16; one that is damaged stays as it is."""
    with open(path, "rb") as file:
        if file.read(2) not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return
    other = path.with_suffix(".utf8")
    try:
        with (
            open(path, encoding="utf-16", newline="") as file,
            open(other, "w", encoding="utf8", newline="") as out,
        ):
            shutil.copyfileobj(file, out)
    except UnicodeError:
        other.unlink()
    else:
        os.replace(other, path)
