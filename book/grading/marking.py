"""Mark submissions to one lesson: what an answer gives for secret seeds, beside what the solution gives.

An `AnswerKey` is made once a run: the seeds, and what the solution's answers do on them, seen in a kernel of
their own by the same check.  A `Marker` runs a submission's cells in a sandbox and marks each task: it is
done when nbval finds no difference between the values of the answer and of the solution, numbers within the
task's tolerance counting as equal.  Only the public seeds are spoken of, so that what a student reads is the
same in every run and what a check says at home.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from book.grading import call_log, issuing, messages
from book.grading.assemble import assemble
from book.grading.results import DONE, NOT_TRIED, NOT_YET, Row, TaskResult
from book.grading.sandbox import Sandbox
from book.grading.staging import BOOK, TOOLKIT
from book.grading.text import counted, line, plain, points
from book.lessons import bugs, diagnose, hunting, record, registry
from book.lessons.diagnose import SEEDS, Seen
from book.lessons.running import BUDGET, DEADLINE, BadNotebook, Ran, Runner, Step, error_of
from book.lessons.task import Made, Task

PACKAGES = (BOOK, TOOLKIT)
"""The folders of the packages, which no student's kernel sees as they are."""

_INSIDE = '__import__("book.grading.kernel_check", fromlist=["x"])'
_FIRST = [SEEDS[0], 1]
"""What a check is asked for first: (seed, noise)."""

_PUBLIC = [_FIRST, *([seed, 1] for seed in SEEDS[1:]), [SEEDS[0], 2]]


@dataclass(frozen=True)
class AnswerKey:
    """What marks a lesson in one run: secret, and what the solution does.

    secret: from which the seeds of each task follow.  seen: {task: what the solution's check sent}.
    deadline: seconds a cell may take.  total: seconds after which a submission's spare cells are not run, and
    after as many again no others.  course: what differs between students.
    """

    lesson: record.Lesson
    secret: bytes
    seen: dict[str, dict] = field(default_factory=dict)
    deadline: float = 60.0
    total: float = 600.0
    course: issuing.Course | None = None

    def seeds(self, task_id: str) -> list[int]:
        """The two secret seeds of a task, below 2**48."""
        text = [self.secret + f"{task_id} {number}".encode() for number in (1, 2)]
        return [int.from_bytes(hashlib.blake2b(one, digest_size=6).digest(), "big") for one in text]

    def orders(self, task_id: str) -> list[list[int]]:
        """The secret (seed, noise) that an answer is tried on once it is right on the public seed."""
        first, second = self.seeds(task_id)
        return [[first, 1], [first, 2], [second, 1]]


class NoKey(Exception):
    """The solution does not pass its own checks, so nobody can be marked; the text is one sentence."""


def make_key(
    lesson: record.Lesson,
    base,
    box: Sandbox,
    secret: bytes,
    deadline: float | None = None,
    course: issuing.Course | None = None,
) -> AnswerKey:
    """Run the solution in a kernel of its own.  Raises NoKey when it does not pass.

    base: the solution notebook.  deadline: seconds a cell; by default what a check at home allows, or more
    where ten times the slowest cell of the solution is more: 60, 120, 240, ..., so that it is hardly ever
    another one in the next run.
    """
    sent, slowest = {}, 0.0
    marker = Marker(AnswerKey(lesson, secret, deadline=deadline or 600.0, total=3600.0), base, box)
    with marker.runner(base) as (runner, _):
        runner.ready(runner.steps[0])
        started = time.monotonic()
        for step in runner.steps:
            began = time.monotonic()
            if step.check:
                told = marker.ask(runner, step, [_FIRST, *marker.key.orders(step.check.task)])
                if isinstance(told, Ran):
                    why = marker.failed(step.check, runner, step, told).sentence
                    raise NoKey(f"The solution of task {step.check.task} does not run: {why}")
                sent[step.check.task] = told
            else:
                ran = runner.run(step)
                if ran.stopped or ran.ename:
                    raise NoKey(f"Cell {step.id} of the solution {ran.stopped or error_of(ran)}")
            slowest = max(slowest, time.monotonic() - began)
    total = _rounded(10 * (time.monotonic() - started), 5 * DEADLINE)
    key = AnswerKey(lesson, secret, sent, deadline or _rounded(10 * slowest, DEADLINE), total)
    for task_id in sent:
        marker = Marker(key, base, box)
        result = marker.judge(lesson.cell(task_id), sent[task_id], lambda _, told=sent[task_id]: told)
        task = marker.tasks[task_id]
        public = _Sent(task, sent[task_id]).look(SEEDS[0], 1)
        if result.state != DONE or not diagnose.right(task, public, diagnose.expected(task, SEEDS[0])):
            why = result.sentence or "its values are not those that the package expects."
            raise NoKey(f"The solution of task {task_id} does not pass: {why}")
    return replace(key, course=course)


