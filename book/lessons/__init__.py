"""Lessons: tasks, checks that diagnose, hints, and the commands that build and check exercises.

For students: `from book.lessons import check, progress`; `toolkit check`, `toolkit hint` in a terminal.

For authors of exercises.  A lesson is one module `tasks_NN.py` and one notebook `solutions/NN_name.ipynb`:

1.  Write the task.  A probe runs a function on inputs made from a seed and returns a few labelled values; the
    labels are read by students.  A mistake is a runnable wrong answer with what a tutor would say to it::

        from book.lessons import Mistake, Task, normal

        def probe(forward, seed):
            x0, eps = normal(seed, 3), normal(seed, 3, stream=1)
            return {"x at alpha = 0.8": forward(x0, 0.8, 0.6, eps)}

        JUMP = Task(
            id="1.1", title="One jump", kind="implement-equation", difficulty=1, minutes=5, points=1,
            probe=probe, reference=lambda x0, a, s, eps: a * x0 + s * eps,
            mistakes=(Mistake(lambda x0, a, s, eps: a * x0 + s**2 * eps,
                              "The noise has variance s². By what is eps multiplied then?"),),
            hints=("…", "…", "…"))
        TASKS = (JUMP,)

    An answer that is a number, a word or a drawn Axes is judged by `facts(answer, seed)`, which may know the
    right one: `facts=lambda answer, seed: right_numbers(answer, 1e-3, limit=2.5)`.  A task with answers of
    both kinds has both.  The probe runs beside the student's code when `toolkit grade` marks it, so it may
    use no reference and no right number, and of this package no more than `Remark`, `normal`, `uniform`,
    `named_numbers`, `named_expressions`, `expression_probe`, `read_axes`, `axes_values` and `error_lines`;
    and some of its numbers should change with the seed.

2.  In the notebook: a Markdown cell with the line `### 1.1` (title, difficulty and minutes are filled in) and
    the statement; a code cell with `### BEGIN SOLUTION` … `### END SOLUTION` around what the student has to
    write (and, where the exercise hands out a listing, `### INSTEAD` before the commented lines to be put
    there); then the check::

        # NBVAL_CHECK_OUTPUT
        from book.lessons import check
        check("1.1", forward)

3.  `toolkit build solutions/01_ddpm.ipynb` makes `exercises/01_ddpm.ipynb` and the package's record of the
    lesson; `pytest tests/lessons -k 01` runs every wrong answer through the check.

See `Task` for every field, and `right_numbers`, `right_words`, `expression_probe`, `axes_values` for tasks
that ask for a number, a word, a formula or a figure.  An answer that costs something to make is wrapped:
`Made(function)`.
"""

from importlib import import_module

_HOME = {
    **dict.fromkeys(["Made", "Mistake", "Remark", "Task", "KINDS"], "task"),
    **dict.fromkeys(["normal", "uniform", "number_facts", "expression_probe"], "probes"),
    **dict.fromkeys(
        ["named_numbers", "named_expressions", "right_or_number", "right_numbers", "right_words"], "probes"
    ),
    **dict.fromkeys(["read_axes", "axes_values", "error_lines"], "probes"),
    **dict.fromkeys(["check", "judge", "CheckFailed", "NotTried", "NotYet"], "checking"),
    **dict.fromkeys(["attempt", "look"], "trying"),
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
