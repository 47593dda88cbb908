"""Run an exercise notebook in a fresh kernel, under a deadline, and give a verdict on each task.

One way for everybody: `toolkit check`, the pytest plugin and `toolkit build` all run a `Session`.  The check
cells that it runs are the package's own, found in the file by id; whatever the file holds as their source or
outputs does not count.  A cell that does not end, floods its output or kills the kernel costs its own task
only.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty

from book.lessons import record, registry
from book.lessons.task import is_stub
from book.threads import environment

DONE, NOT_YET, NOT_TRIED = "done", "not yet", "not tried"

DEADLINE = 60.0
"""Seconds a cell may take; the slowest cell of a lesson takes a few on two cores.  TOOLKIT_DEADLINE changes
it."""

BUDGET = 5_000_000
"""Characters of output that are kept of a cell; one that then goes on has no end, see `Kernel.run`."""

MESSAGES = 2000
"""Outputs other than text after which it is the same: beyond some thousands the kernel itself begins to lose
messages."""

LONGEST = 200_000
"""Characters of a cell: an exercise's have some hundreds, and what looks a longer one through takes long."""

_GRACE = 3.0


class BadNotebook(Exception):
    """A file that cannot be checked; the text is one sentence."""


def default_deadline() -> float:
    """Seconds a cell may take: TOOLKIT_DEADLINE, else DEADLINE.

    Raises ValueError for what is no positive number.
    """
    text = os.environ.get("TOOLKIT_DEADLINE", "")
    try:
        value = float(text) if text else DEADLINE
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"TOOLKIT_DEADLINE is {text!r}; give seconds, such as 60")
    return value


# --- reading --------------------------------------------------------------------------------------------