def _rounded(seconds: float, least: float) -> float:
    """The first of least, 2 least, 4 least, ... that is no shorter."""
    return least * 2 ** max(0, math.ceil(math.log2(seconds / least)))


class Marker:
    """Marks submissions to one lesson.

    key: what is right.  base: the lesson's own notebook.  box: where students' kernels run.
    """

    def __init__(self, key: AnswerKey, base, box: Sandbox):
        self.key, self.base, self.box = key, base, box
        self.tasks = registry.tasks(key.lesson.lesson)
        self.issued: str | None = None
        """Whom the last notebook was issued to, '' for nobody; None where there is no such thing."""
        self.nobodys: tuple[str, ...] = ()
        """Tasks with constants of each student's own, in a notebook that was issued to nobody."""

    def _of_student(self, notebook) -> dict[str, issuing.Hunt]:
        """The hunts of the student whom a notebook was issued to; from here on the tasks are theirs."""
        course, mine = self.key.course, {cell.task for cell in self.key.lesson.cells}
        self.tasks, self.issued, self.nobodys = registry.tasks(self.key.lesson.lesson), None, ()
        if course is None:
            return {}
        student = self.issued = issuing.issued_to(notebook, course.key)
        if not student:
            self.nobodys = tuple(task for task in course.varied if task in mine)
            return {}
        self.tasks = course.tasks(student, self.key.lesson.lesson)
        return {task: course.hunt(student, task) for task in course.hunts if task in mine}

    def _hunted(self, result: TaskResult, hunt: issuing.Hunt, heard: _Heard) -> TaskResult:
        """The result of a bug hunt: not tried as it was handed out, else with the number of mistakes left."""
        result = replace(result, hunt=hunt.chosen)
        answers = self.key.lesson.answers[hunt.task]
        sources = [step.source for step in heard.runner.steps if step.id in answers]
        own = [step.source for step in heard.runner.steps if not step.check]
        left = None
        if result.state != DONE and not isinstance(heard.told, Ran):
            with contextlib.suppress(messages.BadMessage, KeyError):
                left = hunting.left_of(hunt, _Sent(self.tasks[hunt.task], heard.told).look(*_FIRST))
        # A listing that stands there as it was may be mended in a cell of the student's own.
        if result.state != DONE and left in (None, hunt.chosen) and issuing.untouched(hunt, sources):
            given = {"sentence": _AS_GIVEN, "kind": "as given", "mistake": None, "left": hunt.chosen}
            return replace(result, state=NOT_TRIED, **given)
        if foreign := issuing.foreign(hunt, own):
            result = replace(result, flags=(*result.flags, foreign))
        if not left:
            return result
        count = hunting.counted(len(left), len(hunt.chosen))
        result = replace(result, sentence=f"{count}. {result.sentence}", kind="hunt", left=left)
        mended = len(hunt.chosen) - len(left)
        return self._in_part(result, hunt, heard) if self.key.course.partial and mended else result

    def _in_part(self, result: TaskResult, hunt: issuing.Hunt, heard: _Heard) -> TaskResult:
        """The result with points for the mistakes of a hunt that are mended.

        What a listing does on the public inputs anybody can work out, so on the secret ones, too, it must do
        what the mistakes do that are left.
        """
        task, (first, second) = self.tasks[hunt.task], self.key.seeds(hunt.task)
        told = heard.more(self.key.orders(hunt.task))
        try:
            mine = _Sent(task, told) if isinstance(told, dict) else None
        except messages.BadMessage:
            mine = None
        known = mine and diagnose.steady(mine.look(first, 1), mine.look(first, 2)) and all(
            same(task, mine.look(seed, 1), bugs.behaviour(task, result.left, seed=seed))
            for seed in (first, second)
        )  # fmt: skip
        if not known:
            return result
        score = round(result.points * (1 - len(result.left) / len(hunt.chosen)), 2)
        said = f"{counted(score, 'point')} of {points(result.points)} for what is mended."
        return replace(result, score=score, sentence=f"{result.sentence} {said}")

    def mark(self, notebook) -> tuple[TaskResult, ...]:
        """The marks of a submission, a notebook of nbformat 4, in the order of the tasks."""
        found, hunts = {}, self._of_student(notebook)
        with self.runner(notebook) as (runner, assembled):
            for step in (s for s in runner.steps if s.check):
                heard = _Heard(self, runner, step)
                told = heard.told
                if isinstance(told, Ran):
                    result = self.failed(step.check, runner, step, told)
                else:
                    result = self.judge(step.check, told, heard.more)
                task = step.check.task
                if task in hunts:
                    result = self._hunted(result, hunts[task], heard)
                solution = self.key.seen.get(task, {})
                result = _noted(result, self._asked(task), assembled, heard.told, solution)
                if task in self.nobodys:
                    nobodys = {"sentence": _NOBODYS, "kind": "not issued", "mistake": None}
                    result = replace(result, score=0.0, state=NOT_YET, **nobodys)
                found[task] = replace(result, flags=(*result.flags, _LATE)) if runner.late else result
        return tuple(found[cell.task] for cell in self.key.lesson.cells)

    def _asked(self, task: str) -> Task:
        """A task, with what it and those before it, whose answers it may use, let an answer call."""
        names = list(self.tasks)
        earlier = [self.tasks[name] for name in names[: names.index(task) + 1]]
        return replace(self.tasks[task], allows=tuple(name for one in earlier for name in one.allows))

    def runner(self, notebook):
        """A context that gives (the runner of the assembled cells, how they were assembled)."""
        key = self.key
        handed = key.course.checks(self.issued, key.lesson) if self.issued else {}
        assembled = assemble(notebook, self.base, key.lesson, handed)
        begin = f"{_INSIDE}.begin()"
        limits = (key.deadline, BUDGET, begin, "The notebook", key.total)
        return _Running(Runner(assembled.steps, self.box.kernel, *limits), assembled)

    def ask(self, runner: Runner, step: Step, orders: list[list[int]], again: bool = False) -> dict | Ran:
        """Run a check and return what it sent; where nothing came, what the check did.

        orders: (seed, noise) to observe.  again: it was run before, as the cells before it were.
        """
        token = hashlib.blake2b(self.key.secret + step.id.encode(), digest_size=8).hexdigest()
        source = f"{_INSIDE}.order(token={token!r}, seeds={orders!r})\n{step.check.source}"
        try:
            if not again:
                step.source = source
                ran = runner.run(step)
            elif runner.kernel and runner.kernel.alive:
                ran = runner.kernel.run(source, self.key.deadline, BUDGET)
            else:
                ran = Ran(stopped="ran, and then the kernel ended by itself.")
        except BadNotebook as error:
            ran = Ran(stopped=f"was not run. {error}")
        return _sent(ran, token, step.check.task, orders) or ran

    def failed(self, cell: record.Cell, runner: Runner, step: Step, ran: Ran) -> TaskResult:
        """The result of a check that sent nothing; ran: what it did."""
        state, kind = NOT_YET, "stopped"
        if ran.stopped:
            sentence = f"The check {ran.stopped}"
        elif ran.ename == "NameError":
            (state, sentence), kind = runner.undefined(step, ran), "undefined"
        elif ran.ename:
            sentence = f"The check stopped with {error_of(ran)}."
        else:
            sentence = (
                "The check's result did not arrive: does one of your cells replace something that Python, "
                "IPython or the check needs?"
            )
        return TaskResult(cell.task, cell.title, cell.points, state=state, sentence=sentence, kind=kind)

    # ------------------------------------------------------------ judging

    def judge(self, cell: record.Cell, told: dict, ask_more) -> TaskResult:
        """The result of a task from what its check sent.

        ask_more: called with (seed, noise) that are to be observed; it gives what was sent for them, or a
        result.  An answer that is wrong on the public seed is not tried on the secret ones.
        """
        task, begun = self.tasks[cell.task], told
        result = functools.partial(TaskResult, cell.task, cell.title, cell.points)
        try:
            if told.get("error"):
                return result(state=NOT_YET, sentence=f"{told['error']}"[:1000] + ".", kind="call")
            mine, theirs = _Sent(task, told), _Sent(task, self._right(task))
            first = mine.look(*_FIRST)
            public = same(task, first, theirs.look(*_FIRST))
            if public:
                told = ask_more(self.key.orders(task.id)) if task.probe else told
                if isinstance(told, TaskResult):
                    return told
                if self._done(task, _Sent(task, told), theirs):
                    told = {"rows": _rows(task, first), "printed": first.printed}
                    return result(score=cell.points, state=DONE, **told)
            if first.trouble != "stub" and task.probe:
                more = ask_more(_PUBLIC)
                if isinstance(more, TaskResult):
                    return more
                mine = _Sent(task, more)
                if messages.is_cut(more):  # like is compared with like
                    first = _Sent(task, messages.shapes_only(begun)).look(*_FIRST)
            found = diagnose.verdict(task, mine.look, first)
        except messages.BadMessage as error:
            return result(
                state=NOT_YET, sentence=f"The check's result cannot be read: {error}.", kind="stopped"
            )
        if found.state == DONE or (public and found.kind in ("value", "pattern")):
            why = self._only_here(task, told) if public else _ONLY_HERE
            found = diagnose.Verdict(NOT_YET, why, kind="only public")
        return result(
            state=found.state,
            sentence=found.sentence,
            kind=found.kind or first.trouble,
            mistake=found.mistake,
            rows=_rows(task, first),
            printed=found.printed or first.printed,
        )

    def _only_here(self, task: Task, told: dict) -> str:
        """What is said of an answer that is right for what its author could see, and for nothing else: why it
        stops for further inputs, if it does, without a word on these."""
        first = _Sent(task, told)
        for seed in self.key.seeds(task.id):
            seen = first.look(seed, 1)
            if seen.values is None:
                return f"{_ELSEWHERE} {_reason(seen)}"
        return _ONLY_HERE

    def _right(self, task: Task) -> dict:
        """What the solution's check sent; with a student's constants, the right data for these in it."""
        sent = self.key.seen[task.id]
        if task is registry.find(task.id):
            return sent
        right = task.reference if task.names else {"": task.reference}
        data = {name: messages.pack(one) for name, one in right.items() if not callable(one)}
        return {**sent, "answers": {**sent["answers"], **data}}

    def _done(self, task: Task, mine: _Sent, theirs: _Sent) -> bool:
        """Whether an answer that is right on the public seed is so on the secret ones, and steady."""
        first, second = self.key.seeds(task.id)
        if not diagnose.steady(mine.look(first, 1), mine.look(first, 2)):
            return False
        return all(same(task, mine.look(s, 1), theirs.look(s, 1)) for s in (first, second))


