"""Widgets of the chapters for a page without a kernel: pictures of their states, drawn beforehand.

A widget is what `book.widgets.explore` returns. Each is drawn at all its settings where these are few, and
otherwise on a lattice: every option of a list, and of each slider some places, its first, last and initial
one among them (`lattice`). The page's controls have exactly these places.

    toolkit states                     draws what is missing or old: chapters/states/NN_name.xz
    widgets(notebook, folder, "…")     the HTML of a notebook's widgets, by cell, and their pictures as files

Why the pictures are committed and not drawn with the site: measured on one core, the cells that the 19
widgets stand on take 45 s, a picture .15 to .3 s, and there are 1,900 of them: six to eight minutes, where
the whole site may take three. As PNG they are 40 MB. But the states of a widget differ by little: all of a
chapter's, in one palette for each widget and compressed as one piece, take a quarter of that. A site that is
built writes them as PNG again, 5 ms each, and skips those that are there.

A record is of one source: each widget carries the `digest` of the code that it was drawn by, and is used only
while the chapter's cells and our modules have this digest, and while its first picture says what the
chapter's own says. Where not, the page keeps the chapter's picture, and a sentence tells what to do.
"""

import hashlib
import html
import io
import itertools
import json
import lzma
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from book.chapters import BookError, chapters, read
from book.dependencies import digest, run, standing_on
from book.widgets import Explorer, Slider
from toolkit.files import write_file

FEW = 100  # settings: all are drawn
MOST = 64  # otherwise about so many, where lists of options do not ask for more
COLOURS = 128  # of a widget's pictures
STATIC = Path(__file__).parent / "static"


# --- which states ---------------------------------------------------------------------------------------


