"""The pytest plugin that makes `pytest --nbval-lax exercises/02_ddim.ipynb` a real check.

nbval compares a notebook with the outputs stored in it, of which an exercise has none, and which running it
overwrites.  For notebooks of this book (metadata `{"toolkit": {"lesson": "02"}}`) this plugin takes nbval's
place: check cells are run as the package has them and compared with the package's record, missing ones fail,
and cells that never end, flood or kill the kernel fail with one sentence, whatever comes before or after.
Other notebooks are left to nbval, and without `--nbval` or `--nbval-lax` nothing happens.  The items of a
lesson are independent: any selection of them (`-k "task 2.3"`, xdist) gives the same verdicts.
"""

import json
import re

import pytest

_NBVAL_TIMEOUT = 2000  # nbval's default, which stands for "no time was asked for"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """Put our collector in the place of nbval's, for our notebooks."""
    nodes = yield
    option = parent.config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return nodes
    if file_path.suffix != ".ipynb" or not _is_lesson(file_path):
        return nodes
    others = [node for node in nodes if type(node).__name__ != "IPyNbFile"]
    return [*others, LessonFile.from_parent(parent, path=file_path)]


def _is_lesson(path) -> bool:
    """Whether a notebook is a lesson: by its metadata, else its check cells; unreadable, by its name."""
    from book.lessons import registry

    try:
        text = path.read_text("utf8")
        metadata = json.loads(text)["metadata"].get("toolkit")
        if isinstance(metadata, dict) and isinstance(metadata.get("lesson"), str):
            return True
        # An editor may have dropped the metadata; the cells' names are harder to lose.
        lesson = re.search(r'"(?:grade_)?id": ?"check-(\d+)-\d+"', text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        lesson = re.match(r"(\d\d)_", path.name)
    return bool(lesson) and any(
        (folder / f"ch{int(lesson[1]):02d}" / "reference.json").is_file() for folder in registry.folders()
    )


class LessonFile(pytest.File):
    """A lesson's notebook: an item for each code cell, and one for each check cell that is missing."""

    session_ = None

    def collect(self):
        from book.lessons.running import BadNotebook, Session, default_deadline

        option = self.config.option
        asked = getattr(option, "nbval_cell_timeout", _NBVAL_TIMEOUT)
        try:
            self.session_ = Session(
                self.path,
                deadline=default_deadline() if asked == _NBVAL_TIMEOUT else asked,
                kernel_name=getattr(option, "nbval_kernel_name", None),
            )
        except (BadNotebook, ValueError) as error:
            yield LessonItem.from_parent(self, name="notebook", sentence=str(error))
            return
        for step in self.session_.steps:
            name = f"task {step.check.task}" if step.check else f"Cell {step.number}"
            yield LessonItem.from_parent(self, name=name, step=step)
        for cell in self.session_.missing:
            yield LessonItem.from_parent(self, name=f"task {cell.task}", missing=cell)

    def teardown(self):
        if self.session_ is not None:
            self.session_.close()


class LessonFailure(Exception):
    """A cell that fails, with its one sentence."""


class LessonItem(pytest.Item):
    """A code cell of a lesson (step), a check cell that it lacks (missing), or what is wrong with it all."""

    def __init__(self, *, step=None, missing=None, sentence="", **kwargs):
        super().__init__(**kwargs)
        self.step, self.missing, self.sentence = step, missing, sentence
        cell = missing or (step.check if step else None)
        self.user_properties.append(("cell_id", cell.id if cell else step.id if step else ""))
        if cell:
            self.user_properties.append(("task", cell.task))

    def runtest(self):
        from book.lessons.running import DONE, BadNotebook, trouble

        if self.sentence:
            raise LessonFailure(self.sentence)
        session, check = self.parent.session_, self.missing or self.step.check
        try:
            if check:
                result = session.result(check.task)
                if result.state != DONE:
                    raise LessonFailure(f"{check.task} {result.state}. {result.sentence}")
                return
            if self.step.skip:
                pytest.skip(self.step.skip)
            ran = session.run(self.step, others=False)
        except BadNotebook as error:
            raise LessonFailure(str(error)) from None
        if ran.stopped or (ran.ename and not self.step.raises):
            said = trouble(self.step, ran)
            raise LessonFailure(said[0].upper() + said[1:])

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, LessonFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.path.name}::{self.name}"
