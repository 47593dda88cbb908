"""The playground's folder: its page, its scripts, and what `export` takes from the toolkit and the book."""

import html
import json
import shutil
from pathlib import Path

from book.site.playground import export, presets, still
from toolkit.files import write_file

PAGE = Path(__file__).with_name("page")
# In the order in which they must be read: each stands on those before it.
SCRIPTS = (
    "data.js", "weights.js", "arrays.js", "noise.js", "schedules.js", "grids.js", "models.js", "equation.js",
    "exponential.js", "samplers.js", "problems.js", "drawing.js", "page.js",
)  # fmt: skip


def write(folder) -> Path:
    """Write the playground into a folder, which is made if there is none; the path of its index.html.

    What was there under the same names is replaced.  The page links to `../index.html`, and from its presets
    to the chapters, `../chapters/NN_*.html`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(PAGE.iterdir()):
        if path.name != "page.html":
            shutil.copyfile(path, folder / path.name)
    about = {
        "samplers": export.samplers(),
        "schedules": export.SCHEDULES,
        "grids": export.GRIDS,
        "mixtures": export.mixtures(),
    }
    _script(folder / "data.js", "BOOK", about)
    _script(folder / "weights.js", "WEIGHTS", export.network())
    picture = still.picture()
    (folder / "picture.png").write_bytes(picture.png)
    write_file(folder / "index.html", _page(picture.alt))
    return folder / "index.html"


def _script(path, name, value):
    """A script that binds one constant."""
    write_file(path, f'"use strict";\nconst {name} = {json.dumps(value, separators=(",", ":"))};\n')


def _page(alt):
    """The page, its lists filled in."""
    scripts = "\n".join(f'<script defer src="{name}"></script>' for name in SCRIPTS)
    parts = {"scripts": scripts, "presets": presets.listed(), "left out": _left_out()}
    parts["alt"] = html.escape(alt)
    page = (PAGE / "page.html").read_text("utf8")
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def _left_out():
    """The samplers that the page has not, a list item for each reason."""
    reasons = {}
    for name, why in export.left_out().items():
        reasons.setdefault(why, []).append(f"<code>{name}</code>")
    return "\n".join(f"<li>{', '.join(names)}: {html.escape(why)}</li>" for why, names in reasons.items())