def spread(size: int, fixed, count: int) -> list[int]:
    """`count` of the places 0, …, size − 1, or as many as there are: the `fixed` ones, then always the middle
    of the widest gap.
    """
    chosen = sorted(set(fixed))
    while len(chosen) < min(count, size):
        low, high = max(itertools.pairwise(chosen), key=lambda gap: gap[1] - gap[0])
        chosen = sorted([*chosen, (low + high) // 2])
    return chosen


def lattice(sizes, firsts, whole) -> list[list[int]]:
    """The places at which each control is drawn.

    sizes: how many places each control has. firsts: the place of each at first. whole: whether a control
    keeps all places, as a list of options does. All are kept if there are at most `FEW` settings; otherwise
    the sliders get more places in turn, from three (first, initial, last), while the settings are at most
    `MOST`.
    """
    if math.prod(sizes) <= FEW:
        return [list(range(size)) for size in sizes]
    places = [list(range(n)) if keep else spread(n, {0, first, n - 1}, 3)
              for n, first, keep in zip(sizes, firsts, whole, strict=True)]  # fmt: skip
    growing = True
    while growing:
        growing = False
        for i in sorted(range(len(sizes)), key=lambda i: len(places[i])):
            more = spread(sizes[i], places[i], len(places[i]) + 1)
            others = math.prod(len(places[k]) for k in range(len(sizes)) if k != i)
            if len(more) > len(places[i]) and len(more) * others <= MOST:
                places[i], growing = more, True
                break
    return places


# --- a record -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """A control in a page: its kind ("Slider", "Choice" or "Tick"), what each place shows, the place at
    first, and how many places it has with a kernel.
    """

    name: str
    label: str
    kind: str
    shown: list[str]
    first: int
    of: int


@dataclass
class Widget:
    """The drawn states of one widget.

    cell: its cell's id. digest: of the code that drew it. controls: in the page's order. states: ``(number of
    the picture, alt text)`` for each setting, the last control the fastest. sizes: (width, height) of each
    picture. palette: 3 bytes for each colour. pixels: of each picture, a byte for each.
    """

    cell: str
    digest: str
    controls: list[Control]
    states: list[tuple[int, str]]
    sizes: list[tuple[int, int]]
    palette: bytes = b""
    pixels: list[bytes] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The number of the state that is shown at first."""
        return self.number([control.first for control in self.controls])

    def number(self, places) -> int:
        """The number of the state with these places of the controls."""
        number = 0
        for control, place in zip(self.controls, places, strict=True):
            number = number * len(control.shown) + place
        return number

    def image(self, picture: int) -> Image.Image:
        """A picture, by its number."""
        image = Image.frombytes("P", tuple(self.sizes[picture]), self.pixels[picture])
        image.putpalette(self.palette)
        return image


def draw(cell: str, of: str, explorer: Explorer) -> Widget:
    """All states of an explorer in the page, drawn. cell: its cell's id. of: the digest of its sources."""
    controls, values = _controls(explorer)
    pictures = []
    for setting in itertools.product(*values):
        picture = explorer.draw(dict(zip(explorer.controls, setting, strict=True)))
        pictures.append((picture.png, picture.alt))  # the figure itself is let go
    palette = _palette([png for png, _ in pictures[:: max(1, len(pictures) // 12)]])
    numbers, states = {}, []
    for png, alt in pictures:
        colours = _colours(png)
        key = (colours.shape[1::-1], _nearest(colours, palette).tobytes())
        states.append((numbers.setdefault(key, len(numbers)), alt))
    sizes, pixels = zip(*numbers, strict=True)
    return Widget(cell, of, controls, states, list(sizes), palette.tobytes(), list(pixels))


def _controls(explorer):
    """``(controls, their values)`` of an explorer that nobody has moved, at the places where it is drawn."""
    names, live = list(explorer.controls), list(explorer.controls.values())
    settings = [control.settings() for control in live]
    firsts = [[value for _, value in these].index(explorer.values[name])
              for name, these in zip(names, settings, strict=True)]  # fmt: skip
    whole = [not isinstance(control, Slider) for control in live]
    places = lattice([len(these) for these in settings], firsts, whole)
    made = [
        Control(
            name=names[i],
            label=live[i].label or names[i],
            kind=type(live[i]).__name__,
            shown=[settings[i][place][0] for place in kept],
            first=kept.index(firsts[i]),
            of=len(settings[i]),
        )
        for i, kept in enumerate(places)
    ]
    return made, [[settings[i][place][1] for place in kept] for i, kept in enumerate(places)]


# --- colours --------------------------------------------------------------------------------------------


def _colours(png):
    """(height, width, 3): the colours of a picture."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _palette(pngs):
    """(`COLOURS`, 3): colours for all of these pictures, the most frequent as they are, means of others."""
    some = np.concatenate([_colours(png).reshape(-1, 3) for png in pngs])
    distinct, _, counts = _distinct(some)
    frequent = distinct[np.argsort(-counts, kind="stable")[: COLOURS // 2]]
    means = Image.fromarray(some[None]).quantize(COLOURS - len(frequent), dither=Image.Dither.NONE)
    return np.concatenate([frequent, np.reshape(means.getpalette(), (-1, 3))]).astype(np.uint8)[:COLOURS]


def _distinct(colours):
    """``(distinct colours, the number of each pixel's one, how often each is there)``."""
    packed = colours.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    distinct, numbers, counts = np.unique(packed, return_inverse=True, return_counts=True)
    return np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], 1), numbers, counts


def _nearest(colours, palette):
    """The number of the nearest colour of a palette, for each pixel."""
    distinct, numbers, _ = _distinct(colours)
    distances = np.square(distinct[:, None].astype(float) - palette).sum(2)
    return distances.argmin(1).astype(np.uint8)[numbers]


# --- a file for each chapter ----------------------------------------------------------------------------


def record_of(notebook) -> Path:
    """Where the states of a chapter's notebook lie."""
    return Path(notebook).parent / "states" / f"{Path(notebook).stem}.xz"


def load(notebook) -> dict[str, Widget]:
    """The recorded widgets of a chapter, by cell; none if there is no record."""
    path = record_of(notebook)
    if not path.exists():
        return {}
    with lzma.open(path) as file:
        made = {}
        for one in json.loads(file.readline()):
            colours, controls = one.pop("colours"), [Control(**control) for control in one.pop("controls")]
            widget = Widget(**one, controls=controls, palette=file.read(3 * colours))
            widget.pixels = [file.read(width * height) for width, height in widget.sizes]
            made[widget.cell] = widget
    return made


def save(notebook, made) -> None:
    """Write the record of a chapter; made: its widgets. The bytes depend on these alone."""
    heads, pieces = [], []
    for widget in made:
        head = asdict(widget)
        del head["palette"], head["pixels"]
        heads.append(head | {"colours": len(widget.palette) // 3})
        pieces += [widget.palette, *widget.pixels]
    text = json.dumps(heads, ensure_ascii=False)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 25}]
    write_file(record_of(notebook), lzma.compress(b"".join([text.encode(), b"\n", *pieces]), filters=filters))


# --- is it of these sources? ----------------------------------------------------------------------------


def sources(notebook) -> dict[str, str]:
    """{cell id: digest} of the cells of a notebook (read by `book.chapters.read`) that show a widget."""
    return {
        cell.id: digest(standing_on(notebook.cells, lambda other, cell=cell: other is cell))
        for cell in notebook.cells
        if shows_widget(cell)
    }


def shows_widget(cell) -> bool:
    """Whether a cell of a notebook shows a widget."""
    return cell.cell_type == "code" and "explore(" in cell.source


def wrong(path, widget: Widget | None, of: str, cell) -> str | None:
    """Why a recorded widget must not be shown, in a sentence; None if it may.

    path: the notebook's. of: the digest of the cell's sources. cell: of the notebook, with its output.
    """
    again = "`toolkit states` draws its states anew"
    if widget is None:
        return f"{Path(path).stem}, {cell.id}: there is no record of this widget; {again}"
    if widget.digest != of:
        return f"{Path(path).stem}, {cell.id}: the record of this widget is of other sources; {again}"
    alts = [output.get("metadata", {}).get("image/png", {}).get("alt") for output in cell.outputs]
    if widget.states[widget.first][1] not in alts:
        return f"{Path(path).stem}, {cell.id}: the chapter shows another first picture; {again}"
    return None


def record(path) -> list[str]:
    """Draw those widgets of a notebook whose record is missing or old; the ids of their cells.

    Raises BookError where a cell does not run, or one with a widget does not end in it.
    """
    notebook, made = read(path), load(path)
    of = sources(notebook)
    cells = {cell.id: cell for cell in notebook.cells}
    old = [name for name in of if wrong(path, made.get(name), of[name], cells[name])]
    try:
        values = run(standing_on(notebook.cells, lambda cell: cell.id in old))
    except Exception as error:  # whatever a cell raises is the chapter's, and the others are drawn
        problem = f"the cells of its widgets stop with {type(error).__name__}: {error}"
        raise BookError(path, [problem]) from error
    for name in old:
        if not isinstance(values[name], Explorer):
            raise BookError(path, [f"cell {name} calls explore(...) and does not end in it"])
        made[name] = draw(name, of[name], values[name])
    if old or made.keys() - of.keys():
        save(path, [made[name] for name in of])
    return old


# --- in a page ------------------------------------------------------------------------------------------


def widgets(path, folder, address: str, report: Callable[[str], None] = print) -> dict[str, str]:
    """{cell id: HTML} of the widgets of a notebook, and the files of their pictures.

    path: of the notebook, with its outputs. folder: for the pictures, made if it is not there; a picture's
    name is a hash of it, so that equal ones are one file and those that are there need not be written.
    address: of the folder as the page names it. report: gets a sentence for each widget whose record is
    missing or old; such a widget is left out, and the page keeps the chapter's own picture.
    """
    notebook, made = read(path), load(path)
    of, pages = sources(notebook), {}
    for cell in notebook.cells:
        if cell.id in of:
            widget = made.get(cell.id)
            problem = wrong(path, widget, of[cell.id], cell)
            if problem:
                report(problem)
            else:
                names = write_pictures(widget, folder)
                pages[cell.id] = page(widget, f"{Path(path).stem}-{cell.id}", names, address)
    return pages


def write_pictures(widget: Widget, folder) -> list[str]:
    """Write the pictures of a widget into a folder, as PNG; their names, in order."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    names = []
    for i, (size, pixels) in enumerate(zip(widget.sizes, widget.pixels, strict=True)):
        content = hashlib.sha256(b"".join([repr(tuple(size)).encode(), widget.palette, pixels]))
        names.append(f"{content.hexdigest()[:16]}.png")
        path = Path(folder, names[-1])
        if not path.exists():  # whole as soon as it is there, and not waited for until it is on the disk
            part = path.with_suffix(".part")
            widget.image(i).save(part, "png")
            part.replace(path)
    return names


def page(widget: Widget, name: str, files: list[str], address: str) -> str:
    """The HTML of a widget, which `static/explorer.js` moves; without JavaScript, its first picture.

    name: unlike that of any other widget of the page. files: names of the pictures. address: of their folder.
    """
    picture, alt = widget.states[widget.first]
    width, height = widget.sizes[picture]
    alts = list(dict.fromkeys(alt for _, alt in widget.states))
    number = {alt: i for i, alt in enumerate(alts)}
    data = {
        "folder": address,
        "files": files,
        "alts": alts,
        "shown": [control.shown for control in widget.controls],
        "states": [[picture, number[alt]] for picture, alt in widget.states],
    }
    controls = "\n".join(_field(control, f"{name}-{control.name}") for control in widget.controls)
    coarse = any(len(control.shown) < control.of for control in widget.controls)
    return TEMPLATE.format(
        name=html.escape(name),
        controls=controls,
        note=COARSE.format(len(widget.states)) if coarse else "",
        src=html.escape(f"{address}/{files[picture]}"),
        alt=html.escape(alt),
        width=width,
        height=height,
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


TEMPLATE = """<div class="explorer" id="{name}">
<div class="explorer-controls" role="group" aria-label="Controls of the picture below" hidden>
{controls}
{note}</div>
<img src="{src}" alt="{alt}" width="{width}" height="{height}" loading="lazy">
<p class="explorer-told" role="status"></p>
<noscript><p>With JavaScript, or in JupyterLab, this picture follows its controls.</p></noscript>
<script type="application/json">{data}</script>
</div>
"""
COARSE = '<p class="explorer-note">Drawn here at {} settings; JupyterLab has them all.</p>\n'


def _field(control, name):
    """A labelled control of the page."""
    name, label, now = (html.escape(text) for text in (name, control.label, control.shown[control.first]))
    if control.kind == "Slider":
        field = (
            f'<input type="range" id="{name}" min="0" max="{len(control.shown) - 1}" step="1" '
            f'value="{control.first}" aria-valuetext="{now}" autocomplete="off">'
            f'<output for="{name}" aria-hidden="true">{now}</output>'  # the slider's own value is told
        )
    elif control.kind == "Tick":
        ticked = " checked" if control.first else ""
        field = f'<input type="checkbox" id="{name}"{ticked} autocomplete="off">'
    else:
        options = "".join(f"<option{' selected' if i == control.first else ''}>{html.escape(text)}</option>"
                          for i, text in enumerate(control.shown))  # fmt: skip
        field = f'<select id="{name}" autocomplete="off">{options}</select>'
    return f'<div class="explorer-control"><label for="{name}">{label}</label>{field}</div>'


def command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Notebooks; all chapters if none is named.")
    ] = None,
):
    """Draw the states of widgets whose record is missing or of other sources."""
    good = True
    for path in paths or chapters():
        try:
            drawn = record(path)
            print(f"{path.name}: {'drawn: ' + ', '.join(drawn) if drawn else 'as recorded'}", flush=True)
        except BookError as error:
            print(error, flush=True)
            good = False
    raise SystemExit(0 if good else 1)
