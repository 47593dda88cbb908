"""Measure what the widget of chapter 4 draws beside its samples:  python -m studies.widget_errors

For each data set, solver, grid and guidance scale, the errors at nine budgets of calls: 2,304 runs of ten
digits or 64 points, a minute on one core, which a move of the widget would otherwise make 36 of.  Written to
book/ch04/recorded/widget_errors.json.
"""

import json

import torch

from book import folders
from book.ch04.experiments import (
    GRIDS,
    WIDGET_BUDGETS,
    WIDGET_DATA,
    WIDGET_SCALES,
    WIDGET_SOLVERS,
    widget_error,
)
from toolkit.files import write_file

RESULT = folders.folder("04") / "recorded" / "widget_errors.json"


def errors_of(data, solver, grid, scale):
    """The errors at each budget, to four digits."""
    return [float(f"{widget_error(data, solver, calls, grid, scale):.4g}") for calls in WIDGET_BUDGETS]


def main():
    """Run all and write the file."""
    torch.set_num_threads(1)
    at = lambda *setting: {str(scale): errors_of(*setting, scale) for scale in WIDGET_SCALES}
    errors = {
        data: {solver: {grid: at(data, solver, grid) for grid in GRIDS} for solver in WIDGET_SOLVERS}
        for data in WIDGET_DATA
    }
    about = "distance from the (guided) model's own flow, root mean square over ten digits or median over 64 "
    about += "points of the ring, by data, solver, grid and guidance scale, at each number of calls"
    result = {"about": about, "calls": list(WIDGET_BUDGETS), "errors": errors}
    write_file(RESULT, json.dumps(result, indent=None, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