class _Heard:
    """What one check of a submission sends: `told`, a dict, or what it did where nothing comes.  `more` asks
    again, for other observations; what the answer called meanwhile is added to `told`."""

    def __init__(self, marker: Marker, runner: Runner, step: Step):
        self.marker, self.runner, self.step = marker, runner, step
        self.told = marker.ask(runner, step, [_FIRST])

    def more(self, orders: list[list[int]]) -> dict | TaskResult:
        """What is sent for these (seed, noise); or the result where nothing comes any more."""
        told = self.marker.ask(self.runner, self.step, orders, again=True)
        if isinstance(told, Ran):
            return self.marker.failed(self.step.check, self.runner, self.step, told)
        for name in ("called", "inside"):
            self.told[name] = [*_a_list(self.told.get(name)), *_a_list(told.get(name))]
        return told


def _a_list(what) -> list:
    """What arrived as a list; [] for anything else."""
    return what if isinstance(what, list) else []


_ELSEWHERE = (
    "The values for the inputs that you could see are right. The check also used further inputs, which are "
    "not shown, and for one of these"
)

_AS_GIVEN = "The listing is as it was handed out: what measurement shows that something is wrong with it?"

_NOBODYS = (
    "The notebook does not say whom it was issued to, and this task has constants of each student's own: "
    "hand in the file that was made for you, or copy the cell back that tells the deadline."
)

