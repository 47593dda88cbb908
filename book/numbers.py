"""What an experiment found, as a captioned table or drawn, with the experiment's source folded under it."""

import html
import inspect
import math
from collections.abc import Callable
from functools import partial


def told(value) -> str:
    """A number as every table has it: whole ones as they are, others to four digits, 'below 1e-9' for what
    differs between machines.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "below 1e-9" if abs(value) < 1e-9 else format(value, ".4g")


def source_of(experiment: Callable) -> str:
    """The source of an experiment, without its decorators: claims, and the memory of earlier calls."""
    while isinstance(experiment, partial):
        experiment = experiment.func
    lines = inspect.getsource(inspect.unwrap(experiment)).splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(("def ", "class "))), 0)
    return "\n".join(lines[first:])


class Numbers:
    """What one or more experiments found, as a notebook shows it: a table (HTML), or lines of text.

    caption: what is compared with what.  unit: one for all rows, or a dict from a row's name to its unit.
    right: a dict from a row's name to what would be right there, a number or words.  columns: what
    separates, in every name, a row from a column, such as ", " in "DDIM, 10 steps"; the last one in a name
    counts.  The table then has rows and columns.  folded: shown closed, as its caption alone, for what a
    first reading may pass over.
    """

    def __init__(self, experiments, caption: str, unit="", right=None, columns: str = "", folded=False):
        self.caption, self.rows, self.sources = " ".join(caption.split()), {}, []
        for experiment in experiments:
            if callable(experiment):
                self.sources.append(source_of(experiment))
                experiment = experiment()
            self.rows |= experiment
        self.units = unit if isinstance(unit, dict) else dict.fromkeys(self.rows, unit)
        self.right = right or {}
        strangers = [*(set(self.units) | set(self.right)) - set(self.rows)]
        if strangers:
            raise ValueError(f"there is no row {strangers[0]!r}; there are {', '.join(self.rows)}")
        uncut = [name for name, *_ in self.cells() if columns not in name]
        if uncut:
            raise ValueError(f"columns must separate every name, and {columns!r} is not in {uncut[0]!r}")
        self.columns, self.folded = columns, folded

    def cells(self) -> list[tuple[str, str, str]]:
        """(name, number with its unit, what would be right) of each row; a row "x, sd" joins its row "x"."""
        return [
            (name, f"{self._number(name)} {self.units.get(name, '')}".strip(), told(self.right.get(name, "")))
            for name in self.rows
            if not (name.endswith(", sd") and name[:-4] in self.rows)
        ]

    def _number(self, name):
        """The number of a row, and behind it its spread to two digits where there is a row of that."""
        value, spread = self.rows[name], self.rows.get(f"{name}, sd", 0)
        if abs(spread) < 1e-9:
            return told(value)
        digits = max(0, 1 - math.floor(math.log10(spread)))
        return f"{value:.{digits}f} ± {spread:.{digits}f}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """(heads, rows): the names first, the numbers, and last what would be right, where that is told."""
        if not self.columns:
            rows = [list(cell if self.right else cell[:2]) for cell in self.cells()]
            return ["", "measured", *(["would be right"] if self.right else [])], rows
        numbers, right = {}, {}
        for name, number, wanted in self.cells():
            row, column = name.rsplit(self.columns, 1)
            numbers.setdefault(row, {})[column] = number
            right.setdefault(row, {})[column] = wanted
        columns = list(dict.fromkeys(column for row in numbers.values() for column in row))
        alike = all(
            len(set(row.values())) == 1 for row in right.values()
        )  # one right value a row: a column of its own
        rows = []
        for row, found in numbers.items():
            told = [
                found.get(c, "") + (f" ({right[row][c]})" if not alike and right[row].get(c) else "")
                for c in columns
            ]
            rows.append([row, *told, *([next(iter(right[row].values()))] if alike and self.right else [])])
        heads = [
            f"{c} (would be right)" if not alike and any(r.get(c) for r in right.values()) else c
            for c in columns
        ]
        return ["", *heads, *(["would be right"] if alike and self.right else [])], rows

    def __repr__(self):
        heads, rows = self.table()
        if self.columns:
            widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
            lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in (heads, *rows)]
            return "\n".join([self.caption, *lines])
        wide = max(52, *(len(name) + 2 for name in self.rows))
        lines = [
            f"{name:{wide}s} {number}" + (f"   (right: {right[0]})" if right and right[0] else "")
            for name, number, *right in rows
        ]
        return "\n".join([self.caption, *lines])

    def _repr_html_(self):
        left, number = 'style="text-align:left"', 'style="text-align:right"'
        heads, rows = self.table()
        head = "".join(f'<th scope="col" {number if h else left}>{html.escape(h)}</th>' for h in heads)
        body = "".join(
            f'<tr><th scope="row" style="text-align:left;font-weight:normal">{html.escape(name)}</th>'
            + "".join(f"<td {number}>{html.escape(value)}</td>" for value in values)
            + "</tr>"
            for name, *values in rows
        )
        sources = "".join(map(_folded, self.sources))
        caption = f'<caption style="text-align:left;caption-side:top">{html.escape(self.caption)}</caption>'
        shown = (  # a caption is as wide as its table
            f'<table style="min-width:38em">{"" if self.folded else caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{sources}"
        )
        if self.folded:
            return f"<details><summary>{html.escape(self.caption)}</summary>{shown}</details>"
        return shown


def _folded(source):
    """The source of an experiment as HTML, closed until it is opened."""
    return (
        "<details><summary>How it was measured</summary>"
        f"<pre><code>{html.escape(source)}</code></pre></details>"
    )


class Drawn:
    """The picture of what an experiment found, as a notebook shows it: the picture, and as a second output
    the experiment's source, folded. Where only text can be shown, the second is empty.
    """

    def __init__(self, picture, experiment: Callable):
        self.picture, self.source = picture, source_of(experiment)

    def _ipython_display_(self):
        from IPython.display import display

        display(self.picture)
        display({"text/html": _folded(self.source), "text/plain": ""}, raw=True)

    def __repr__(self):
        return repr(self.picture)


def show(
    *experiments,
    caption: str | None = None,
    unit="",
    right=None,
    columns: str = "",
    folded: bool = False,
    draw: Callable | None = None,
):
    """The numbers of experiments: functions without arguments (or `functools.partial`s), or dicts label ->
    number.

    With a caption, the table to display, the functions' source folded under it (`Numbers`); with columns, cut
    into rows and columns; folded, its caption alone is seen until it is opened. Without a caption, lines of
    text are printed. With draw, a function of what the one experiment returns (of each part, where that is a
    tuple), its picture in the place of the table (`Drawn`).
    """
    if draw is not None:
        (experiment,) = experiments
        found = experiment()
        return Drawn(draw(*found) if isinstance(found, tuple) else draw(found), experiment)
    if caption is not None:
        return Numbers(experiments, caption, unit, right, columns, folded)
    for experiment in experiments:
        for name, value in (experiment() if callable(experiment) else experiment).items():
            print(f"{name:52s} {told(value)}")
