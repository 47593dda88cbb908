"""A notebook as the site shows it.  Nothing is run: the outputs are those that are committed."""

import base64
import copy
import hashlib
import re
import struct

LINK = re.compile(r"""([\w./-]*?)#cell-id=([\w.-]+)""")


def linked_cells(text: str) -> set[str]:
    """The ids of cells that a notebook's text links to, wherever the cell is."""
    return {cell for _, cell in LINK.findall(text)}


TO_WORK_ON = (
    "<p>Nothing runs on this page. To do the tasks, open <code>exercises/{0}</code> in JupyterLab, or take "
    '<a href="{0}" download>the notebook</a>.</p>'
)


def prepared(notebook, linked: set[str], alive: dict[str, str], exercise: str = ""):
    """A copy of the notebook for the site: cells that are linked to have an anchor, widgets their HTML.

    linked: ids of cells, as of `linked_cells`. alive: as of `states.widgets`. exercise: the file's name if it
    is one, and so gets a link to the notebook itself below its title.
    """
    made = copy.deepcopy(notebook)
    cells = []
    if exercise:
        title, _, rest = made.cells[0].source.partition("\n")
        made.cells[0].source = f"{title}\n\n{TO_WORK_ON.format(exercise)}\n\n{rest.lstrip()}"
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


def pictures(notebook) -> dict[str, tuple[str, int, int]]:
    """SHA-256 of each picture's PNG -> its alt text, width and height in pixels."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                png = base64.b64decode(picture)
                size = struct.unpack(">II", png[16:24])  # PNG's first chunk begins with them
                found[hashlib.sha256(png).hexdigest()] = (output.metadata["image/png"]["alt"], *size)
    return found


def _markdown(name, text):
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(text, id=name)


def _html(text):
    from nbformat.v4 import new_output

    return new_output("display_data", {"text/html": text})
