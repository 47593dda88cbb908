"""Grade a class: every submission once, on all cores or on a cluster, with each result kept as it comes.

Results are kept in OUT/state, one file for each different notebook, named by what it depends on: the bytes of
the notebook, the lesson with its tasks and points, and the code that grades.  A run that was killed goes on
where it stopped, and two students with the same file get the same marks.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from book.grading import issuing, marking
from book.grading.collect import Submission
from book.grading.results import Graded, Student, TaskResult, from_json, to_json
from book.grading.sandbox import Limits, NoSandbox, Sandbox
from book.grading.staging import imports_of, stage
from book.lessons import diagnose, record, registry
from book.lessons.running import BadNotebook, read_notebook
from toolkit.files import write_file

FORMAT = 2
"""Of the files in OUT/state."""

OWN_SECONDS, OWN_MEMORY = 600, 4 * 2**30
"""CPU seconds and bytes of address space that marking one submission may take of the grader itself, beside
what the student's kernel takes."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to mark submissions to one lesson, on this machine or another.

    key: what is right.  base: the text of the lesson's solution notebook.  limits, isolation: of the sandbox.
    hidden: folders to keep out of sight.  scratch: for temporary files on this machine; '' on another.
    """

    key: marking.AnswerKey
    base: str
    limits: Limits
    isolation: str
    hidden: tuple[Path, ...] = ()
    scratch: str = ""


class CannotGrade(Exception):
    """The run as a whole cannot be done; the text is one sentence."""


# --- a worker -------------------------------------------------------------------------------------------


class _Place:
    """Where a worker marks: its staged package and its box, kept from one submission to the next."""

    def __init__(self, work: Work):
        there = work.scratch if os.path.isdir(work.scratch) else None
        self.folder = Path(tempfile.mkdtemp(prefix="stage", dir=there))
        lesson = work.key.lesson.lesson
        self.base = _notebook(work.base)
        try:
            stage(self.folder, [lesson])
        except BaseException:
            self.close()
            raise
        sources = [cell.source for cell in self.base.cells if cell.cell_type == "code"]
        imports = [*imports_of(sources), f"book.lessons._probes_{lesson}"]
        self.box = Sandbox(self.folder, imports, work.limits, work.isolation, work.hidden)

    def close(self) -> None:
        if hasattr(self, "box"):
            self.box.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


_here = threading.local()


def _place(work: Work) -> _Place:
    """This thread's place for a lesson; going over to another lesson closes the one before."""
    wanted = (work.key.lesson, work.key.secret, work.isolation)
    if getattr(_here, "what", None) != wanted:
        _leave()
        _end_with(os.getppid())
        _here.place, _here.what = _Place(work), wanted
        atexit.register(_here.place.close)
    return _here.place


@functools.cache
def _end_with(parent: int) -> None:
    """End this process when its parent has ended, however: a worker would wait for work for minutes, and its
    sandbox with it."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if multiprocessing.parent_process() is not None:
        threading.Thread(target=watch, daemon=True).start()


def _leave() -> None:
    """Close this thread's place."""
    place, _here.place, _here.what = getattr(_here, "place", None), None, None
    if place:
        place.close()


def _notebook(text: str):
    import nbformat

    return nbformat.reads(text, as_version=4)


def mark_one(work: Work, name: str, raw: bytes) -> tuple[dict, bool]:
    """(the marks of one notebook, as JSON; whether they are lost); whatever goes wrong becomes its problem.

    work: of its lesson.  name: of the file, for sentences.  raw: its bytes.
    """
    lesson = work.key.lesson
    graded = Graded(Student(""), lesson.lesson, lesson.notebook, untouched(lesson))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "submission.ipynb")
            path.write_bytes(raw)
            try:
                notebook = read_notebook(path)
            except BadNotebook as error:
                raise BadNotebook(str(error).replace(path.name, name)) from None
        place = _place(work)
        with bounded(OWN_SECONDS, OWN_MEMORY):
            marker = marking.Marker(work.key, place.base, place.box)
            tasks = marker.mark(notebook)
        graded = replace(graded, tasks=tasks, issued=marker.issued)
        if work.key.course is None and issuing.claimed(notebook):
            graded = replace(graded, flags=(issuing.UNREAD,))
    except BadNotebook as error:
        graded = replace(graded, problem=str(error))
    except Exception as error:  # one submission must not stop the others
        return lost(lesson, f"the grader itself stopped with {type(error).__name__}: {error}"[:300]), True
    return to_json(graded), False


