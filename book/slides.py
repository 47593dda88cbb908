"""Slides of a chapter, by rule: its titles, equations, predictions and figures; and a page that is whole.

`deck` makes a notebook of Markdown cells that carry `slideshow` metadata, one cell a slide and its speaker's
notes: it can be edited in JupyterLab, and `jupyter nbconvert --to slides` takes it (reveal.js comes from a
network then). `page` makes one HTML file of such a notebook, with the pictures and formulas (MathML) in it: a
lecture hall has no network.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from book import chapters
from book.formulas import mathml, untagged

TEMPLATE = Path(__file__).with_name("slides.html")
SKIPPED = re.compile(r"Claims under test|Sources|References")  # no slides are made of such a section
AIM = "**After this chapter"
WIDE = 80  # characters of TeX in a row of a displayed formula
SHORT = 60  # characters; a shorter sentence takes the one before it along
# A sentence ends at a full stop before a capital, a bracket, bold print or what was masked (see `sentences`).
END = re.compile(r"(?<=[.!?])(?<!\beq\.)(?<!\bal\.)(?<!e\.g\.)(?<!i\.e\.)(?<!Fig\.)\s+(?=[A-Z(\[*\x00])")


@dataclass
class Slide:
    """One slide: its title, its Markdown, {name: base64 of a PNG} that it shows, and the speaker's notes."""

    title: str
    text: str
    pictures: dict = field(default_factory=dict)
    notes: str = ""


# --- what a chapter gives -------------------------------------------------------------------------------


def slides(notebook) -> list[Slide]:
    """The slides of a chapter that has been run, in order; what stands under a heading with ◦ gives none."""
    made, section = [], _Section()
    for piece, later in chapters.pieces(notebook):
        if later:
            continue
        if not isinstance(piece, str):
            section.add_cell(piece)
            continue
        heading = re.match(r"(#+) (.*)", piece)
        if heading and len(heading[1]) <= 2:
            made += section.done()
            section = _Section(heading[2].strip())
        elif heading:
            section.title, section.waits = heading[2].strip(), None
        section.add_text(piece[heading.end() :] if heading else piece)
    return made + section.done()


class _Section:
    """What is between two headings `##`, read piece by piece."""

    def __init__(self, title=""):
        self.first = self.title = title
        self.made, self.prose = [], []
        self.waits = None  # the slide whose caption and notes the next text gives
        self.near = True  # whether that text stands directly below it

    def add_text(self, text):
        """Slides of the equations and predictions in a text, or of a header or recap."""
        notes = _answers(text)
        paragraphs = _paragraphs(text)
        if self.waits and (notes or paragraphs):
            self._explain(notes, paragraphs)
        if any(one.startswith(AIM) for one in paragraphs):
            return self._header(paragraphs)
        if "Recap" in self.first:
            return self._recap(paragraphs)
        before = ""
        for paragraph, after in zip(paragraphs, [*paragraphs[1:], ""]):
            if "\\tag{" in paragraph:
                self._equation(before, paragraph, after)
                before = ""  # told once
            elif re.search(r"\*\*Predict", paragraph):
                self._prediction(paragraph)
            elif _is_prose(paragraph):
                self.prose.append(paragraph)
                before = paragraph

    def add_cell(self, cell):
        """The slide of a cell's picture; a table gives none, and parts a picture from the text below."""
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                alt = output.metadata["image/png"]["alt"].translate({ord("["): "(", ord("]"): ")"})
                name = f"{cell.id}.png"
                text = f"![{' '.join(alt.split())}](attachment:{name})"
                self._add(Slide(self.title, text, {name: output.data["image/png"].replace("\n", "")}))
                self.waits, self.near = self.made[-1], True
                return
            self.near = False

    def done(self):
        """The slides; a section that gave none is told by its first sentences."""
        if not self.made and self.prose and not SKIPPED.search(self.first):
            self._add(Slide(self.first, " ".join(sentences(self.prose[0])[:2])))
        return [] if SKIPPED.search(self.first) else self.made

    def _add(self, slide):
        slide.title = slide.title.replace(chapters.LATER, "").strip()
        self.made.append(slide)

    def _explain(self, answers, paragraphs):
        """Notes of the slide that waits; below a picture, a sentence of the answer or of the text."""
        said = [one for one in paragraphs if _is_prose(one) and "**Predict" not in one] if self.near else []
        asked = [slide for slide in self.made[-3:] if "**Predict" in slide.text and not slide.notes]
        if answers or self.near:
            whole = [one for one in said if one[-1] != ":"]  # what leads to an equation is on its slide
            self.waits.notes = "\n\n".join([*answers, *whole[:2]])
        if self.waits.pictures:
            self.waits.text += "\n\n" + _caption([*answers, *said])
        for slide in asked:  # the answer belongs to the question, too, which stands before the picture
            slide.notes = "\n\n".join(answers)
        self.waits = None

    def _equation(self, before, paragraph, after):
        """An equation with the sentence that leads to it and what ends its sentence."""
        lead = [one for one in sentences(before) if one[0] != "("]
        lead = lead[-2:] if lead and len(lead[-1]) < SHORT else lead[-1:]
        rest = sentences(after)[:1] if re.match(r"[a-z]|\$(?!\$)", after) else []
        self._add(Slide(self.title, "\n\n".join([" ".join(lead), paragraph, *rest]).strip()))
        self.waits = None

    def _prediction(self, paragraph):
        start = paragraph.index("**Predict")
        if before := paragraph[:start].strip():
            self.prose.append(before)
        self._add(Slide(self.title, paragraph[start:]))
        self.waits, self.near = self.made[-1], True

    def _header(self, paragraphs):
        """The title, and what a reader can do afterwards, as a list."""
        aim = next(one for one in paragraphs if one.startswith(AIM))
        start, _, rest = re.sub(r" \(sections?[^)]*\)", "", aim).partition("** ")
        points = "\n".join(f"- {item}" for item in re.split(r";\s+(?:and )?", rest.rstrip(".")))
        self._add(Slide(self.first, f"{start}**\n\n{points}"))

    def _recap(self, paragraphs):
        """The formulas, then the sentences; what other libraries call them is no matter for slides."""
        for one in paragraphs:
            if re.match(r"\|.*formula", one) or re.match(r"1\. ", one):
                self._add(Slide(self.first, one))


