"""Building the book: run every chapter and write it in one normal form, so that two runs give equal bytes.

``toolkit book`` executes the chapters in place; ``toolkit book --check`` executes them in memory and
compares. The normal form keeps cell ids and drops what differs from run to run: timings, execution metadata,
widget state, the chunking of streams. What would differ from machine to machine, or reach the reader as
noise, is refused with a sentence: output on stderr (a warning in a chapter is a failure), memory addresses,
widgets without a static twin, pictures without alt text.
"""

import copy
import difflib
import hashlib
import html
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from book import threads
from toolkit.files import write_file

LONGEST_CELL = 25  # lines
TIMEOUT = 600  # seconds for one cell
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
VOLATILE = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "widgets", "vscode", "editable")
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
MARKER = re.compile(r"<!--\s*eq:([\w.-]+)\s*-->")
TAG = re.compile(r"\\tag\{([^}]*)\}")
INLINE = r"\$[^$\n]*\$|`[^`\n]*`"


class BookError(ValueError):
    """The problems of a chapter, a sentence each; raised with all that there are."""

    def __init__(self, path, problems):
        self.path, self.problems = Path(path), list(problems)
        super().__init__("\n".join(f"{self.path.name}: {problem}" for problem in self.problems))


# --- reading and judging the source ---------------------------------------------------------------------


