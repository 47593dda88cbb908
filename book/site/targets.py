"""What the text points at by number, and where that is on the site: eq. (4.7), section 3.2, task 4.3.

The numbers are the authors' own, as they stand in the notebooks; nothing is numbered anew.
"""

import re
from pathlib import Path

from book import chapters

SECTION = re.compile(r"(?m)^##+ ((?:\d+|A)\.\d+)[ :]")


def name(path) -> str:
    """The name by which the text calls a chapter: "3b" of 03b_solvers.ipynb, "A" of the appendix."""
    return Path(path).stem.partition("_")[0].lstrip("0") or "0"


def anchor(kind: str, number: str) -> str:
    """The id of the element that carries a number: "eq-4-7"."""
    return f"{kind}-{number.replace('.', '-')}"


def targets(root) -> dict[tuple[str, str], str]:
    """(kind, number) -> address below the site's root.  Kinds: eq, section, task, chapter, exercises."""
    found = {}
    for path in chapters.chapters(root):
        page = f"chapters/{path.stem}.html"
        found["chapter", name(path)] = page
        _add(found, page, path, {"eq": chapters.TAG, "section": SECTION})
    for path in sorted((Path(root) / "exercises").glob("*.ipynb")):
        page = f"exercises/{path.stem}.html"
        found["exercises", name(path)] = page
        _add(found, page, path, {"task": SECTION})
    return found


def _add(found, page, path, patterns):
    text = "\n".join(cell.source for cell in chapters.read(path).cells if cell.cell_type == "markdown")
    for kind, pattern in patterns.items():
        for number in pattern.findall(text):
            if (kind, number) in found:
                raise chapters.BookError(path, [f"{kind} {number} is there twice"])
            found[kind, number] = f"{page}#{anchor(kind, number)}"
