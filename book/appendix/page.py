"""The notebook of appendix A, made from the rows, the claims of all chapters and their tasks."""

import re

import nbformat

from book.appendix import entries, neighbours, places, rows
from book.appendix.finder import counts, finder
from book.appendix.neighbours import NOTHING
from book.appendix.pictures import picture
from book.chapters import reading_minutes
from book.claims import VERDICTS, claims

NAME = "A_claims_tested.ipynb"
OTHERS = "Papers, libraries and folklore"


def notebook() -> nbformat.NotebookNode:
    """The appendix, not run yet; `toolkit book` asks for it by the notebook's metadata (`made_by`)."""
    cells = [_text("how", _how()), _text("find", FIND), _code("finder", FINDER, finder())]
    cells += [_text("map", _map()), _text("exercises", _exercises())]
    parts = [(f"{text.name} ◦", _flow(text.well), _sections(text)) for text in rows.texts()]
    parts += [(f"{OTHERS} ◦", _others(), []), ("Errata of prose ◦", _errata(), [])]
    parts += [("What is not done ◦", _open(), []), ("If you wrote one of them", _flow(AUTHORS), [])]
    for number, (heading, body, more) in enumerate(parts, 5):
        cells += [_text(_slug(heading.lower()), f"## A.{number} {heading}\n\n{body}"), *more]
    cells.append(_text("sources", _sources()))
    header = _text("header", _header(cells))
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return nbformat.v4.new_notebook(cells=[header, *cells], metadata={"made_by": __name__})


def _text(name, source):
    cell = nbformat.v4.new_markdown_cell(source)
    cell["id"] = name
    return cell


def _code(name, source, shows):
    """A cell whose source is folded, with what it will show, for the sake of the reading time."""
    folded = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
    data = {"image/png": ""} if hasattr(shows, "png") else {"text/html": shows._repr_html_()}
    output = nbformat.v4.new_output("display_data", data)
    cell = nbformat.v4.new_code_cell(source, metadata=folded, outputs=[output])
    cell["id"] = name
    return cell


def _flow(text):
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _slug(name):
    return re.sub(r"[\W_]+", "-", name, flags=re.ASCII).strip("-")


def _table(heads, lines):
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (heads, ["---"] * len(heads), *lines))


# --- the front ------------------------------------------------------------------------------------------

HEADER = """# A · Every claim of the five texts, tested

**After this chapter you can** open one of the five texts that
[chapter 0](00_start_here.ipynb#cell-id=honesty) names at any section, and
say what of it holds, on which condition, and which experiment here shows it; and find the section and the
exercises of this book that go with it.

**You need** nothing: this is to look things up in.
**Reading** about {first} minutes the first time, {whole} with all that is marked ◦.
**Running** under 20 seconds on 2 cores.
**Goes with** all of the textbook's chapter 8 (T), the blog post on the mean-value theorem (B), the PyTorch
tutorial (P), the summary of 24 posts (S) and the introduction to DDIM (I).

*This page is made by code, from the claims in the chapters' experiments and a list of the texts' points
in* `book/appendix/rows.toml`. *An edit made here is lost;* `toolkit book chapters/{name}` *writes the
page anew.*"""


def _header(cells):
    """The first cell, with the minutes that it takes to read the page."""
    page = nbformat.v4.new_notebook(cells=[_text("header", HEADER), *cells])
    first, whole = (reading_minutes(page, first) for first in (True, False))
    return HEADER.format(first=first, whole=whole, name=NAME)


HOW = """The texts are good, and this book stands on them. Each part begins with what its text does well.
Then come its sections in their own order. A statement that can be tested stands in quotation marks and in our
words, which are shorter than the author's and may be harder; after it the verdict, what was found, where
a chapter shows the experiment, and the tasks that practise it. The codes in brackets name the points of
the text, as chapter 0 says. What a text defines or asks for, and no experiment can decide, has a line
that says where it is taught.

A verdict is one of four. **Holds** and **fails** speak of the experiment that is named: of its data, its
range and its number of seeds. **Holds if** names the condition next. **Not decided** means that the lead
is within the spread. A failing claim is often a right one that lost its condition.

The table counts verdicts; it is no mark for a text. What is plainly right was mostly taught and not put to a
test, and what was tested was chosen because it could go wrong."""