class TooMuch(Exception):
    """Marking a submission takes more of the grader's own time than it may."""


@contextlib.contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Hold this process to so many more CPU seconds of its own (TooMuch) and bytes of address space
    (MemoryError) meanwhile.  Where signals do not arrive, in a thread, nothing is held to anything."""
    import resource

    import psutil

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise TooMuch(f"it took more than {seconds:g} s of the grader's own time")

    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + memory
    if before[1] != resource.RLIM_INFINITY:
        most = min(most, before[1])
    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again and again: what stops it may be caught
    try:
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of address space
            resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def lost(lesson: record.Lesson, why: str) -> dict:
    """The marks, as JSON, of a notebook that could not be graded by a fault that is not the student's."""
    graded = Graded(Student(""), lesson.lesson, lesson.notebook, untouched(lesson))
    sentence = "This notebook could not be graded; your instructor has been told."
    return to_json(replace(graded, problem=sentence, flags=(why,)))


def untouched(lesson: record.Lesson) -> tuple[TaskResult, ...]:
    """The results of a lesson of which nothing was graded."""
    return tuple(TaskResult(cell.task, cell.title, cell.points) for cell in lesson.cells)


# --- a run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """How to grade.

    solutions: the folder of the solution notebooks.  jobs: how many at a time (-1: as many as cores).
    backend: 'loky' (this machine) or 'dask', with the scheduler's address.  isolation: see sandbox.KINDS.
    deadline: seconds a cell, or None for ten times what the solution takes.  course: what differs between
    students, by the course's key.
    """

    solutions: Path = Path("solutions")
    jobs: int = -1
    backend: str = "loky"
    scheduler: str = ""
    isolation: str = "auto"
    deadline: float | None = None
    limits: Limits = Limits()
    course: issuing.Course | None = None


def grade(
    submissions: list[Submission],
    lessons: dict[str, record.Lesson],
    out: Path,
    options: Options,
    progress: Callable[[int, Iterable], Iterable] = lambda total, results: results,
) -> list[Graded]:
    """The marks of all submissions, in their order.

    lessons: {lesson: its record with the tasks and points that count}.  out: results are kept in out/state.
    progress: is given the number of notebooks to mark and an iterable of results to hand on.

    Raises CannotGrade when a solution is missing or does not pass; NoSandbox as sandbox.found.
    """
    state = out / "state"
    state.mkdir(parents=True, exist_ok=True)
    raws = {n: one.path.read_bytes() for n, one in enumerate(submissions) if one.path and not one.problem}
    prints = {lesson: _fingerprint(lessons[lesson], options) for lesson in lessons}
    names = {n: _name(raw, prints[submissions[n].lesson]) for n, raw in raws.items()}
    pending = {name: n for n, name in reversed(names.items()) if _kept(state / name) is None}
    order = sorted(pending.items(), key=lambda item: (submissions[item[1]].lesson, item[1]))
    found = {name: _kept(state / name) for name in names.values()}
    with _scratch(state) as scratch, _terminable():
        works = {
            lesson: _work(lessons[lesson], options, out, scratch)
            for lesson in dict.fromkeys(submissions[n].lesson for _, n in order)
        }
        jobs = {name: (submissions[n].lesson, submissions[n].file, raws[n]) for name, n in order}
        for name, result, is_lost in progress(len(jobs), _mark_all(jobs, works, options)):
            found[name] = from_json(result)
            if not is_lost:
                _keep(state / name, result)
    twins = _twins(submissions, names, found)
    return [
        _of(one, lessons[one.lesson], found.get(names.get(n)), twins.get(n, ()))
        for n, one in enumerate(submissions)
    ]


def _of(one: Submission, lesson: record.Lesson, found: Graded | None, flags) -> Graded:
    """A submission's marks: those of its notebook, or none."""
    if found is not None:
        return found.of(one.student, one.file, one.late, one.notes, flags)
    empty = Graded(one.student, lesson.lesson, lesson.notebook, untouched(lesson), one.file, one.late)
    return replace(empty, problem=one.problem or "Nothing was handed in.", notes=one.notes)