def read_notebook(path: Path):
    """The notebook in a file, as nbformat 4.  Raises BadNotebook, with one sentence, for anything else."""
    import nbformat
    from nbformat import reader

    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BadNotebook(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise BadNotebook(f"{path} is a folder; name one notebook in it.") from None
    except OSError as error:
        raise BadNotebook(f"{path.name} cannot be read ({error.strerror}).") from None
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        content = json.loads(raw.decode(encoding))
    except (ValueError, RecursionError):
        raise BadNotebook(
            f"{path.name} is not a notebook: it is not JSON. Was the download or the save cut off?"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("nbformat"), int):
        raise BadNotebook(f"{path.name} is JSON but not a notebook: it has no nbformat number.")
    try:
        for part in (content, *(content.get("cells") or ())):
            if not isinstance(part.get("metadata"), dict):
                part["metadata"] = {}
        notebook = nbformat.convert(reader.reads(json.dumps(content)), 4)
        for cell in notebook.cells:
            if not isinstance(cell.cell_type, str) or not isinstance(cell.source, str):
                raise TypeError("a cell has no text")
            cell.source = cell.source.encode("utf8", "replace").decode("utf8")  # halves of pairs
            if not isinstance(cell.get("id", ""), str):
                del cell["id"]
    except Exception as error:  # nbformat raises whatever the damage happens to lead to
        raise BadNotebook(
            f"{path.name} is a damaged notebook ({type(error).__name__}: {str(error)[:80]}); "
            "open it in JupyterLab and save it again."
        ) from None
    return notebook


def lesson_of(notebook, path: Path) -> str:
    """The lesson of a notebook: by its metadata, else by its check cells, else by its file name.

    Raises BadNotebook when nothing tells.
    """
    told = notebook.metadata.get("toolkit")
    told = told.get("lesson") if isinstance(told, dict) else None
    names = sorted(name for cell in notebook.cells for name in names_of(cell))
    checks = [match[1] for name in names if (match := re.fullmatch(r"check-(\d+)-\d+", name))]
    for hint in (told, *checks[:1], Path(path).name):
        try:
            return registry.lesson_name(hint)
        except (ValueError, TypeError):
            continue
    raise BadNotebook(f"{Path(path).name} is not one of this book's exercises: nothing tells its lesson.")


# --- the kernel -----------------------------------------------------------------------------------------


@dataclass
class Ran:
    """What a cell did: its text, its exception, and why it was ended, if it was."""

    text: str = ""
    ename: str = ""
    evalue: str = ""
    stopped: str = ""
    sent: list[str] = field(default_factory=list)  # what the grader's own check sent, see book.grading


SENT = "application/x-toolkit-seen"
"""The type of display by which a check in a student's kernel sends what it saw to the grader."""


def local_kernel(folder: Path, name: str | None = None) -> Kernel:
    """A Python kernel of this environment (or of the named kernelspec) in a folder of its own choosing.

    Raises BadNotebook when it does not start.
    """
    from ipykernel import kernelspec
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    from jupyter_client.manager import KernelManager

    class ThisEnvironment(KernelSpecManager):
        def get_kernel_spec(self, kernel_name):
            return self.kernel_spec_class(resource_dir=kernelspec.RESOURCES, **kernelspec.get_kernel_dict())

    specs = KernelSpecManager() if name else ThisEnvironment()
    manager = KernelManager(kernel_name=name or "python3", kernel_spec_manager=specs)
    try:
        manager.start_kernel(
            cwd=str(folder),
            env=environment(),
            extra_arguments=["--HistoryManager.enabled=False"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except NoSuchKernel:
        raise BadNotebook(f"There is no kernel {name!r} here; leave the kernel's name out.") from None
    return Kernel(manager)


class Kernel:
    """A running kernel, however it was started.

    manager: a KernelManager, or anything with its client, is_alive, interrupt_kernel and shutdown_kernel.
    Raises BadNotebook when the kernel does not answer.
    """

    def __init__(self, manager):
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels(stdin=False, hb=False, control=False)
        if not self._ready(60.0):
            self.close()
            raise BadNotebook("The kernel did not start.")

    def _ready(self, timeout: float) -> bool:
        """Wait until the kernel answers and what it publishes arrives; jupyter_client's own way of waiting
        sleeps for nearly half a second, which is most of the start of a forked kernel.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.manager.is_alive():
            asked = self.client.kernel_info()
            try:
                while self.client.get_shell_msg(timeout=1)["parent_header"].get("msg_id") != asked:
                    pass
                while not _take(self.client.get_iopub_msg(timeout=0.05), asked, Ran()):
                    pass
                return True
            except Empty:
                continue
        return False

    def run(self, source: str, deadline: float, budget: int) -> Ran:
        """Run a cell; it is interrupted at the deadline, and the kernel is ended if that does not help.

        budget: characters of output after which a cell that goes on is taken for one without an end; what it
        prints from there on is not kept.  Returns what the cell did.  Afterwards `alive` tells whether the
        kernel can run another one.
        """
        ran, size, shown, quiet_since, replied = Ran(), 0, 0, time.monotonic(), False
        asked = self.client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        end, flood = time.monotonic() + deadline, ""
        while True:
            now = time.monotonic()
            if now > end:
                if ran.stopped:
                    return self._ended(ran)
                late = f"was still running after {deadline:g} s: is there a loop that never ends?"
                ran.stopped, end = flood or late, now + _GRACE
                self.manager.interrupt_kernel()
            try:
                message = self._published(min(0.2, max(0.01, end - now)))
                if message is None:
                    if not self.manager.is_alive():
                        return self._ended(ran, self._why_ended())
                    if not replied and self._replied(asked):
                        replied, quiet_since = True, time.monotonic()
                    if replied and time.monotonic() - quiet_since > _GRACE:
                        if not self._listens_again():
                            self._ended(ran, "left a kernel that does not answer.")
                        return ran
                    continue
                size, shown = size + _size(message["content"]), shown + ("data" in message["content"])
                flooded = size > budget or shown > MESSAGES
                done = _take(message, asked, ran, keep=not flooded)
            except Exception as error:  # code in the kernel can write to its sockets whatever it likes
                return self._ended(ran, f"sent what is no message of a notebook ({type(error).__name__}).")
            quiet_since = time.monotonic()
            if done:
                return ran if self.alive else self._ended(ran, self._why_ended())
            if flooded and not flood:
                many = f"{budget:,} characters" if size > budget else f"{MESSAGES:,} outputs"
                flood = f"makes output without end (more than {many})."
                end = min(end, quiet_since + _GRACE)

    def _listens_again(self) -> bool:
        """Listen anew to what the kernel publishes, when the message that closes a cell was lost on the way:
        a message that is too big ends the connection.
        """
        self.client.iopub_channel.stop()
        self.client._iopub_channel = None  # made anew when it is asked for
        self.client.iopub_channel.start()
        return self._ready(10.0)

    def _ended(self, ran: Ran, why: str = "") -> Ran:
        """What a cell did that was the last of this kernel."""
        ran.stopped = ran.stopped or why
        self.close()
        return ran

    def _why_ended(self) -> str:
        why = getattr(self.manager, "why_ended", str)()
        ended = "ended its Python process (os._exit, a crash, or out of memory)."
        return f"was ended: {why}." if why else ended

    def _published(self, timeout: float):
        """The next message that the kernel publishes, or None."""
        try:
            return self.client.get_iopub_msg(timeout=timeout)
        except Empty:
            return None

    def _replied(self, asked: str) -> bool:
        """Whether the kernel has answered the request on its other channel."""
        for _ in range(100):  # of replies that nobody asked for there may be any number
            try:
                reply = self.client.get_shell_msg(timeout=0)
            except Empty:
                break
            if reply["parent_header"].get("msg_id") == asked:
                return True
        return False

    @property
    def alive(self) -> bool:
        return self.manager is not None and self.manager.is_alive()

    def close(self) -> None:
        """End the kernel and its children, at once; calling it again does nothing."""
        if self.manager is not None:
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=True)
            self.manager = None


def _take(message, asked: str, ran: Ran, keep: bool = True) -> bool:
    """Note in `ran` what a message of the kernel says about the cell; True when the cell has ended.

    keep: what it prints, too.
    """
    kind, content = message["msg_type"], message["content"]
    if message["parent_header"].get("msg_id") != asked:
        return False
    if kind == "stream" and content["name"] == "stdout":
        ran.text += content["text"] if keep else ""
    elif kind == "error":
        ran.ename, ran.evalue = str(content["ename"]), str(content["evalue"])
    elif keep and kind == "display_data" and isinstance(content["data"].get(SENT), str):
        ran.sent.append(content["data"][SENT])
    return kind == "status" and content["execution_state"] == "idle"


def _size(content) -> int:
    """Characters in a message: its text, or all the forms of a display."""
    data = content.get("data")
    forms = data.values() if isinstance(data, dict) else ()
    return len(content.get("text", "")) + sum(len(form) for form in forms if isinstance(form, str))


# --- the session ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Step:
    """A code cell to run: its number among the code cells, its id, what is run, and the check that it is (or
    None).
    """

    number: int
    id: str
    source: str
    check: record.Cell | None = None
    skip: str = ""  # why it is not run
    raises: bool = False
    spare: bool = False  # whether it is left out first when time gets short
    ran: Ran | None = None
    place: str = ""  # what to call it to a student, if its number is not one that they know


@dataclass(frozen=True)
class Result:
    """The verdict on a task: state and the sentence to say; `note` is said although the verdict stands."""

    cell: record.Cell
    state: str
    sentence: str = ""
    note: str = ""


CALL = re.compile(r"""^[ \t]*check\(\s*["'](\d+\.\d+)["']""", re.MULTILINE)


_STAY = "get_ipython().unobserve_all('exit_now')"
"""exit() ends a kernel a moment later, while it runs another cell, which would be blamed."""


class Runner:
    """Code cells run in order, each once, in a kernel that is replaced when a cell ends it.

    steps: the cells.  start: makes a kernel.  deadline: seconds a cell.  budget: characters of output a
    cell. prelude: code that every fresh kernel runs first.  name: of the notebook, for sentences.  total:
    seconds from now after which spare cells are not run, and after as many again no other.  `late` tells
    whether that was so.
    """

    def __init__(
        self, steps, start, deadline: float, budget: int, prelude="", name="It", total: float = math.inf
    ):
        self.steps, self.start, self.deadline, self.budget = steps, start, deadline, budget
        self.prelude, self.name = prelude, name
        self.total, self.began, self.late = total, time.monotonic(), False
        self.kernel: Kernel | None = None

    def run(self, step: Step, others: bool = True) -> Ran:
        """Run a step, and before it every earlier one that was not run yet; others=False leaves out other
        checks.
        """
        for earlier in self.steps[: self.steps.index(step) + 1]:
            wanted = others or earlier is step or not earlier.check
            if earlier.ran is None and not earlier.skip and wanted:
                self.ready(earlier)
                earlier.ran = self._refused(earlier) or self._run(earlier)
        return step.ran or Ran()

    def _run(self, step: Step) -> Ran:
        return self.kernel.run(step.source, self.deadline, self.budget)

    def _refused(self, step: Step) -> Ran | None:
        """What is said of a cell instead of running it: it is too long, or the time for all is over."""
        if len(step.source) > LONGEST:
            return Ran(stopped=f"was not run: it has more than {LONGEST:,} characters.")
        total = self.total if step.spare else 2 * self.total
        if time.monotonic() - self.began < total:
            return None
        self.late = True
        return Ran(stopped=f"was not run: the cells before it took more than {total:.0f} s together.")

    def ready(self, step: Step) -> None:
        """A living kernel in the state that the cells before this step have left.

        Raises BadNotebook when the cells end every kernel.
        """
        if (self.kernel and self.kernel.alive) or self._refused(step):
            return
        for _ in range(3):
            self.close()
            self.kernel = self.start()
            self.kernel.run(f"{_STAY}\n{self.prelude}", self.deadline, self.budget)
            for earlier in self.steps[: self.steps.index(step)]:
                if earlier.ran and not earlier.check and not earlier.ran.stopped and self.kernel.alive:
                    earlier.ran.stopped = (self._refused(earlier) or self._run(earlier)).stopped
            if self.kernel.alive:
                return
        raise BadNotebook(f"{self.name} ends every kernel that it is given.")

    def undefined(self, step: Step, ran: Ran) -> tuple[str, str]:
        """(state, sentence) when the answer's name is not defined: because of the cell before, or because it
        is gone.
        """
        name = (re.search(r"'(.+?)'", ran.evalue) or ["", "the answer"])[1]
        for earlier in reversed(self.steps[: self.steps.index(step)]):
            if earlier.check:
                break
            if earlier.ran and earlier.ran.ename == "NotImplementedError" and is_stub(earlier.ran.evalue):
                return NOT_TRIED, "It is still the stub: replace it with your answer."
            if earlier.ran and (earlier.ran.stopped or earlier.ran.ename):
                return NOT_YET, f"{name} is not defined, because {trouble(earlier, earlier.ran)}"
        return NOT_YET, f"{name} is not defined: was it renamed, or its cell removed or left out?"

    def close(self) -> None:
        """End the kernel."""
        if self.kernel:
            self.kernel.close()
            self.kernel = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@dataclass
class Session(Runner):
    """An exercise notebook, run cell by cell as far as it is needed.

    path: the file.  lesson: its record; by default the package's, by the notebook's own number.  deadline:
    seconds a cell.  budget: characters of output a cell.  kernel_name: a kernelspec, instead of the Python
    that runs this. prelude: code that every fresh kernel runs first.

    Raises BadNotebook with one sentence.
    """

    path: Path
    lesson: record.Lesson | None = None
    deadline: float = field(default_factory=default_deadline)
    budget: int = BUDGET
    kernel_name: str | None = None
    prelude: str = ""

    def __post_init__(self):
        self.path = Path(self.path)
        self.notebook = read_notebook(self.path)
        if self.lesson is None:
            try:
                self.lesson = _released(record.load(lesson_of(self.notebook, self.path)), self.notebook)
            except ValueError as error:
                raise BadNotebook(f"{self.path.name} cannot be checked: {error}.") from None
        self.copies: dict[str, list[int]] = {}
        start = partial(local_kernel, self.path.resolve().parent, self.kernel_name)
        super().__init__(self._plan(), start, self.deadline, self.budget, self.prelude, self.path.name)

    def _plan(self) -> list[Step]:
        """The code cells in order, with the package's source in place of each check cell's own."""
        cells = [c for c in self.notebook.cells if c.cell_type == "code"]
        names = [names_of(cell) for cell in cells]
        at: dict[int, record.Cell] = {}
        for check in self.lesson.cells:
            by_name = [i for i, found in enumerate(names) if check.id in found]
            by_call = [
                i
                for i, c in enumerate(cells)
                if not by_name and (m := CALL.search(c.source)) and m[1] == check.task
            ]
            found = by_name or by_call
            if found:
                at[found[0]] = check
                self.copies[check.task] = found[1:]
        copies = {i: task for task, more in self.copies.items() for i in more}
        steps = []
        for number, cell in enumerate(cells):
            check = at.get(number)
            step = Step(number, cell.get("id", ""), check.source if check else cell.source, check)
            if check:
                step.id = check.id
            elif number in copies:
                step.skip = f"a copy of the check of {copies[number]}, whose first cell counts"
            else:
                marks = _marks(cell)
                step.skip = "the cell asks to be skipped" if "skip" in marks else ""
                step.raises = "raises" in marks
            steps.append(step)
        return steps

    @property
    def missing(self) -> list[record.Cell]:
        """The check cells that the file has lost."""
        here = {step.check.task for step in self.steps if step.check}
        return [cell for cell in self.lesson.cells if cell.task not in here]

    def result(self, task_id: str) -> Result:
        """The verdict on a task; runs what is needed.

        Raises ValueError for a task that the lesson has not.
        """
        cell = self.lesson.cell(task_id)
        step = next((s for s in self.steps if s.check == cell), None)
        if step is None:
            return Result(
                cell, NOT_YET, f"Its check cell is missing: add a cell with the lines {_quoted(cell.source)}"
            )
        ran = self.run(step, others=False)
        copies = self.copies.get(task_id)
        note = (
            f"There is a copy of this check further down (code cell {copies[0] + 1}); the first counts."
            if copies
            else ""
        )
        return Result(cell, *self._judge(step, ran), note)

    def results(self) -> list[Result]:
        """The verdict on every task, in order."""
        return [self.result(cell.task) for cell in self.lesson.cells]

    def _judge(self, step: Step, ran: Ran) -> tuple[str, str]:
        """(state, sentence) of a check that has run."""
        cell = step.check
        if ran.stopped:
            return NOT_YET, f"The check {ran.stopped}"
        if ran.ename in ("NotTried", "NotYet", "NoSuchTask"):
            state = NOT_TRIED if ran.ename == "NotTried" else NOT_YET
            return state, ran.evalue.removeprefix(f"{cell.task} {state}. ")
        if ran.ename == "NameError":
            return self.undefined(step, ran)
        if ran.ename:
            return NOT_YET, f"The check stopped with {error_of(ran)}."
        trouble = record.compare(cell, ran.text)
        return (NOT_YET, trouble) if trouble else (DONE, "")


def _released(lesson: record.Lesson, notebook) -> record.Lesson:
    """The lesson with the tasks and points that a course has set, as the notebook says: at home that will do,
    for grading it is the course's own record that counts.
    """
    told = notebook.metadata.get("toolkit")
    tasks = told.get("tasks") if isinstance(told, dict) else None
    points = {}
    for cell in notebook.cells:
        grade = cell.metadata.get("nbgrader")
        if isinstance(grade, dict) and isinstance(grade.get("points"), (int, float)):
            points |= dict.fromkeys(names_of(cell), grade["points"])
    cells = (cell for cell in lesson.cells if not isinstance(tasks, list) or cell.task in tasks)
    cells = tuple(replace(cell, points=points.get(cell.id, cell.points)) for cell in cells)
    if isinstance(told, dict) and told.get("varied"):
        cells = tuple(_with_constants(cell, notebook) for cell in cells)
    return replace(lesson, cells=cells or lesson.cells)


def _with_constants(cell: record.Cell, notebook) -> record.Cell:
    """A check cell with the constants that the notebook tells for its task."""
    from book.lessons import varying

    task = registry.find(cell.task)
    constants = varying.told(task, notebook)
    if constants is None:
        return cell
    output = varying.reworded(task, constants, cell.output)
    return replace(cell, source=varying.call_with(cell.source, constants), output=output)


def trouble(step: Step, ran: Ran) -> str:
    """One sentence on an ordinary cell that stopped or was ended."""
    if ran.stopped:
        return f"{step.place or f'code cell {step.number + 1}'} {ran.stopped}"
    return f"{step.place or f'code cell {step.number + 1}'} stopped with {error_of(ran)}."


def error_of(ran: Ran) -> str:
    """The exception of a cell as a student is told: its type and first line, without names of files."""
    if ran.ename == "StdinNotImplementedError":
        return "input(): nobody is there to answer when a notebook is checked"
    text = (ran.evalue.strip().splitlines() or [""])[0][:200]
    text = re.sub(r" \(\S*\.py(, (line \d+))?\)$", lambda found: f" ({found[2]})" if found[2] else "", text)
    return f"{ran.ename}: {text}" if text else ran.ename


def _quoted(source: str) -> str:
    return "; ".join(line for line in source.splitlines() if line.strip())


def names_of(cell) -> set[str]:
    """What a cell is called: its id, and its grade_id, which survives copying, old formats and other
    editors.
    """
    grade = cell.metadata.get("nbgrader")
    found = {cell.get("id"), grade.get("grade_id") if isinstance(grade, dict) else None}
    return {name for name in found if isinstance(name, str)}


def _marks(cell) -> set[str]:
    """'skip' and 'raises' for an ordinary cell that carries nbval's markers or tags for them."""
    tags = cell.metadata.get("tags")
    words = {tag for tag in tags if isinstance(tag, str)} if isinstance(tags, list) else set()
    words |= {
        line.lstrip("# ").strip().lower().replace("_", "-")
        for line in cell.source.splitlines()
        if line.lstrip().startswith("#")
    }
    marks = {"skip"} if "nbval-skip" in words else set()
    return marks | ({"raises"} if words & {"nbval-raises-exception", "raises-exception"} else set())