def _paragraphs(text):
    """The paragraphs of Markdown, without comments, links' targets and what is folded."""
    text = _bare(re.sub(r"(?s)<details>.*?</details>|<!--.*?-->", "", text))
    text = re.sub(r"(?s)\n*(\$\$.*?\$\$)\n*", r"\n\n\1\n\n", text)
    found = [re.sub(r"^\([^()]*\.\)\s*", "", one.strip()) for one in re.split(r"\n\s*\n", text)]
    return [one for one in found if one]  # a source in brackets, below its equation, is left to the chapter


def _answers(text):
    """What the folded answers of a text say."""
    return [_bare(one.strip()) for one in re.findall(r"(?s)<summary>Answer</summary>(.*?)</details>", text)]


def _bare(text):
    """Markdown with links as their words, and without tags inside a line."""
    return re.sub(r"</?(?:i|b|em)>", "", re.sub(r"(?<!!)\[([^\]]*)\]\([^)]*\)", r"\1", text))


def _caption(paragraphs):
    """The first sentence that stands alone, and the one before it where it is short."""
    found = sentences(paragraphs[0])[:3] if paragraphs else []
    for n, one in enumerate(found):
        if one[-1] not in ":?" and len(one) >= SHORT:
            return " ".join(found[max(0, n - 1) : n + 1]) if n and found[n - 1][-1] not in ":?" else one
    return " ".join(one for one in found[:2] if one[-1] not in ":?")