def _twins(submissions, names: dict[int, str], found: dict[str, Graded | None]) -> dict[int, tuple[str, ...]]:
    """A flag for each submission whose file another student has handed in too, if there is any work in it.
    Partners, who hand in one file together, are no such pair."""
    same: dict[str, list[int]] = {}
    for n, name in names.items():
        same.setdefault(name, []).append(n)
    flags = {}
    for name, group in same.items():
        worked = found[name] and any(task.state != "not tried" for task in found[name].tasks)
        for n in group if worked else ():
            mine = submissions[n]
            together = {submissions[m].student.key for m in group if submissions[m].path == mine.path}
            others = sorted({submissions[m].student.key for m in group} - together)
            if others:
                flags[n] = (f"the same file as {', '.join(others[:5])}",)
    return flags


def _work(lesson: record.Lesson, options: Options, out: Path, scratch: str) -> Work:
    """What a worker needs for a lesson, with fresh secret seeds, but for what the solution does."""
    try:
        source = json.dumps(read_notebook(options.solutions / lesson.notebook))
    except BadNotebook as error:
        raise CannotGrade(f"The solution of lesson {lesson.lesson} is needed: {error}") from None
    hidden = tuple(folder.resolve() for folder in (options.solutions, out, *marking.PACKAGES))
    key = marking.AnswerKey(lesson, secrets.token_bytes(16), course=options.course)
    return Work(key, source, options.limits, options.isolation, hidden, scratch)


def _with_key(work: Work, deadline: float | None) -> Work:
    """The same with a key: the solution is run where submissions are to be.  Raises CannotGrade."""
    key = work.key
    try:
        place = _place(work)
        made = marking.make_key(key.lesson, place.base, place.box, key.secret, deadline, key.course)
    except (marking.NoKey, BadNotebook, ValueError) as error:
        raise CannotGrade(f"Lesson {key.lesson.lesson} cannot be graded: {error}") from None
    return replace(work, key=made)


def _warm(work: Work) -> None:
    """Start what this worker needs, while another one makes the key, and tells what is wrong with it."""
    with contextlib.suppress(ValueError):
        _place(work).box.warm()
        for task in registry.tasks(work.key.lesson.lesson).values():
            diagnose.expected(task, diagnose.SEEDS[0])


def _mark_all(jobs, works: dict[str, Work], options: Options) -> Iterator[tuple[str, dict, bool]]:
    """(name, result, whether it was lost) of every job, as they come.

    jobs: {name: (lesson, file, bytes)}.  works: of each lesson, which get their keys here.  What a lost
    worker was at is given to another one, alone; if that is lost too, the submission is set aside.  So it
    costs itself, and neither the run nor those that were marked beside it.
    """
    left, ready, losses, nobodys, why = dict(jobs), {}, Counter(), 0, ""
    while left and nobodys < 3:
        suspects = [name for name in left if losses[name]]
        batch = {name: left[name] for name in suspects[:1] or left}
        try:
            for name, result, is_lost in _mark_batch(batch, works, ready, options, alone=bool(suspects)):
                del left[name]
                yield name, result, is_lost
        except (KeyboardInterrupt, GeneratorExit, CannotGrade, NoSandbox):
            raise
        except Exception as error:
            why = f"its worker was lost ({type(error).__name__}: {error})"[:200]
            held = _held(works, suspects[:1]) & left.keys()
            losses.update(held)
            nobodys += not held
        for name in [name for name in left if losses[name] == 2]:
            yield name, lost(works[left.pop(name)[0]].key.lesson, f"{why}, twice"), True
    for name, (lesson, _, _) in left.items():
        yield name, lost(works[lesson].key.lesson, why), True


def _mark_batch(batch, works, ready, options: Options, alone: bool) -> Iterator[tuple[str, dict, bool]]:
    """(name, result, whether it was lost) of every job of a batch, as they come; `ready` gets the keys that
    are missing.  alone: in a worker of its own, never in this process."""
    from joblib import Parallel, delayed, effective_n_jobs
    from joblib.externals.loky import get_reusable_executor

    try:
        with _backend(options):
            count = 2 if alone else min(effective_n_jobs(options.jobs), len(batch))
            with Parallel(n_jobs=count, return_as="generator_unordered") as parallel:
                keyless = [work for lesson, work in works.items() if lesson not in ready]
                first = [delayed(_with_key)(work, options.deadline) for work in keyless]
                first += [delayed(_warm)(work) for work in keyless[:1] * (count - len(keyless))]
                for work in filter(None, parallel(first)):
                    ready[work.key.lesson.lesson] = work
                calls = [
                    delayed(_named)(name, ready[lesson], file, raw)
                    for name, (lesson, file, raw) in batch.items()
                ]
                yield from parallel(calls)
    finally:
        _leave()
        if options.backend == "loky":
            get_reusable_executor().shutdown(wait=True)  # with it go the workers' sandboxes