def read(path) -> nbformat.NotebookNode:
    """The notebook at ``path`` (nbformat 4.5). Raises BookError with one sentence when it is not one."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BookError(path, [f"cannot be read as a text file ({error})"]) from None
    try:
        notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    except Exception:
        raise BookError(path, ["is not a notebook: its content is not the JSON of an .ipynb file"]) from None
    if notebook.nbformat != 4:
        raise BookError(
            path, [f"has notebook format {notebook.nbformat}; open it in JupyterLab and save it as format 4"]
        )
    return notebook


def number(path) -> str | None:
    """The chapter that a notebook is part of: "03" of 03_sde_ode and of 03b_solvers; None for an appendix,
    whose name begins with a letter.
    """
    match = re.match(r"(\d\d)", Path(path).stem)
    return match and match[1]


def made(notebook) -> nbformat.NotebookNode:
    """The notebook itself, or, where its metadata name a module (`made_by`), what that module's `notebook()`
    makes: an appendix is written by code from the rest of the book.
    """
    maker = notebook.metadata.get("made_by")
    return import_module(maker).notebook() if maker else notebook


def sources(notebook) -> list[tuple]:
    """``(number, cell)`` of each cell, counted from 1 as a reader does."""
    return list(enumerate(notebook.cells, start=1))


def lint(notebook) -> list[str]:
    """Problems of the source, a sentence each: long cells, empty cells, numbered equations without marker."""
    problems = []
    for number, cell in sources(notebook):
        lines = cell.source.count("\n") + 1
        if cell.cell_type == "code" and lines > LONGEST_CELL:
            problems.append(f"cell {number} ({cell.id}) has {lines} lines; {LONGEST_CELL} are allowed")
        if cell.cell_type == "code" and not cell.source.strip():
            problems.append(f"cell {number} ({cell.id}) is empty")
        if cell.cell_type == "markdown":
            tags, markers = TAG.findall(cell.source), MARKER.findall(cell.source)
            if len(tags) != len(markers):
                problems.append(
                    f"cell {number} ({cell.id}) has {len(tags)} equations with \\tag and {len(markers)} "
                    "markers <!-- eq:module.name -->: each equation needs one before it"
                )
            for image in re.findall(r"!\[([^\]]*)\]\(", cell.source):
                if _filler(image):
                    problems.append(
                        f"cell {number} ({cell.id}) has an image whose alt text says nothing: {image!r}"
                    )
    return problems


def words(notebook) -> int:
    """Words of prose in the Markdown cells: without formulas, code, tables, comments and addresses."""
    return _words("\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))


def _words(text):
    for skipped in (r"```.*?```", r"\$\$.*?\$\$", r"<!--.*?-->", r"<[^>]*>", r"\]\([^)]*\)", r"(?m)^\|.*$"):
        text = re.sub(skipped, " ", text, flags=re.S if skipped[0] != "(" else 0)
    text = re.sub(INLINE, " x ", text)  # a symbol in a sentence is read as a word
    return len(re.findall(r"[^\W\d_][\w'’-]*", text))


def _filler(alt):
    from book.plots import is_filler

    return is_filler(alt)


# --- how long it takes to read --------------------------------------------------------------------------

LATER = "◦"  # at the end of a heading: a first reading leaves the section for later
NOT_READ = re.compile(r"Sources|References")  # such a section is looked up in, not read
# Seconds for each thing on the page, for somebody who studies and does not skim. People new to chapters 1 to
# 4 said 75, 75, 65 and 65 minutes of a first reading, when the sum below was 69, 69, 65 and 68 (without the
# closing table of claims, and in chapter 4 without tables, as its reader had it).
SECONDS = {
    # 130 words a minute: what courses reckon with for understanding a text with many new concepts (Barre &
    # Esarey's workload estimator, Wake Forest University; 180 with some, 250 with none). Adults read English
    # non-fiction at 238, most of them at 175 to 300 (Brysbaert 2019, a review of 190 studies).
    "word": 60 / 130,
    "formula": 5,  # more than a symbol, within a sentence: taken apart once
    "equation": 45,  # displayed: each symbol is looked up once, and the sentence before it read again
    "picture": 45,  # axes, legend, then what the text says is to be seen
    # Reviewers of code are told to do 300 to 500 lines an hour at most, 7 to 12 s a line (Cohen 2006, "Best
    # kept secrets of peer code review"); to follow a listing with its symbols beside it takes less.
    "line": 5,
    "prediction": 30,  # stop, decide, open the answer
    "row": 3,  # of a table or of printed lines: one comparison
}
LONG_ROW = 20  # words; a row with more, as of a table of claims, is read as prose
LONG_FORMULA = 20  # characters of TeX; a shorter one in a sentence is read as a word


def reading_minutes(notebook, first: bool = True) -> int:
    """Minutes that it takes to read a notebook with its outputs, estimated, to the nearest 5.

    first: a first reading, without the sections whose heading ends in ◦ (up to the next heading of the same
    or a higher level), without folded tables, primers and code; the answers to predictions are opened.
    Otherwise all of it. Lists of sources, and the source that is folded under a table, count in neither.
    """
    seconds = sum(SECONDS[kind] * count for kind, count in reading_load(notebook, first).items())
    return 5 * round(seconds / 300)


def reading_load(notebook, first: bool = True) -> dict[str, float]:
    """How much of each kind in `SECONDS` there is to read; arguments as of `reading_minutes`."""
    load = dict.fromkeys(SECONDS, 0.0)
    for piece, later in pieces(notebook):
        if first and later:
            continue
        counts = _load_of_text if isinstance(piece, str) else _load_of_code
        for kind, count in counts(piece, first):
            load[kind] += count
    return load


def pieces(notebook):
    """Markdown, cut at its headings, and code cells, in order, each as ``(piece, whether it is for later)``.

    Lists of sources are left out.
    """
    ends = 0  # level of the heading under which nothing is for a first reading; 0: none
    for cell in notebook.cells:
        for piece in re.split(r"(?m)^(?=##+ )", cell.source) if cell.cell_type == "markdown" else [cell]:
            heading = re.match(r"(##+) (.*)", piece) if isinstance(piece, str) else None
            if heading and (not ends or len(heading[1]) <= ends):
                title = heading[2].strip()
                looked_up, later = NOT_READ.fullmatch(title), title.endswith(LATER)
                ends = len(heading[1]) if looked_up or later else 0
            if not (ends and looked_up):
                yield piece, bool(ends)


def _length(notebook):
    first, whole = (reading_minutes(notebook, first) for first in (True, False))
    return f"{words(notebook)} words, {first} minutes to read the first time, {whole} with all"


def _load_of_text(text, first):
    if first:  # what is folded stays so, but for the answers to predictions
        text = re.sub(r"(?s)<details><summary>(?!(<b>)?(Predict|Answer)).*?</details>", " ", text)
    yield from _load_of_rows(re.findall(r"(?m)^\|(?![-:| ]+$).*$", text))
    text = re.sub(r"(?m)^\|.*$", " ", text)
    equations = re.findall(r"(?s)\$\$.*?\$\$", text)
    yield "equation", len(equations)
    yield "word", _words(text)
    for equation in equations:
        text = text.replace(equation, " ")
    yield "formula", sum(len(found) > LONG_FORMULA for found in re.findall(INLINE, text) if found[0] == "$")
    yield "prediction", len(re.findall(r"(?:\*\*|<b>)Predict", text))


def _load_of_code(cell, first):
    if not (first and cell.metadata.get("jupyter", {}).get("source_hidden")):
        lines = [line.strip() for line in cell.source.splitlines()]
        yield "line", sum(bool(line) and not line.startswith(("import ", "from ")) for line in lines)
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        shown = data.get("text/html", "")
        yield "picture", "image/png" in data
        if not (first and shown.startswith("<details>")):
            rows = re.findall(r"(?s)<tr>.*?</tr>", shown)
            yield from _load_of_rows(html.unescape(re.sub(r"<[^>]+>", " ", row)) for row in rows)
        yield from _load_of_rows(re.findall(r"(?m)^\|(?![-:| ]+$).*$", data.get("text/markdown", "")))
        yield from _load_of_rows(line for line in output.get("text", "").splitlines() if line.strip())


def _load_of_rows(rows):
    for row in rows:
        count = len(row.split())
        yield ("word", count) if count > LONG_ROW else ("row", 1)


# --- running --------------------------------------------------------------------------------------------


def execute(path, notebook=None) -> tuple:
    """Run a notebook in its own folder with a fresh kernel: ``(executed copy, seconds)``.

    Raises BookError naming the first cell that fails, with its error.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    path = Path(path).resolve()
    notebook = copy.deepcopy(notebook or read(path))
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        allow_errors=True,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as folder:  # no settings or history of the person who builds
        start = time.perf_counter()
        try:
            client.execute(env={**os.environ, **threads.FIXED, "IPYTHONDIR": folder})
        except CellTimeoutError:
            raise BookError(path, [f"a cell ran for more than {TIMEOUT} s"]) from None
        except DeadKernelError:
            raise BookError(path, ["the kernel died while a cell ran"]) from None
        seconds = time.perf_counter() - start
    return notebook, seconds