_LATE = "ran out of time: some cells were not run"

_ONLY_HERE = (
    "The values for the inputs that you could see are right, and for others they are not: does your answer "
    "hold a number that belongs to those inputs only?"
)


def _reason(seen: Seen) -> str:
    """Why an answer stops, without the error's message, which may tell the inputs."""
    kind, message = seen.error
    if seen.trouble != "raises" or not kind.isidentifier():
        return "the check cannot use what comes out."
    return seen.text.replace(f"with {kind}: {message}", f"with {kind}")


class _Sent:
    """What a check sent, asked like an answer: `look(seed, noise)`."""

    def __init__(self, task: Task, told: dict):
        self.task = task
        self.raw, seen = told.get("answers"), told.get("seen", [])
        if not isinstance(self.raw, dict) or set(self.raw) != set(task.names or ("",)):
            raise messages.BadMessage("answers are missing")
        pairs = [tuple(pair) for pair in told["orders"]]
        self.stub = any(isinstance(one, dict) and one.get("is") == "stub" for one in self.raw.values())
        if task.probe and not self.stub and (not isinstance(seen, list) or len(seen) != len(pairs)):
            raise messages.BadMessage("observations are missing")
        self.seen = dict(zip(pairs, map(messages.unpack_seen, seen), strict=False))
        reference = {name: _made(task, name) for name in task.names or ("",)}
        self.answers = {name: messages.unpack(one, reference[name]) for name, one in self.raw.items()}
        self.kept: dict[tuple[int, int], Seen] = {}

    def look(self, seed: int, noise: int) -> Seen:
        """What the answer did; what facts tell of data is found here, outside the student's kernel.

        Raises KeyError for what was not asked for.
        """
        if (seed, noise) not in self.kept:
            self.kept[seed, noise] = self._look(seed, noise)
        return self.kept[seed, noise]

    def _look(self, seed: int, noise: int) -> Seen:
        if self.stub:
            return Seen(trouble="stub")
        seen = self.seen[seed, noise] if self.task.probe else Seen(values={})
        if self.task.facts is None or seen.values is None:
            return seen
        alone = SimpleNamespace(names=self.task.names, probe=None, facts=self.task.facts)
        facts = diagnose.observe(alone, self.answers if self.task.names else self.answers[""], seed, noise)
        if facts.values is None:
            seen.values, seen.trouble, seen.text, seen.error = None, facts.trouble, facts.text, facts.error
        else:
            seen.values = {**seen.values, **facts.values}
        return seen


