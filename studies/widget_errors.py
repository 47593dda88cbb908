"""Measure what the widget of chapter 4 draws beside its digits:  python -m studies.widget_errors

For each solver, grid and guidance scale, the errors at nine budgets of calls: 1,152 runs of ten digits, two
minutes on one core, which a move of the widget would otherwise make 36 of.  Written to
book/ch04/recorded/widget_errors.json.
"""

import json

import torch

from book import folders
from book.ch04.experiments import GRIDS, WIDGET_BUDGETS, WIDGET_SCALES, WIDGET_SOLVERS, widget_error
from toolkit.files import write_file

RESULT = folders.folder("04") / "recorded" / "widget_errors.json"


def errors_of(solver, grid, scale):
    """The errors at each budget."""
    return [widget_error(solver, calls, grid, float(scale)) for calls in WIDGET_BUDGETS]


def main():
    """Run all and write the file."""
    torch.set_num_threads(1)
    at = lambda solver, grid: {str(scale): errors_of(solver, grid, scale) for scale in WIDGET_SCALES}
    errors = {solver: {grid: at(solver, grid) for grid in GRIDS} for solver in WIDGET_SOLVERS}
    about = "root mean square over ten digits of the distance from the guided network's own flow, by solver, "
    about += "grid and guidance scale, at each number of calls"
    result = {"about": about, "calls": list(WIDGET_BUDGETS), "errors": errors}
    write_file(RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
