"""A notebook as the site shows it.  Nothing is run: the outputs are those that are committed."""

import base64
import copy
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

LINK = re.compile(r"""([\w./-]*?)#cell-id=([\w.-]+)""")


def linked_cells(text: str) -> set[str]:
    """The ids of cells that a notebook's text links to, wherever the cell is."""
    return {cell for _, cell in LINK.findall(text)}


def prepared(notebook, linked: set[str], alive: Mapping[str, str] = MappingProxyType({})):
    """A copy of the notebook for the site: cells that are linked to have an anchor, widgets their HTML.

    linked: ids of cells, as of `linked_cells`. alive: cell id -> HTML of its widget, as of `states.widgets`;
    a widget that is not there stays the picture that is committed.
    """
    made = copy.deepcopy(notebook)
    cells = []
    for cell in made.cells:
        mark = f'<div class="anchor" id="cell-{cell.id}"></div>'
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(?s)<!--.*?-->\n?", "", cell.source)
            if cell.id in linked:
                cell.source = f"{mark}\n\n{cell.source}"
        elif cell.cell_type == "code":
            if cell.id in linked:
                cells.append(_markdown(f"anchor-{cell.id}", mark))
            if cell.id in alive:
                cell.outputs = [_html(alive[cell.id])]
        cells.append(cell)
    made.cells = cells
    return made


def alts(notebook) -> dict[str, str]:
    """What is to be seen in each picture of a notebook: SHA-256 of the PNG -> alt text."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                digest = hashlib.sha256(base64.b64decode(picture)).hexdigest()
                found[digest] = output.metadata["image/png"]["alt"]
    return found


def _markdown(name, text):
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(text, id=name)


def _html(text):
    from nbformat.v4 import new_output

    return new_output("display_data", {"text/html": text})