# --- the normal form ------------------------------------------------------------------------------------


def normalise(notebook) -> list[str]:
    """Bring an executed notebook into the book's form, in place; the problems found, one sentence each."""
    problems = _widget_errors(notebook)
    kept = {"made_by": notebook.metadata["made_by"]} if "made_by" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNELSPEC), "language_info": {"name": "python"}} | kept
    )
    notebook.nbformat_minor = 5
    count = 0
    for number, cell in sources(notebook):
        if not cell.get("id"):  # notebooks older than format 4.5 have none
            cell["id"] = hashlib.sha256(f"{number}\n{cell.source}".encode()).hexdigest()[:12]
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        where = f"cell {number} ({cell.id})"
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            problems += [f"{where} {said}" for said in _normal_output(output, count)]
        _copy_alt(cell)
    return problems


def _merged(outputs):
    """Neighbouring stream outputs of one name as one; what a carriage return overwrote is dropped."""
    merged = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
    return merged


def _normal_output(output, count):
    """Bring one output into the normal form; yield what is wrong with it."""
    if output.output_type == "error":
        last = ANSI.sub("", "\n".join(output.traceback)).strip().splitlines()[-1:]
        yield f"stops with {output.ename}: {output.evalue or ''.join(last)}".rstrip(": ")
        return
    if output.output_type == "stream":
        if output.name == "stderr":
            yield f"writes to stderr: {_short(output.text)} (a chapter shows no warning: mend its cause)"
        if ADDRESS.search(output.text):
            yield "prints a memory address, which differs each time: print something else"
        return
    if output.output_type == "execute_result":
        output.execution_count = count
    data = output.data
    image = next((kind for kind in ("image/png", "image/jpeg", "image/svg+xml") if kind in data), None)
    if VIEW in data:
        if image is None:
            yield "shows a widget without a static picture beside it: use book.widgets.explore"
        data.pop(VIEW)
    if isinstance(data.get("image/png"), str):
        data["image/png"] = data["image/png"].replace("\n", "")
    if image and _filler(output.metadata.get(image, {}).get("alt")):
        yield "shows a picture without alt text: return a book.plots.Picture"
    for tag in re.findall(r"<img\b[^>]*>", data.get("text/html", "")):
        alt = re.search(r"""\balt=(["'])(.*?)\1""", tag)
        if not alt or _filler(html.unescape(alt[2])):
            yield "shows an <img> whose alt text says nothing"
    if ADDRESS.search(data.get("text/plain", "")):
        yield f"shows a memory address, which differs each time: {_short(data['text/plain'])}"


def _copy_alt(cell):
    """The alt text of the cell's pictures into its metadata, where nbconvert and myst-nb look for it."""
    alts = [
        output.metadata["image/png"]["alt"]
        for output in cell.outputs
        if output.get("metadata", {}).get("image/png", {}).get("alt")
    ]
    for key in ("alt", "mystnb"):
        cell.metadata.pop(key, None)
    if alts:
        cell.metadata["alt"] = " ".join(alts)
        cell.metadata["mystnb"] = {"image": {"alt": " ".join(alts)}}


def _widget_errors(notebook):
    """Errors that were swallowed by an Output widget, or that explore() put on the page."""
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    problems = []
    for model in state.values():
        inner = model.get("state", {})
        for output in inner.get("outputs") or []:
            if output.get("output_type") == "error":
                problems.append(f"a widget holds the error {output.get('ename')}: {output.get('evalue')}")
        if 'role="alert"' in str(inner.get("value", "")):
            problems.append(f"a widget shows the error {_short(re.sub('<[^>]+>', '', str(inner['value'])))}")
    return problems


