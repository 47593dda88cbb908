"""Lessons: tasks, checks that diagnose, hints, and the commands that build and check exercises.

For students: `from book.lessons import check, progress`; `toolkit check`, `toolkit hint` in a terminal.

For authors of exercises.  A lesson is one notebook `solutions/NN_name.ipynb`, which holds the right answers,
and one module `book/chNN/tasks.py`, which holds what is said of wrong ones:

1.  In the notebook: a Markdown cell with the line `### 1.1` (title, difficulty and minutes are filled in) and
    the statement; a code cell with `### BEGIN SOLUTION` … `### END SOLUTION` around what the student has to
    write (and, where the exercise hands out a listing, `### INSTEAD` before the commented lines to be put
    there); then the check::

        # NBVAL_CHECK_OUTPUT
        from book import check
        check("1.1", forward)

    A Markdown cell with the tag `solution-only` (a derivation, the answer to a question that the statement
    asks) stays in the solution.  The exercise has the check without its first line and without any output:
    what a right answer prints is in the package's record.

    The build takes from it `book/chNN/solution.py`, in which are the functions that the checks are given and
    whatever these need, by name: imports, helpers, constants.  A number, a word or a formula is in it where
    it is written down plainly, with operators and the elementary functions of math and sympy.  What is
    computed (a measurement, a solved equation, an Axes drawn outside a function) is not, since importing the
    tasks must not take time; the module's docstring names what was left out.

2.  In tasks.py.  A probe runs a function on inputs made from a seed and returns a few labelled values; the
    labels are read by students.  The right answer is the notebook's, and a mistake is an edit of it with what
    a tutor would say to whoever makes it::

        from book.ch01 import solution
        from book.lessons import Mistake, Task, changed, normal

        def probe(forward, seed):
            x0, eps = normal(seed, 3), normal(seed, 3, stream=1)
            return {"x at alpha = 0.8": forward(x0, 0.8, 0.6, eps)}

        JUMP = Task(
            id="1.1", title="One jump", kind="implement-equation", difficulty=1, minutes=5, points=1,
            probe=probe, reference=solution.forward,
            mistakes=(Mistake(changed(solution.forward, ("sigma * eps", "sigma**2 * eps")),
                              "The noise has variance s². By what is eps multiplied then?"),),
            hints=("…", "…", "…"))
        TASKS = (JUMP,)

    `changed` takes any number of pairs (old, new); each old fragment stands exactly once in the function's
    text as solution.py has it.  Pairs that several mistakes share get a name: `AT_START = ("u + h", "u")`.
    Several lines are one fragment with line ends and indentation; to add a line, replace one by two.  A
    mistake that is another program, and no edit, is written out as a function of its own.

    For several answers, `check("1.2", step=step, walk=walk)`, the task has `names=("step", "walk")` and
    `reference={"step": solution.step, "walk": solution.walk}`; a mistake is the one function that is wrong,
    `Mistake(changed(solution.step, …), "…")`, or a dict of the wrong ones (`changes` writes short ones).  The
    others are the right ones,
    and where one of them calls `step` by its name it calls the wrong one, as in a student's notebook.  A
    helper that is no answer is changed by its name: `changed(solution.walk, helper=changed(solution.helper,
    …))`.

    Where a statement asks for a property, an order or a number of calls, another method that has it is right.
    The probe then returns the property (`round(order)`), and a value that depends on the method gets a wider
    tolerance, `loose={"x after 40 steps": (0.02, "Order 2 with one call a step; the paper's form …")}`, whose
    sentence is said beside "done".

    An answer that is a number, a word or a drawn Axes is judged by `facts(answer, seed)`, which may know the
    right one: `facts=lambda answer, seed: right_numbers(answer, 1e-3, limit=2.5)`.  Such a number stands in
    tasks.py only if solution.py does not have it.  A task with answers of both kinds has both.  The probe
    runs beside the student's code when `toolkit grade` marks it, so it may use no reference, no right number
    and nothing of `solution`, and of this package no more than `Remark`, `normal`, `uniform`,
    `named_numbers`, `named_expressions`, `expression_probe`, `read_axes`, `axes_values` and `error_lines`;
    and some of its numbers should change with the seed.

3.  `toolkit build solutions/01_ddpm.ipynb` writes solution.py, runs the notebook's checks with it, and makes
    `exercises/01_ddpm.ipynb` and the package's record of the lesson; `pytest tests/book/lessons -k 01` runs
    every wrong answer through the check.  Since a check compares the notebook with itself, its answers are
    tested apart from it: `tests/chNN/test_solution.py` holds them against the toolkit, a closed form or a
    formula written down a second time.

Mistakes that are edits of one function also make bug hunts: after a change of them run
`python -m studies.hunt_pairs NN`, which finds out which can stand in a listing together (`bugs`).  A task
whose number depends on constants can be given with others, `varies=Variation(...)` (`varying`): choose values
by which no listed wrong number becomes right; `tests/book/lessons/test_hunting.py` tries all.

See `Task` for every field, and `right_numbers`, `right_words`, `expression_probe`, `axes_values` for tasks
that ask for a number, a word, a formula or a figure.  An answer that costs something to make is wrapped:
`Made(function)`.
"""

from importlib import import_module

_HOME = {
    **dict.fromkeys(["Made", "Mistake", "Remark", "Task", "Variation", "KINDS"], "task"),
    **dict.fromkeys(["normal", "uniform", "number_facts", "expression_probe"], "probes"),
    **dict.fromkeys(
        ["named_numbers", "named_expressions", "right_or_number", "right_numbers", "right_words"], "probes"
    ),
    **dict.fromkeys(["read_axes", "axes_values", "error_lines"], "probes"),
    **dict.fromkeys(["check", "judge", "CheckFailed", "NotTried", "NotYet"], "checking"),
    **dict.fromkeys(["attempt", "look"], "trying"),
    **dict.fromkeys(["changed", "changes"], "edits"),
    "progress": "widget",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    # Loaded on first use: pytest imports this package for its plugin in every run, and must not pay
    # for numpy.
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