def _named(name: str, work: Work, file: str, raw: bytes) -> tuple[str, dict, bool]:
    """`mark_one`, with a note on this machine's disk of what this worker is at, should it be lost."""
    note = Path(work.scratch, f"held-{name}") if os.path.isdir(work.scratch) else None
    if note:
        note.touch()
    marks = mark_one(work, file, raw)
    if note:
        note.unlink(missing_ok=True)
    return name, *marks


def _held(works: dict[str, Work], alone: list[str]) -> set[str]:
    """What the workers were at that have just been lost; the notes are removed.  alone: what was given to a
    worker of its own, which may be another machine's and leave no note."""
    found = set(alone)
    for folder in {work.scratch for work in works.values()}:
        for note in Path(folder).glob("held-*"):
            found.add(note.name.removeprefix("held-"))
            note.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def _scratch(state: Path) -> Iterator[str]:
    """A folder for temporary files.  What a run that was killed has left is removed: state says where.

    It does not lie in the state, whose folders another user may not be allowed to enter, and whose path may
    be too long for a socket's.
    """
    import psutil

    for note in state.glob("scratch-*"):
        pid = note.name.removeprefix("scratch-")
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            left = Path(note.read_text("utf8"))
            if left.name.startswith("tk") and left.parent == Path(tempfile.gettempdir()):
                shutil.rmtree(left, ignore_errors=True)
            note.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="tk") as scratch:
        os.chmod(scratch, 0o711)  # where root grades, sandboxes are another user's
        note = state / f"scratch-{os.getpid()}"
        note.write_text(scratch, "utf8")
        try:
            yield scratch
        finally:
            note.unlink(missing_ok=True)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, with nothing left behind."""

    def stop(*_):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _backend(options: Options):
    """joblib's backend for these options.  Raises CannotGrade when there is no such scheduler."""
    from joblib import parallel_config

    if options.backend != "dask":
        with parallel_config(backend=options.backend):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise CannotGrade(
            "The dask backend needs the package distributed: pip install distributed."
        ) from None
    try:
        client = Client(options.scheduler, timeout=20, set_as_default=True)
    except (OSError, ValueError) as error:
        raise CannotGrade(f"There is no Dask scheduler at {options.scheduler!r} ({error}).") from None
    with client, parallel_config(backend="dask", wait_for_workers_timeout=60):
        yield


# --- what is kept ---------------------------------------------------------------------------------------


def _fingerprint(lesson: record.Lesson, options: Options) -> bytes:
    """What marks depend on besides the submission: tasks and points, the solution, limits, and the code."""
    parts = [record.dump(lesson), repr((FORMAT, options.limits, options.deadline)), _code()]
    if options.course:
        own = options.course
        secret = hashlib.blake2b(own.key).hexdigest()
        parts.append(repr((secret, sorted(own.hunts.items()), own.varied, own.partial)))
    with contextlib.suppress(OSError):
        parts.append((options.solutions / lesson.notebook).read_text("utf8"))
    with contextlib.suppress(ValueError, OSError):
        parts.append((registry.folder_of(lesson.lesson) / "tasks.py").read_text("utf8"))
    return hashlib.blake2b("\0".join(parts).encode()).digest()


@functools.cache
def _code() -> str:
    """A digest of the packages' own code."""
    digest = hashlib.blake2b()
    for package in marking.PACKAGES:
        for path in sorted(package.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _name(raw: bytes, fingerprint: bytes) -> str:
    return hashlib.blake2b(raw, key=fingerprint, digest_size=16).hexdigest() + ".json"


def _keep(path: Path, result: dict) -> None:
    """Write a result so that a kill leaves all of it or nothing."""
    write_file(path, json.dumps(result, ensure_ascii=False, indent=1) + "\n")


def _kept(path: Path) -> Graded | None:
    """A result kept before, or None where there is none or it is damaged."""
    try:
        return from_json(json.loads(path.read_text("utf8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
