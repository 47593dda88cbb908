"""Where in the book something stands: a section of a chapter, a heading in it, a link that leads there."""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from book import folders
from book.appendix import rows
from book.chapters import chapters, number
from book.claims import Claim


@dataclass(frozen=True)
class Place:
    """A heading of a notebook, or a cell under it.

    notebook: its file's name.  cell: the cell that a link leads to: the one with the heading, or one under
    it.  section: "2.10", or "0", the chapter, where sections have no number.  title: the heading under that
    section, or the section's own.
    """

    notebook: str
    cell: str
    section: str
    title: str

    @property
    def address(self) -> str:
        """Relative to the chapters. JupyterLab and nbconvert's pages scroll to a cell by its id, also in a
        notebook that is only being opened; JupyterLab finds a heading only once its cell is drawn.
        """
        return f"{self.notebook}#cell-id={self.cell}"

    @property
    def link(self) -> str:
        """As Markdown: the section's number as a link, and the heading within it."""
        heading = self.title.removesuffix("◦").strip()
        numbered = "." in self.section
        shown = f"section {self.section}" if numbered else f"chapter {self.section}"
        inner = "" if numbered and self.title == self.section_title else f", {heading}"
        return f"[{shown}{inner}]({self.address})"

    @property
    def section_title(self) -> str:
        """The heading of the section that it stands in."""
        return _section_titles(self.notebook).get(self.section, self.title)


def _paths():
    return {path.name: path for path in chapters(folders.HERE) if number(path)}


@cache
def cells(notebook: str) -> tuple[dict, ...]:
    """The cells of a chapter's notebook, by the file's name: id, source, whether it is code, outputs."""
    read = json.loads(_paths()[notebook].read_text(encoding="utf-8"))["cells"]
    return tuple(
        {
            "id": cell["id"],
            "source": "".join(cell["source"]),
            "code": cell["cell_type"] == "code",
            "outputs": cell.get("outputs", []),
        }
        for cell in read
    )


def cells_of(chapter: str) -> list[dict]:
    """The cells of all notebooks of a chapter ('03'), in order."""
    return [cell for name in _paths() if name.startswith(chapter) for cell in cells(name)]


@cache
def _walk(notebook):
    """[(cell's id, place)]: each heading as it comes, and for a code cell the last one."""
    chapter, place, found = str(int(number(notebook))), None, []
    section = chapter
    for cell in cells(notebook):
        for level, title in () if cell["code"] else re.findall(r"(?m)^(#+) (.+?)\s*$", cell["source"]):
            if level == "#" and place:
                continue  # a comment in a listing
            if level == "##":
                numbered = re.match(r"(\d+\.\d+) ", title)
                section = numbered[1] if numbered else chapter
            place = Place(notebook, cell["id"], section, title.removeprefix(f"{section} "))
            found.append((cell["id"], place))
        if cell["code"] and place:
            found.append((cell["id"], replace(place, cell=cell["id"])))
    return tuple(found)


@cache
def _section_titles(notebook):
    titles = {}
    for _, place in _walk(notebook):
        titles.setdefault(place.section, place.title)
    return titles


def headings() -> list[Place]:
    """All headings, in the order of the book."""
    code = {(name, cell["id"]) for name in _paths() for cell in cells(name) if cell["code"]}
    found = (place for name in _paths() for _, place in _walk(name))
    return [place for place in found if (place.notebook, place.cell) not in code]


def at(reference: str) -> Place:
    """The place that "2.4" or "2.4 Three mistakes" names: a section, or the heading in it that begins so.

    Raises ValueError for one that is not there.
    """
    section, _, start = reference.partition(" ")
    for place in headings():
        if place.section == section and place.title.startswith(start):
            return place
    raise ValueError(f"the chapters have no heading {reference!r}")


@cache
def shown(chapter: str, experiment: str) -> Place | None:
    """The first cell of a chapter that names an experiment, and the heading above it; None without one."""
    for pattern in (rf"\bexperiments\.{experiment}\b", rf"\b{experiment}\b"):
        if place := _first_cell(chapter, pattern):
            return place
    return None


def _first_cell(chapter, pattern):
    for notebook in _paths():
        under = dict(_walk(notebook)) if notebook.startswith(chapter) else {}
        for cell in cells(notebook) if under else ():
            body = re.sub(r"(?m)^(from|import) .*(\n    .*)*", "", cell["source"])
            if cell["code"] and cell["id"] in under and re.search(pattern, body):
                return under[cell["id"]]
    return None


def of(claim: Claim) -> Place:
    """Where a claim is shown, or told, or else where its chapter's table of claims is.

    Raises ValueError for a chapter that has none of these.
    """
    if place := shown(claim.chapter, claim.experiment.__name__):
        return place
    if claim.id in rows.told():
        return at(rows.told()[claim.id])
    if place := _first_cell(claim.chapter, rf"\btable\(['\"]{claim.chapter}"):
        return place
    raise ValueError(f"chapter {claim.chapter} neither shows claim {claim.id} nor has a table of claims")


def is_table(place: Place) -> bool:
    """Whether it is the table of claims at a chapter's end."""
    return place.title.startswith("Claims under test")


# --- tasks ----------------------------------------------------------------------------------------------


@cache
def exercises() -> dict[str, Path]:
    """The exercises' notebooks: {'02': path}."""
    folder = folders.HERE.parent / "exercises"
    return {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}


@cache
def tasks() -> dict[str, tuple[str, ...]]:
    """{id of a task: the rows that it practises}, in order."""
    found = [task for one in folders.chapters("tasks.py") for task in folders.module(one, "tasks").TASKS]
    return {task.id: tuple(task.ids) for task in found}


def task_link(task: str) -> str:
    """A task as a link to its statement."""
    path = exercises()[f"{int(task.split('.')[0]):02d}"]
    return f"[task {task}](../exercises/{path.name}#cell-id=task-{task.replace('.', '-')})"


def order(number: str) -> tuple[int, ...]:
    """To sort numbers such as "2.10" as a reader does."""
    return tuple(map(int, re.findall(r"\d+", number)))
