"""Read what was handed in as a notebook: what it is where it is none, and limits before it is read at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

from book.grading import bare, text
from book.grading.unpacking import CLEAR, ONLY
from book.lessons.running import BadNotebook, read_notebook
from toolkit.files import write_file

MOST_PARTS = 200_000
"""Lists and dicts in a notebook: an exercise has hundreds, and some millions would fill the memory."""

MOST_VALUES = 500_000
"""What is separated by commas in one, texts and outputs apart."""

MOST_CELLS = 5_000
"""Cells of a notebook: an exercise has a hundred, and each costs time."""


def read(path: Path, name: str):
    """(the notebook in a file as nbformat 4, remarks for the student).

    name: what the student calls the file.  A file whose outputs are too much is replaced by the same without
    them, and cells without text by empty ones.  Raises BadNotebook, with one sentence, for what is none.
    """
    said = f"“{name}”"
    raw = path.read_bytes()
    if _too_many(raw):
        bare.write_bare(path)
        raw = path.read_bytes()
        if _too_many(raw):
            raise BadNotebook(
                f"{said} holds far more cells and outputs than any exercise: it is not read. {CLEAR}"
            )
    if about := _what_it_is(raw):
        raise BadNotebook(f"{said} {about}")
    notes = _mend(path, raw, said)
    try:
        return read_notebook(path), notes
    except BadNotebook as error:
        raise BadNotebook(text.line(f"{error}".replace(path.name, said), 400)) from None


def _too_many(raw: bytes) -> bool:
    """Whether a file would need far more memory than its size when it is read."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raw = raw.decode("utf-16", "replace").encode()
    # The closing mark is optional: a search that can fail would begin again at each mark.
    blank = re.sub(rb'"(?:[^"\\]|\\.)*+"?', b"", raw, flags=re.DOTALL)
    return blank.count(b"{") + blank.count(b"[") > MOST_PARTS or blank.count(b",") > MOST_VALUES


# --- what is no notebook --------------------------------------------------------------------------------

_KINDS = (
    (rb"\s*\Z", "is empty: was the upload cut off? Hand it in again."),
    (rb"\0+\Z", "holds nothing but zeros: the save was cut off. Hand in an older copy, or ask for one."),
    (rb"version https://git-lfs", "is only Git LFS's pointer to a file: hand in the file (git lfs pull)."),
    (rb"(?i)\s*<(?:!doctype|html|head|body)\b|\s*<!--",
     "is a web page: save the notebook itself, “Download” in JupyterLab or “Download raw file” on GitHub."),
    (rb"\s*<\?xml|\s*<svg", "is an XML file, not a notebook: hand in the .ipynb file."),
    (rb"%PDF-", "is a PDF: hand in the .ipynb file."),
    (rb"PK\x03\x04", "is a zip, or a file of Office, under a notebook's name: hand in the .ipynb file."),
    (rb"\x1f\x8b|Rar!|7z\xbc\xaf", "is an archive under a notebook's name: hand in the .ipynb file."),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "is a picture: hand in the .ipynb file."),
    (rb"\{\\rtf", "is a text document: hand in the .ipynb file."),
)  # fmt: skip
"""[(how a file begins, what it is and what to do)]."""

_CONFLICT = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)


def _what_it_is(raw: bytes) -> str:
    """What a file is that people take for a notebook, and what to do; '' for anything else."""
    start = raw[:2000].removeprefix(b"\xef\xbb\xbf")
    for form, said in _KINDS:
        if re.match(form, raw if form.endswith(rb"\Z") else start):
            return said
    if _CONFLICT.search(raw):
        return (
            "holds the marks of an unfinished merge (<<<<<<<): settle it in Git and hand the file in again."
        )
    return ""


# --- cells without text ---------------------------------------------------------------------------------


def _mend(path: Path, raw: bytes, said: str) -> tuple[str, ...]:
    """Rewrite a file in which cells are no cells, or have no text, with empty ones; returns remarks.

    One such cell would cost the whole notebook.  Raises BadNotebook for too many cells.
    """
    try:
        content = json.loads(raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(content, dict):
        return ()
    sheets = content.get("worksheets")  # where nbformat 3 has its cells
    sheets = [
        one for one in (content, *(sheets if isinstance(sheets, list) else ())) if isinstance(one, dict)
    ]
    count = sum(len(one["cells"]) for one in sheets if isinstance(one.get("cells"), list))
    if count > MOST_CELLS:
        raise BadNotebook(f"{said} holds {count:,} cells, far more than any exercise: it is not read. {ONLY}")
    cells = content.get("cells")
    if not isinstance(cells, list):
        return ()
    odd = [n for n, cell in enumerate(cells, 1) if not _has_text(cell)]
    if not odd or len(odd) == len(cells):
        return ()
    content["cells"] = [cell for cell in map(_with_text, cells) if cell]
    write_file(path, json.dumps(content))
    which = ", ".join(map(str, odd[:5])) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
    if len(odd) == 1:
        return (f"In {said} cell {which}, counted from the top, has no text and was taken as empty.",)
    return (f"In {said} cells {which}, counted from the top, have no text and were taken as empty.",)


def _has_text(cell) -> bool:
    source = cell.get("source") if isinstance(cell, dict) else None
    text_alone = isinstance(source, str) or (
        isinstance(source, list) and all(isinstance(s, str) for s in source)
    )
    return text_alone and isinstance(cell.get("cell_type"), str)


def _with_text(cell) -> dict | None:
    """The cell, empty if it has no text; None for what is no cell."""
    if _has_text(cell):
        return cell
    return (
        {**cell, "source": ""} if isinstance(cell, dict) and isinstance(cell.get("cell_type"), str) else None
    )