def _how():
    names = {text.letter: f"{text.letter}, {text.name[0].lower()}{text.name[1:]}" for text in rows.texts()}
    names |= {"others": OTHERS.lower(), "all": "each counted once"}
    lines = [(names[key], sum(row.values()), *row.values()) for key, row in counts().items()]
    table = _table(["", "claims", *VERDICTS.values()], lines)
    note = "A claim that two texts make is counted with both."
    return "\n\n".join(["## A.1 How to read this", _flow(HOW), table, f"{note} {_neighbours()}"])


NEIGHBOURS = """Verdicts were tried on neighbours. {draws} of the claims rest on random numbers: with all
seeds moved {by_chance}. {beside} were tried on other data, another schedule or table, or other numbers of
steps, {cases} cases in all: {by_case}. The findings of these claims say so. The other {alone}
have no such neighbour: most are facts of a listing or a formula, rest on trained networks, or read a
recorded study."""


def _neighbours():
    """What became of the verdicts on neighbours."""
    every, record = claims(), neighbours.record()
    turns = {one.id: neighbours.turned(one) for one in every}
    draws = [one for one in every if record.get(one.id, {}).get(neighbours.SEEDS) not in (None, NOTHING)]
    beside = [one for one in every if one.neighbours]
    by_chance = [one for one, names in turns.items() if neighbours.SEEDS in names]
    by_case = [one for one, names in turns.items() if {*names} - {neighbours.SEEDS}]
    told = lambda ids: f"{len(ids)} turned ({'; '.join(ids)})" if ids else "none turned"
    said = _flow(NEIGHBOURS).format(
        draws=len(draws), by_chance=told(by_chance), beside=len(beside), by_case=told(by_case),
        cases=sum(len(one.neighbours) for one in beside), alone=len(every) - len(beside),
    )  # fmt: skip
    untried = [one.id for one in every if neighbours.untried(one)]
    return f"{said}{' Not tried yet: ' + '; '.join(untried) + '.' if untried else ''}"


FIND = """## A.2 Find a claim ◦

All claims in one table. Once its cell has run, choices above it filter by text, section, verdict and
chapter, as they do on an exported page. Where scripts are not allowed, as on GitHub, the table is whole,
and your browser's search finds words in it."""

FINDER = "from book.appendix.finder import finder\n\nfinder()"


# --- the map --------------------------------------------------------------------------------------------


def _map():
    parts = ["## A.3 The map", "Where each section of a text is answered, and what practises it."]
    for text in rows.texts():
        lines = []
        for section in text.sections:
            found = entries.without_tables(one for row in section.rows for one in entries.answers(row))
            spots = {one.section: one for one in found}
            here = [_short(spots[key]) for key in sorted(spots, key=places.order)]
            tasks = _links(entries.tasks(section.rows))
            lines.append((section.name, section.title, ", ".join(here) or "–", tasks))
        parts += [f"### {text.letter}: {text.name}", _table(["section", "about", "here", "tasks"], lines)]
    return "\n\n".join(parts)


def _short(place):
    whole = places.at(place.section) if "." in place.section else place
    return f"[{place.section}]({whole.address})"


def _links(tasks):
    return ", ".join(places.task_link(task).replace("[task ", "[") for task in tasks) or "–"


def _exercises():
    lines = []
    for row in rows.rows():
        for asked, tasks, spots in row.parts:
            here = ", ".join(_short(places.at(spot)) for spot in spots.split())
            lines.append((row.section.removeprefix("Exercise "), asked, _links(tasks.split()), here))
        if row.section == "Closing exercise":
            lines.append(("closing", row.says, _links(entries.tasks([row])), _spots(row)))
    said = (
        "Which of our tasks is which part of the textbook's exercises 8.1 to 8.3 and of its closing one. "
        "A dash: shown in the chapter, and no task of its own."
    )
    table = _table(["exercise", "what it asks", "tasks", "shown in"], lines)
    return f"## A.4 The textbook's exercises\n\n{said}\n\n{table}"


# --- the texts ------------------------------------------------------------------------------------------