def _short(text, limit=160):
    text = " ".join(str(text).split())
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def dumps(notebook) -> str:
    """The notebook as the text of its file."""
    return nbformat.writes(notebook, version=4, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


# --- the commands ---------------------------------------------------------------------------------------


@dataclass
class Built:
    """One chapter after a run: its path, text, run time in seconds, and what is wrong (one sentence each)."""

    path: Path
    text: str = ""
    seconds: float = 0.0
    problems: list = field(default_factory=list)
    changed: bool = False


def build(path) -> Built:
    """Run and normalise one notebook in memory."""
    try:
        source = made(read(path))
        notebook, seconds = execute(path, source)
    except BookError as error:
        return Built(Path(path), problems=error.problems)
    return judged(path, notebook, seconds)


def judged(path, notebook, seconds: float = 0.0) -> Built:
    """A notebook that has been run, with its outputs, brought into the normal form (in place) and judged."""
    problems = normalise(notebook)
    return Built(Path(path), dumps(notebook), seconds, lint(notebook) + problems)


def readable(text: str) -> list[str]:
    """A notebook's file as lines for comparison across machines: everything but the bytes of pictures."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    output.data[kind] = "(picture)"
    return dumps(notebook).splitlines()


def compare(built, twice) -> None:
    """Add to ``built.problems`` where it differs from the committed file or (``twice``) from a second run."""
    committed = built.path.read_text(encoding="utf-8")
    built.changed = committed != built.text
    if not built.changed:
        return  # the run that was committed and this one gave the same bytes
    difference = list(
        difflib.unified_diff(
            readable(committed), readable(built.text), "committed", "this run", n=0, lineterm=""
        )
    )
    if difference:
        shown = "\n    ".join(line[:200] for line in difference[2:12])
        built.problems.append(f"differs from what is committed; `toolkit book` rewrites it.\n    {shown}")
    elif twice:
        again = build(built.path)
        if again.text != built.text:
            built.problems.append("two runs on this machine differ, in the bytes of a picture")


def chapters(root=None) -> list[Path]:
    """The chapters of the project that holds ``root`` (default: the current folder), in order."""
    start = Path(root or ".").resolve()
    for folder in (start, *start.parents):
        if (folder / "chapters").is_dir() and (folder / "pyproject.toml").is_file():
            return sorted(p for p in (folder / "chapters").glob("*.ipynb"))
    raise BookError(
        start, ["no folder chapters/ beside a pyproject.toml here or above: run it inside the project"]
    )


def book(paths=(), check=False, twice=False, jobs=2, report=print) -> bool:
    """Build the notebooks ``paths`` (default: all chapters); True when nothing is wrong.

    check: write nothing, and fail where the committed file differs, in all but the bytes of pictures (these
    differ between machines). twice: with check, a chapter whose pictures differ from the committed ones is
    run once more, and the two runs must agree byte for byte. A chapter with a problem is never written.
    ``report`` gets one line a chapter.
    """
    paths = [Path(path) for path in paths] or chapters()
    good = True
    with ThreadPoolExecutor(max(1, min(jobs, len(paths) or 1))) as pool:
        for one in _built(pool, paths):
            if check and not one.problems:
                compare(one, twice)
            elif not one.problems:
                one.changed = one.path.read_text(encoding="utf-8") != one.text
                if one.changed:
                    write_file(one.path, one.text)
            good = good and not one.problems
            state = (
                "FAILED"
                if one.problems
                else "as committed"
                if not one.changed
                else "as committed but for picture bytes"
                if check
                else "rewritten"
            )
            count = f", {_length(read(one.path))}" if one.text else ""
            report(f"{one.path.name}: {state}, {one.seconds:.1f} s{count}")
            for problem in one.problems:
                report(f"  {one.path.name}: {problem}")
    return good


def _built(pool, paths):
    """The notebooks, built; those that are made from others come when the others have been written."""
    from_others = [path for path in paths if _is_made(path)]
    yield from pool.map(build, [path for path in paths if path not in from_others])
    yield from pool.map(build, from_others)


def _is_made(path):
    try:
        return "made_by" in read(path).metadata
    except BookError:
        return False  # `build` says what is wrong with it


def command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Notebooks; all chapters if none is named.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where the outputs differ.")
    ] = False,
    twice: Annotated[
        bool, typer.Option("--twice", help="With --check: two runs must give equal bytes.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="How many notebooks run at a time.", min=1)] = 2,
):
    """Run the chapters and write them back in their normal form, or check that they are in it."""
    try:
        good = book(paths or (), check, twice, jobs)
    except BookError as error:
        print(error)
        good = False
    raise SystemExit(0 if good else 1)
