"""What cells of a chapter define, run outside of the chapter."""

from pathlib import Path

from book import chapters

CHAPTERS = Path(__file__).resolve().parents[3] / "chapters"


def sources(name):
    """{cell id: source} of a chapter's file, such as "08_practice"."""
    return {cell.id: cell.source for cell in chapters.read(CHAPTERS / f"{name}.ipynb").cells}


def left_by(name, *ids, defining=False):
    """The names that cells of a chapter leave behind, its imports run before them.

    name: of its file.  ids: of the cells.  defining: of each cell only the part before its
    first empty line, which defines.
    """
    cells, space = sources(name), {}
    exec(compile(cells["imports"], "imports", "exec"), space)
    for one in ids:
        source = cells[one].split("\n\n")[0] if defining else cells[one]
        exec(compile(source, one, "exec"), space)
    return space
