"""`progress("02")` in a notebook: the verdict on each task of a lesson, from the answers that live in the
kernel."""

from __future__ import annotations

import ast
from html import escape

from book.lessons import record, registry
from book.lessons.checking import CheckFailed, judge
from book.lessons.running import DONE, NOT_TRIED, NOT_YET, Result

_SIGNS = {DONE: "✓", NOT_YET: "✗", NOT_TRIED: "○"}


def progress(lesson: str, namespace: dict | None = None) -> Progress:
    """Show, per task, done, not yet or not tried, with the diagnosis, and a button that checks all again.

    lesson: "02".  namespace: where the answers are; by default the notebook's own variables.
    Raises ValueError for a lesson that is not there.
    """
    return Progress(record.load(registry.lesson_name(lesson)), namespace)


class Progress:
    """The verdicts on a lesson's tasks; a table in a notebook, lines of text elsewhere."""

    def __init__(self, lesson: record.Lesson, namespace: dict | None = None):
        self.lesson, self.namespace = lesson, namespace
        self.results: list[Result] = []
        self.controls: tuple = ()  # the button and the table, once shown as a widget
        self.check_all()

    def check_all(self) -> list[Result]:
        """Judge every task anew, on the answers as they are now; returns the verdicts."""
        names = _notebook_names() if self.namespace is None else self.namespace
        self.results = [Result(cell, *judge_live(cell, names)) for cell in self.lesson.cells]
        return self.results

    def __repr__(self):
        rows = [
            f"{r.cell.task:<5} {r.state:<10} {r.cell.title}" + (f"\n      {r.sentence}" if r.sentence else "")
            for r in self.results
        ]
        return "\n".join([*rows, self._total()])

    def _total(self) -> str:
        return f"{sum(r.state == DONE for r in self.results)} of {len(self.results)} tasks done"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{escape(r.cell.task)} {escape(r.cell.title)}</th>'
            f'<td style="text-align:left;white-space:nowrap">{_SIGNS[r.state]} {escape(r.state)}</td>'
            f'<td style="text-align:left">{escape(r.sentence)}</td></tr>'
            for r in self.results
        )
        head = "".join(
            f'<th scope="col" style="text-align:left">{name}</th>'
            for name in ("task", "verdict", "what to look at")
        )
        return (
            f'<table><caption style="text-align:left">Lesson {self.lesson.lesson}: {self._total()}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        try:
            import ipywidgets
        except ImportError:
            return bundle
        table = ipywidgets.HTML(self._repr_html_())
        button = ipywidgets.Button(
            description="check all", tooltip="Check all answers again, as they are now"
        )

        def again(_):
            button.disabled, button.description = True, "checking …"
            try:
                self.check_all()
                table.value = self._repr_html_()
            finally:
                button.disabled, button.description = False, "check all"

        button.on_click(again)
        self.controls = (button, table)
        return {**ipywidgets.VBox([button, table])._repr_mimebundle_(), **bundle}


def judge_live(cell: record.Cell, names: dict) -> tuple[str, str]:
    """(state, sentence) of a task, on the answers that its check cell names, taken from `names`."""
    call = ast.parse(cell.source).body[-1].value

    def value(node):
        return eval(compile(ast.Expression(node), "<check>", "eval"), dict(names))  # the package's own source

    try:
        answer = [value(node) for node in call.args[1:]]
        answers = {word.arg: value(word.value) for word in call.keywords}
    except NameError as error:
        return NOT_TRIED, f"{error.name or 'The answer'} is not defined yet: run its cell first."
    try:
        verdict = judge(cell.task, *answer, **answers)
    except CheckFailed as error:
        return NOT_YET, str(error)
    except KeyboardInterrupt:
        return NOT_YET, "The check was interrupted: is there a loop that never ends?"
    return verdict.state, verdict.sentence


def _notebook_names() -> dict:
    """The variables of the running notebook; none outside of one."""
    from IPython import get_ipython

    shell = get_ipython()
    return shell.user_ns if shell else {}