def _sections(text):
    """The cells of a text's sections: the entries, then the pictures that their claims carry."""
    cells, pictures = [], _pictures()
    for section in text.sections:
        source = entries.section(section) + _legend(section, pictures)
        cells.append(_text(_slug(f"{section.text}-{section.name}"), source))
        for chapter, cell in pictures[section.heading]:
            source = f'from book.appendix.pictures import picture\n\npicture("{chapter}", "{cell}")'
            cells.append(_code(_slug(f"picture-{chapter}-{cell}"), source, picture(chapter, cell)))
    return cells


def _carried(section):
    """{(chapter, cell) of a picture: the ids of the points and claims that carry it}, in order."""
    found = {}
    for row in section.rows:
        if row.figure:
            found.setdefault(tuple(row.figure.split()), []).append(row.id)
        for one in row.claims:
            if one.figure and one.id not in found.setdefault((one.chapter, one.figure), []):
                found[one.chapter, one.figure].append(one.id)
    return found


def _legend(section, pictures):
    """Which points the pictures of a section belong to, and where those are that stand elsewhere."""
    shown, said = pictures[section.heading], []
    carried = _carried(section)
    if shown:
        said.append(f"*Below:* {'; '.join('for ' + ' and '.join(carried[one]) for one in shown)}.")
    for one in carried.keys() - set(shown):
        (there,) = (heading for heading, its in pictures.items() if one in its)
        said.append(f"*A picture for {' and '.join(carried[one])}* is under {there.split(':')[0]}.")
    return "\n\n" + " ".join([*said[: bool(shown)], *sorted(said[bool(shown) :])]) if said else ""


def _pictures():
    """{a section's heading: the (chapter, cell) of its claims' and points' pictures}; each picture once."""
    found, seen = {}, set()
    for section in (section for text in rows.texts() for section in text.sections):
        carried = _carried(section)
        found[section.heading] = [one for one in carried if one not in seen]
        seen |= set(carried)
    return found


def _others():
    parts = ["Statements that no section of the five texts makes, by the chapter that tests them."]
    for chapter in sorted({one.chapter for one in claims()}):
        if told := [entries.tested(one) for one in rows.outside() if one.chapter == chapter]:
            parts += [f"### Tested in chapter {int(chapter)}", "\n".join(told)]
    return "\n\n".join(parts)


# --- the back -------------------------------------------------------------------------------------------


def _errata():
    said = (
        "Dates, slips of the pen and figures without a source: small things, told so that nobody copies "
        "them. †, here and above: we did not look the source up."
    )
    prose = [row for row in rows.rows() if row.kind in rows.PROSE and row.right]
    lines = [
        (row.text, row.section, f"{row.says} ({row.id})", row.right, row.cite or "–", _spots(row))
        for row in prose
    ]
    return f"{said}\n\n{_table(['text', 'section', 'it says', 'right is', 'source', 'here'], lines)}"


def _spots(row):
    return ", ".join(dict.fromkeys(map(_short, entries.answers(row)))) or "–"


def _open():
    rest = "\n".join(f"- {row.id}: {row.rest}." for row in rows.rows() if row.rest)
    return f"Of these a part is not done:\n\n{rest}"


AUTHORS = """
Thank you: without your text this book would not exist. We wrote your sentences in our own words; if we made
you say what you did not, or tested what you did not mean, that is our mistake, and the first thing that we
want to mend.

Every verdict here can be run: after `from book.claims import claims`, `claims("02")[0].run()` gives the
numbers, and `claims("02")[0].decided()` the verdict. If you think that one is wrong, open an issue with
the code in brackets, the place in your text, and the data or range in which your statement holds: a
second question (`fails=`) makes "fails" into "holds if", with your condition first. If you have mended
your text since, say so, and the line here will say since when. [CONTRIBUTING](../CONTRIBUTING.md) tells
how to add a claim."""


def _sources():
    cited = sorted(
        {part for row in rows.rows() for part in row.cite.split("; ") if re.search(r"\d{4}", part)}
    )
    return (
        f"## Sources\n\nOf the errata: {'; '.join(cited)}.\n\nThe chapters name those of the claims; full "
        "entries are in `references.bib`."
    )