@functools.lru_cache(maxsize=1024)
def _made(task: Task, name: str):
    """The reference's answer of this name, or None."""
    answer = task.reference
    if task.names:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer.make() if isinstance(answer, Made) else answer


# --- comparing ------------------------------------------------------------------------------------------


def same(task: Task, mine: Seen, theirs: Seen) -> bool:
    """Whether nbval finds no difference between two sets of values.

    It compares text: every digit of every number, once those that agree within the task's tolerance have
    been put equal.
    """
    from nbformat.v4 import new_output

    if mine.values is None or theirs.values is None:
        return False
    put_equal = {
        label: theirs.values[label]
        if label in theirs.values
        and diagnose.same_value(value, theirs.values[label], task.tolerance_of(label))
        else value
        for label, value in mine.values.items()
    }
    texts = [_text(task, values) for values in (put_equal, theirs.values)]
    return _nbval().compare_outputs(*([new_output("stream", name="stdout", text=text)] for text in texts))


def _text(task: Task, values: Mapping) -> str:
    """All digits of all values, a line a label."""
    shown = {k: v if isinstance(v, str) else f"{v.shape} {v.ravel().tolist()}" for k, v in values.items()}
    return "".join(f"{task.id}  {label}  {text}\n" for label, text in shown.items())


@functools.cache
def _nbval():
    """nbval's comparison of outputs, without the pytest session around it, and without its diff, which would
    print what is right.
    """
    from nbval.plugin import IPyNbCell, nocolors

    class Comparing(IPyNbCell):
        def format_output_compare(self, key, left, right):
            return None

    cell = object.__new__(Comparing)
    skipped = (
        "metadata",
        "traceback",
        "text/latex",
        "prompt_number",
        "output_type",
        "name",
        "execution_count",
    )
    cell.parent = SimpleNamespace(skip_compare=skipped, sanitize_patterns={})
    cell.colors = nocolors
    return cell