def _is_prose(paragraph):
    return not re.match(r"[|>#]|\$\$|[-*] |\d+\. |```|\(", paragraph)


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; formulas and code are not looked into."""
    kept = re.findall(chapters.INLINE, text)
    masked = re.sub(chapters.INLINE, "\x00", " ".join(text.split()) if not kept else text)
    parts, rest = [], iter(kept)
    for part in END.split(" ".join(masked.split())):
        parts.append(re.sub("\x00", lambda _: next(rest), part))
    return [part for part in parts if part]


# --- the deck as a notebook, and as a page --------------------------------------------------------------


def deck(notebook) -> nbformat.NotebookNode:
    """The slides of a chapter as a notebook of Markdown cells with `slideshow` metadata."""
    cells = []
    for n, slide in enumerate(slides(notebook)):
        source = f"{'##' if n else '#'} {slide.title}\n\n{slide.text}".strip()
        pictures = {name: {"image/png": data} for name, data in slide.pictures.items()}
        cells.append(_cell(f"slide-{n + 1}", source, "slide", pictures))
        if slide.notes:
            cells.append(_cell(f"notes-{n + 1}", slide.notes, "notes"))
    kernel = {"kernelspec": dict(chapters.KERNELSPEC), "language_info": {"name": "python"}}
    made = nbformat.v4.new_notebook(
        cells=cells, metadata=kernel | {"title": cells[0].source.split("\n")[0][2:]}
    )
    nbformat.validate(made)
    return made


def _cell(name, source, kind, pictures=None):
    cell = nbformat.v4.new_markdown_cell(source, id=name, metadata={"slideshow": {"slide_type": kind}})
    if pictures:
        cell["attachments"] = pictures
    return cell


def page(made) -> str:
    """One HTML file of a deck, with all that it needs.  Slides follow one another; `sub-slides` are slides,
    cells without a type belong to the slide before, and `skip` is left out.
    """
    import jinja2

    shown = []
    for cell in made.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if kind == "skip" or cell.cell_type != "markdown":
            continue
        html = _html(cell.source, cell.get("attachments", {}))
        if kind in ("slide", "subslide") or not shown:
            shown.append({"body": html, "notes": ""})
        else:
            shown[-1]["notes" if kind == "notes" else "body"] += html
    template = jinja2.Environment(autoescape=False).from_string(TEMPLATE.read_text("utf8"))
    return template.render(title=made.metadata.get("title", "Slides"), slides=shown)


@lru_cache
def _renderer():
    """nbconvert's Markdown, with formulas as MathML, which browsers draw by themselves."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):
        def inline_math(self, body):
            return mathml(body)

        def block_math(self, body):
            body, number = untagged(body)
            rows = "".join(mathml(row, "block") for row in _rows(body))
            said = f'<span class="number">({number})</span>' if number else ""
            return f'<div class="equation"><div class="rows">{rows}</div>{said}</div>'

    return Renderer


def _rows(tex):
    """A displayed formula, cut where it has wide spaces: a slide is not as wide as a page."""
    if "\\begin" in tex:
        return [tex.strip()]
    rows = tex.split("\\qquad")
    if max(map(len, rows)) > WIDE:
        rows = [part for row in rows for part in row.split("\\quad")]
    return [row.strip() for row in rows if row.strip()]


def _html(source, attachments):
    from nbconvert.filters.markdown_mistune import MarkdownWithMath

    renderer = _renderer()(escape=True, exclude_anchor_links=True, attachments=attachments)
    return MarkdownWithMath(renderer=renderer).render(source)


# --- the command ----------------------------------------------------------------------------------------


def command(
    names: Annotated[
        list[str], typer.Argument(help="Chapters, 03 or 03b, or decks that were edited (.ipynb).")
    ],
    to: Annotated[Path, typer.Option(help="The folder where slides go; it is made.")] = Path("slides"),
    notebook: Annotated[
        bool, typer.Option("--notebook", help="A notebook to edit, for `jupyter nbconvert --to slides` too.")
    ] = False,
):
    """Make slides of a chapter: its equations, predictions and figures, as one page that needs no network."""
    from toolkit.files import write_file

    try:
        for name in names:
            stem, made = _named(name)
            text = chapters.dumps(made) if notebook else page(made)
            path = to / f"{stem}.slides.{'ipynb' if notebook else 'html'}"
            to.mkdir(parents=True, exist_ok=True)
            write_file(path, text)
            print(path)
    except chapters.BookError as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        typer.echo(f"Slides need {error.name}, which comes with the book: pip install '.[book]'", err=True)
        raise typer.Exit(2) from None


def _named(name):
    """The stem of a deck's file and the deck, of a chapter's name or of an edited deck."""
    if name.endswith(".ipynb"):
        made = chapters.read(name)
        if any("slideshow" in cell.metadata for cell in made.cells):
            return Path(name).stem.removesuffix(".slides"), made
        return Path(name).stem, deck(made)
    found = [path for path in chapters.chapters() if path.stem.partition("_")[0] == name]
    if not found:
        there = ", ".join(path.stem.partition("_")[0] for path in chapters.chapters())
        raise chapters.BookError(name, [f"no such chapter; there are {there}"])
    return found[0].stem, deck(chapters.read(found[0]))