# --- small parts ----------------------------------------------------------------------------------------


class _Running:
    """`with` a runner, giving it together with how its cells were assembled."""

    def __init__(self, runner: Runner, assembled):
        self.pair = runner, assembled

    def __enter__(self):
        return self.pair

    def __exit__(self, *_):
        self.pair[0].close()


def _sent(ran: Ran, token: str, task: str, orders) -> dict | None:
    """What a check sent, if it did: the first message with this check's token."""
    for text in ran.sent:
        try:
            told = json.loads(text) if len(text) <= messages.LIMIT else {}
            if told.get("token") == token and told.get("task") == task:
                return told | {"orders": orders}
        except (ValueError, AttributeError, RecursionError):
            continue
    return None


def _noted(result: TaskResult, asked: Task, assembled, told, solution: dict) -> TaskResult:
    """The result with the remarks for the student and for the instructor."""
    told = told if isinstance(told, dict) else {}
    task = result.task
    used = _methods(told.get("called", ())) | _among(told.get("inside", ()), asked.gives_away)
    used -= _methods(solution.get("called", ())) | _among(used, asked.allows)
    imported = _methods(assembled.imported.get(task, ())) - used
    imported -= _among(imported, asked.allows)
    flags = [*result.flags, *(f"calls {name}, which the solution does not" for name in sorted(used))]
    flags += [f"imports {name}" for name in sorted(imported)]
    flags += [f"names {name}, which is the grader's" for name in sorted(assembled.named.get(task, ()))]
    return replace(
        result,
        sentence=plain(result.sentence, 2000),
        printed=plain(result.printed, 2000),
        rows=tuple(Row(line(row.label), line(row.yours, 500), row.kind, row.wrong) for row in result.rows),
        notes=tuple(assembled.notes.get(task, ())),
        flags=tuple(line(flag) for flag in flags[:20]),
    )


def _methods(names) -> set[str]:
    """Of names such as 'toolkit.ddim.ddim' those in modules that hold what exercises ask for."""
    return {name for name in _words(names) if call_log.is_method(name) and "<" not in name}


def _among(names, listed) -> set[str]:
    """Of names those that are listed, or lie under one that is."""
    return {name for name in _words(names) if call_log.under(name, listed)}


def _words(names) -> Iterator[str]:
    """What are words in what arrived as a list of words, cut to size."""
    names = names if isinstance(names, (list, set, tuple)) else ()
    return (name[:200] for name in names if isinstance(name, str))


def _rows(task: Task, seen: Seen) -> tuple[Row, ...]:
    """The lines of a check for the public inputs, each with the kind of thing that a right answer gives."""
    if seen.values is None:
        return ()
    right = diagnose.expected(task, SEEDS[0]).values
    rows = []
    for label, value in list(seen.values.items())[:50]:
        yours = [text for _, text in diagnose.rows(task, {label: value})]
        shown = ", ".join(yours) if isinstance(value, str) or value.size <= 4 else " … ".join(yours[:2])
        if not isinstance(value, str) and value.shape != getattr(right.get(label, value), "shape", None):
            shown += f" ({kind_of(value)})"
        kind = kind_of(right[label], value) if label in right else "nothing"
        wide = task.tolerance_of(label)
        wrong = label not in right or not diagnose.same_value(value, right[label], wide)
        rows.append(Row(label, shown[:500], kind, wrong))
    return tuple(rows)


def kind_of(value, beside=None) -> str:
    """'a text', 'a number', '3 numbers' or 'an array of shape (3, 2)'.

    beside: a student's value; the record says "right" in the place of a number that it must not tell.
    """
    if isinstance(value, str) and value == "right" and not isinstance(beside, (str, type(None))):
        value = beside
    if isinstance(value, str):
        return "a text"
    if value.ndim == 0:
        return "a number"
    return f"{value.size} numbers" if value.ndim == 1 else f"an array of shape {value.shape}"
