"""Who handed in what: submissions as Canvas, Moodle, Gradescope, nbgrader or a person lays them out.

The layout is told by the names.  A name of an LMS's form counts only where most names of that level have the
form, and Gradescope's list of submitters only where Gradescope puts it: so no student can hand in for another
by choosing a name.  Nothing is dropped: what cannot be graded becomes a submission with a problem, or a note.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from book.grading import text
from book.grading.results import Student
from book.grading.unpacking import METADATA, CollectError, Found, find, is_archive
from book.lessons import record, registry
from book.lessons.running import BadNotebook, lesson_of, read_notebook

__all__ = ["CollectError", "Submission", "collect"]


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one lesson.

    path: the copy to be graded, or None when there is none; `problem` then says why in one sentence.  file:
    its original name.  late: as the LMS says it, or by the deadline.  notes: remarks for the student.
    """

    student: Student
    lesson: str
    path: Path | None
    file: str
    late: bool
    problem: str = ""
    notes: tuple[str, ...] = ()


def collect(
    source: Path,
    into: Path,
    lessons: Sequence[str],
    due: datetime | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    alone: bool = False,
    released: bool = False,
) -> list[Submission]:
    """The submissions in a notebook, a folder or a zip, in the order of the students' keys and the lessons.

    into: an empty folder for the copies.  lessons: those graded, such as ['02']; of these, each student gets
    an entry for every one that anybody has handed in.  due: the deadline; it is compared with the times that
    Gradescope and nbgrader record (other dates are those of a download), and a time without a zone is this
    machine's.  Canvas marks late files itself.  tell: is given a sentence on every file that belongs to no
    student, on a deadline that has no effect, and on notebooks of a release where there should be its record.
    alone: everything is one student's, named as the source is; of several notebooks of a lesson the one that
    has the lesson's own file name is graded, not its copies.  released: the record of the release is known.

    Raises CollectError, with one sentence, for a source that cannot be read, and for several students of whom
    none has a notebook of these lessons but some have notebooks of others.
    """
    found = find(source, into)
    files = [_file(item, lessons) for item in found]
    if alone:
        _assign_all(files, Path(source).resolve(), lessons)
    else:
        _assign(files, _Layout(found, files, Path(source).stem, lessons), tell)
    people: dict[tuple, _Person] = {}
    for file in files:
        for owner in file.owners:
            person = people.setdefault(owner.who, _Person(owner))
            person.files.append((file, owner))
    if not people:
        raise CollectError(f"There is no notebook in {Path(source).name}.")
    if len(people) > 1:
        _check_lessons(files, lessons, Path(source).name)
    _tell_once(files, lessons, due, released, tell)
    keys = _keys(people)
    there = {file.lesson for file in files if file.lesson in lessons}
    asked = [lesson for lesson in lessons if lesson in there] or list(lessons[:1])
    due = due.astimezone() if due else None
    made = [one for who, person in people.items() for one in _submissions(person, keys[who], asked, due)]
    return sorted(made, key=lambda one: (one.student.key, one.lesson))


def _check_lessons(files: list[_File], lessons: Sequence[str], source: str) -> None:
    """Raise CollectError where there are notebooks of the book, and none is of a lesson that is graded.

    A damaged notebook tells no lesson of itself, so it counts for none.
    """
    there = {file.lesson for file in files if file.owners and not file.problem} & set(registry.lessons())
    if there and not there & set(lessons):
        raise CollectError(
            f"There is no notebook of {_numbered(lessons, 'or')} in {source}; "
            f"these are of {_numbered(sorted(there), 'and')}."
        )


def _numbered(lessons: Sequence[str], word: str) -> str:
    """'lesson 02', 'lessons 00 and 02' or 'lessons 00, 01 and 02'."""
    said = f" {word} ".join(filter(None, (", ".join(lessons[:-1]), lessons[-1])))
    return f"lesson{'s' if len(lessons) > 1 else ''} {said}"


def _tell_once(
    files: list[_File],
    lessons: Sequence[str],
    due: datetime | None,
    released: bool,
    tell: Callable[[str], None],
) -> None:
    """Tell of a deadline that nothing can be compared with, and of a release whose record is not given."""
    if due and not any(owner.handed or owner.late for file in files for owner in file.owners):
        tell("--due had no effect: these submissions record no times.")
    parts = Counter((len(f.tasks), f.lesson) for f in files if f.tasks and f.lesson in lessons and f.owners)
    if parts and not released:
        count, lesson = max(parts, key=lambda part: (parts[part], part))
        whole = text.counted(len(record.load(lesson).cells), "task")
        tell(f"Some notebooks were released with {count} of {whole}: grade with --release.")


# --- which lesson ---------------------------------------------------------------------------------------


@dataclass
class _File:
    """A file found: its lesson ('' where nothing tells), why it cannot be graded, the tasks that it says were
    set ((): all), and whose it is.  own: whether it goes before others since it has the lesson's own name."""

    item: Found
    lesson: str = ""
    problem: str = ""
    tasks: tuple[str, ...] = ()
    owners: list[_Owner] = field(default_factory=list)
    own: bool = False


def _file(item: Found, lessons: Sequence[str]) -> _File:
    """A file with its lesson and its problem.

    One that cannot be read is of the lesson that its name tells, or of the only one that is graded.
    """
    if item.kind == "bad" and ".ipynb" not in item.name.lower():
        return _File(item, "", item.trouble)
    if item.kind not in ("notebook", "bad"):
        return _File(item)
    name = _original(item.name)
    problem = item.trouble
    if item.path:
        try:
            _check_parts(item.path)
            notebook = read_notebook(item.path)
        except BadNotebook as error:
            problem = text.line(f"{error}".replace(item.path.name, f"“{name}”"), 400)
        else:
            lesson = _lesson_told(notebook, name)
            return _File(item, lesson, tasks=_tasks_told(notebook, lesson) if lesson in lessons else ())
    try:
        told = registry.lesson_name(name)
    except ValueError:
        told = ""
    return _File(item, told if told in lessons else lessons[0] if len(lessons) == 1 else "", problem)


MOST_PARTS = 200_000
"""Lists and dicts in a notebook: an exercise has hundreds, and some millions would fill the memory."""


def _check_parts(path: Path) -> None:
    """Raise BadNotebook for a file that would need far more memory than its size when it is read."""
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raw = raw.decode("utf-16", "replace").encode()
    # The closing mark is optional: a search that can fail would begin again at each mark.
    bare = re.sub(rb'"(?:[^"\\]|\\.)*+"?', b"", raw, flags=re.DOTALL)
    if bare.count(b"{") + bare.count(b"[") > MOST_PARTS or bare.count(b",") > 10 * MOST_PARTS:
        raise BadNotebook(f"{path.name} holds far more cells and outputs than any exercise: it is not read.")


def _lesson_told(notebook, name: str) -> str:
    """The lesson of a notebook by what it holds, else by its name, else ''."""
    try:
        return lesson_of(notebook, Path(name))
    except BadNotebook:
        calls = (re.search(r"""^\s*check\(\s*["'](\d{1,2})\.\d""", c.source, re.M) for c in notebook.cells)
        return next((f"{int(call[1]):02d}" for call in calls if call), "")


def _tasks_told(notebook, lesson: str) -> tuple[str, ...]:
    """The tasks of a lesson that a notebook says were set; () where it does not say that some were not."""
    about = notebook.metadata.get("toolkit")
    said = about.get("tasks") if isinstance(about, dict) else None
    whole = [cell.task for cell in record.load(lesson).cells]
    tasks = tuple(task for task in whole if task in said) if isinstance(said, list) else ()
    return tasks if len(tasks) < len(whole) else ()


# --- whose it is ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Owner:
    """A person as a file's name or a list tells it.

    who: equal for the same person.  file: the file's name before the LMS changed it.  handed: when it was
    handed in, where that is recorded.  turn: grows with each time that a file is handed in.
    """

    who: tuple[str, ...]
    name: str
    ids: tuple[tuple[str, str], ...] = ()
    file: str = ""
    late: bool = False
    handed: datetime | None = None
    turn: tuple[int, ...] = ()
    note: str = ""


_MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?P<type>file|[a-z]+)_?(?P<file>.*)")
_CANVAS = re.compile(
    r"(?:(?P<name>.+?)(?P<late>_LATE)?_(?P<id>[1-9]\d*)|(?P<late2>LATE_)?anon_(?P<anon>[A-Za-z0-9]+))"
    r"_(?:(?P<upload>[1-9]\d*)_(?P<file>.+)|(?P<typed>text|link)\.html)"
)


def _original(name: str) -> str:
    """A file's name without what Canvas or Moodle put before it."""
    match = _MOODLE.fullmatch(name) or _CANVAS.fullmatch(name)
    return (match["file"] if match else name) or name


def _moodle(part: str) -> _Owner | None:
    match = _MOODLE.fullmatch(part)
    if not match:
        return None
    note = "" if match["type"] == "file" else "Text typed into Moodle is not read: only notebooks are."
    who = ("moodle", match["id"])
    return _Owner(who, match["name"], (("moodle_id", match["id"]),), match["file"], note=note)


def _canvas(part: str) -> _Owner | None:
    match = _CANVAS.fullmatch(part)
    if not match:
        return None
    number = match["id"] or f"anon_{match['anon']}"
    again = re.search(r"-(\d{1,3})(?=\.[^.]*$|$)", match["file"] or "")
    note = f"What was typed into Canvas is not read ({match['typed']}): only notebooks are."
    return _Owner(
        ("canvas", number),
        match["name"] or number,
        (("canvas_id", number),),
        match["file"] or part,
        late=bool(match["late"] or match["late2"]),
        turn=(int(again[1]) if again else 0, int(match["upload"] or 0)),
        note=note if match["typed"] else "",
    )


class _Layout:
    """How the submissions are laid out: tells the owners of each file found."""

    def __init__(self, found: list[Found], files: list[_File], source: str, lessons: Sequence[str]):
        self.source = source
        self.top = _common(found)
        self.metadata = dict(self._metadata(found))
        self.times = {i.parts[:-1]: _timestamp(i.path) for i in found if i.kind == "timestamp"}
        self.depth, self.form = self._form([item for item in found if item.kind != "metadata"])
        rest = [file for file in files if not self._by_form(file.item)]
        self.plain = _Plain(rest, self.top, source, lessons)

    def owners(self, item: Found) -> list[_Owner]:
        """The owners of a file; none for a file that belongs to no student."""
        for depth in range(len(item.parts)):
            listed, folder = self.metadata.get(item.parts[:depth]), item.parts[depth]
            if listed is not None:
                inside = depth + 1 < len(item.parts) or item.kind == "folder" or folder in listed
                return _submitters(listed.get(folder), folder) if inside else []
        if owner := self._by_form(item):
            return [owner]
        if item.kind in ("metadata", "timestamp"):
            return []
        owner = self.plain.owner(item)
        return [replace(owner, handed=self.times.get(item.parts[:-1]))] if owner else []

    def _by_form(self, item: Found) -> _Owner | None:
        owner = self.form(item.parts[self.depth]) if len(item.parts) > self.depth else None
        return owner and (owner if len(item.parts) == self.depth + 1 else replace(owner, file=""))

    @staticmethod
    def _form(found: list[Found]) -> tuple[int, Callable[[str], _Owner | None]]:
        """(level, form): the first level at which more than half of the names have the form of an LMS."""
        for depth in range(max((len(item.parts) for item in found), default=0)):
            names = {item.parts[: depth + 1] for item in found if len(item.parts) > depth}
            for form in (_moodle, _canvas):
                if 2 * sum(form(name[-1]) is not None for name in names) > len(names):
                    return depth, form
        return 0, lambda name: None

    def _metadata(self, found: list[Found]) -> Iterator[tuple[tuple[str, ...], dict]]:
        """{folder: Gradescope's list}, where the folder is an export as a whole."""
        for item in found:
            root = item.parts[:-1]
            whole = all(
                name == mine or re.fullmatch(r"assignment_\d+_export(\.zip)?", name)
                for name, mine in zip(root, (*self.top, *[""] * len(root)))
            )
            if item.kind == "metadata" and item.path and whole:
                yield root, _read_metadata(item)


def _assign(files: list[_File], layout: _Layout, tell: Callable[[str], None]) -> None:
    """Put the owners to the files, and tell of what belongs to nobody."""
    for file in files:
        item = file.item
        owners = layout.owners(item)
        file.owners = [replace(owner, name=text.line(owner.name, 120) or "?") for owner in owners]
        if not file.owners and item.kind in ("other", "bad"):
            tell(item.trouble or f"“{'/'.join(item.parts)}” was not read: it is no notebook and nobody's.")


def _assign_all(files: list[_File], source: Path, lessons: Sequence[str]) -> None:
    """Give all files to one student, whose name is the source's."""
    name = text.line(source.name if source.is_dir() else source.stem, 120) or "?"
    for file in files:
        file.owners = [_Owner(("plain", name), name)]
        file.own = file.lesson in lessons and file.item.name == record.load(file.lesson).notebook


# --- Gradescope, nbgrader -------------------------------------------------------------------------------


def _read_metadata(item: Found) -> dict:
    """Gradescope's list of submitters.  Raises CollectError for one that cannot be read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        raw = yaml.load(item.path.read_text("utf8"), loader)
        return {f"{name}": entry for name, entry in raw.items() if isinstance(entry, dict)}
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):
        raise CollectError(f"Gradescope's {METADATA} cannot be read: export the submissions again.") from None


def _submitters(entry: dict | None, folder: str) -> list[_Owner]:
    """The students of a submission; the folder's name where the list has none."""
    people = [one for one in (entry or {}).get(":submitters") or () if isinstance(one, dict)]
    handed = _moment((entry or {}).get(":created_at"))
    turn = (int(handed.timestamp() * 1000),) if handed else ()
    owners = []
    for person in people:
        told = {key: f"{person.get(f':{key}') or ''}" for key in ("name", "email", "sid")}
        who = next(((key, told[key]) for key in ("sid", "email", "name") if told[key]), ("name", folder))
        ids = tuple((key, told[key]) for key in ("email", "sid") if told[key])
        owners.append(_Owner(("gradescope", *who), told["name"] or who[1], ids, handed=handed, turn=turn))
    note = f"Gradescope's {METADATA} does not say who handed in {folder}."
    return owners or [_Owner(("gradescope", folder), folder, note=note)]


def _moment(value) -> datetime | None:
    """A time as YAML or nbgrader has it; without a zone it is UTC.  None for anything else."""
    if isinstance(value, str):
        day, clock, zone, *_ = (*value.split(), "", "", "")
        try:
            value = datetime.fromisoformat(f"{day} {clock}{zone if zone[:1] in '+-Z' else ''}".strip())
            if zone and value.tzinfo is None:
                value = value.replace(tzinfo=ZoneInfo(zone))
        except (ValueError, KeyError, OSError):  # what fromisoformat and ZoneInfo raise for other words
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _timestamp(path: Path | None) -> datetime | None:
    return _moment(path.read_text("utf8", "replace")[:100].strip()) if path else None


# --- a folder or a file for each student ----------------------------------------------------------------


_TELLS_NOTHING = re.compile(
    r"(submitted|submissions?|notebooks?|work|export|"
    r"((exercise|solution|chapter|lesson|week|sheet|hw|homework|assignment|ps|lab)s?[ _-]?)?\d{0,2})(\.zip)?",
    re.IGNORECASE,
)
_NBGRADER = {"submitted", "source", "release", "autograded", "feedback"}


def _common(found: list[Found]) -> tuple[str, ...]:
    """The folders that hold all submissions, from the source down; not beyond nbgrader's 'submitted'."""
    real = [item.parts for item in found if item.kind not in ("other", "timestamp")]
    top: tuple[str, ...] = ()
    while real and top[-1:] != ("submitted",):
        names = {parts[len(top)] if len(parts) > len(top) + 1 else None for parts in real}
        if len(names) > 1 and "submitted" in names and names <= _NBGRADER | {None}:
            names = {"submitted"}  # a course of nbgrader: its other folders are not the students'
        if len(names) != 1 or None in names:
            break
        top += (names.pop(),)
    return top


class _Plain:
    """The owners of files that no LMS has named."""

    def __init__(self, files: list[_File], top: tuple[str, ...], source: str, lessons: Sequence[str]):
        self.top, self.source = top, source
        books = [file for file in files if file.item.kind in ("notebook", "bad")]
        self.single = len(books) == 1
        self.stems = [record.load(lesson).notebook.removesuffix(".ipynb") for lesson in lessons]
        self.start = len(top)
        while self._holds_groups(books):
            self.start += 1
        at_root = Counter(file.lesson for file in books if len(file.item.parts) == self.start + 1)
        self.by_file = any(count > 1 for lesson, count in at_root.items() if lesson)

    def _holds_groups(self, books: list[_File]) -> bool:
        """Whether the folders of this level are groups of students: none holds a notebook itself, and half
        of them or more hold several of one lesson, in folders of different names."""
        groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for file in books:
            parts = file.item.parts
            if parts[: len(self.top)] == self.top:
                if len(parts) < self.start + 3:
                    return False
                groups[parts[self.start]][file.lesson].add(parts[self.start + 1] if file.lesson else "")
        several = [max(lessons.values(), key=len) for lessons in groups.values()]
        names = [name for inner in several if len(inner) > 1 for name in inner]
        return (
            2 * sum(len(inner) > 1 for inner in several) >= len(groups) > 0
            and len(set(names)) > 0.75 * len(names)
            and not all(map(self.tells_nothing, names))
        )

    def tells_nothing(self, name: str) -> bool:
        """Whether a name is that of a lesson or of any collection, and of no person."""
        return bool(_TELLS_NOTHING.fullmatch(name)) or any(name.startswith(stem) for stem in self.stems)

    def owner(self, item: Found) -> _Owner | None:
        """The student of a file, or None for a file beside the students' folders that is no notebook."""
        if item.parts[: len(self.top)] != self.top:
            return None
        inner = item.parts[self.start :]
        folders = inner if item.kind == "folder" or item.name.lower().endswith(".zip") else inner[:-1]
        for name in folders:
            if not self.tells_nothing(name):
                name = re.sub(r"\.zip$", "", name, flags=re.IGNORECASE)
                ids = (("nbgrader_id", name),) if self.top[-1:] == ("submitted",) else ()
                group = [
                    part for part in item.parts[len(self.top) : self.start] if not self.tells_nothing(part)
                ]
                return _Owner(("plain", *group, name), name, ids)
        if item.kind == "notebook" or ".ipynb" in item.name.lower():
            return self._by_file(item, [*self.top, *folders])
        return None

    def _by_file(self, item: Found, folders: list[str]) -> _Owner:
        """The student by the file's own name, or by the nearest folder where that name is the lesson's."""
        stem = re.sub(r"\.ipynb.*$", "", item.name, flags=re.IGNORECASE)
        for book in map(re.escape, self.stems):
            stem = re.sub(rf"(?<=.)[ _-]+{book}$|^{book}[ _-]+(?=[^\W\d])", "", stem)
        if (self.single and folders) or (self.tells_nothing(stem) and not self.by_file):
            stem = re.sub(r"\.zip$", "", folders[-1], flags=re.IGNORECASE) if folders else self.source
        return _Owner(("plain", stem), stem)


# --- what is graded -------------------------------------------------------------------------------------


@dataclass
class _Person:
    """A student, with the files that are theirs."""

    owner: _Owner
    files: list[tuple[_File, _Owner]] = field(default_factory=list)


def _submissions(person: _Person, key: str, asked: list[str], due: datetime | None) -> Iterator[Submission]:
    """One submission for each lesson asked for; the first has the notes on what belongs to none."""
    student = Student(key, person.owner.name, dict(person.owner.ids))
    loose = [(f, o) for f, o in person.files if f.lesson not in asked]
    notes = list(dict.fromkeys([*(o.note for _, o in person.files if o.note), *_loose_notes(loose)]))
    problems = [f.problem for f, _ in loose if f.problem]
    for lesson in asked:
        files = sorted((one for one in person.files if one[0].lesson == lesson), key=_order)
        good = [one for one in files if one[0].item.path and not one[0].problem]
        file, owner = (good or files or [(None, None)])[-1]
        if file is None:
            said = problems[0] if problems else f"No notebook for lesson {lesson} was handed in."
            others = [note for note in notes if note != said]
            yield Submission(student, lesson, None, "", False, said, tuple(others))
        else:
            late = owner.late or bool(due and owner.handed and owner.handed > due)
            path = file.item.path if not file.problem else None
            told = (*_choice_notes(file, files, lesson), *notes)
            yield Submission(student, lesson, path, _shown(file, owner), late, file.problem, told)
        notes = []


def _order(one: tuple[_File, _Owner]) -> tuple:
    """By the lesson's own name where that counts, the LMS's count or time, the file's date, and its name.

    The last is the one that is graded; `_REASONS` says by which of these.
    """
    file, owner = one
    again = re.search(r" ?\((\d{1,3})\)(?=\.ipynb)", file.item.name)  # as a browser names a second download
    number = int(again[1]) if again else 0
    return file.own, owner.turn, file.item.date, (number, file.item.parts, f"{file.item.path}")


_REASONS = ("which has the lesson's own name", "the last that was handed in", "the newest by its date",
            "the last by its name")  # fmt: skip


def _shown(file: _File, owner: _Owner) -> str:
    return text.line(owner.file or file.item.name)


def _choice_notes(file: _File, files: list[tuple[_File, _Owner]], lesson: str) -> Iterator[str]:
    """Why this file and not the others of the same lesson."""
    others = [(f, o) for f, o in files if f is not file]
    unread = [f for f, _ in others if f.problem]
    whole = [_shown(f, o) for f, o in others if not f.problem]
    yield from dict.fromkeys(f.problem for f in unread)
    if whole:
        mine = next(one for one in files if one[0] is file)
        next_best = [one for one in files if one[0] is not file and not one[0].problem][-1]
        why = next(why for why, a, b in zip(_REASONS, _order(mine), _order(next_best)) if a != b)
        name = _shown(*mine)
        yield f"Of several notebooks for lesson {lesson} “{name}” was graded, {why}, not {_list(whole)}."


def _loose_notes(loose: list[tuple[_File, _Owner]]) -> Iterator[str]:
    """What is said of the files that belong to no lesson asked for."""
    said, unread = [], []
    for file, mine in loose:
        name = _shown(file, mine)
        if file.problem or file.item.trouble:
            said.append(file.problem or file.item.trouble)
        elif file.item.kind == "notebook" and file.lesson:
            said.append(f"“{name}” belongs to lesson {file.lesson}, which is not graded here.")
        elif file.item.kind == "notebook":
            said.append(f"“{name}” is not one of this book's exercises.")
        elif file.item.kind == "other" and is_archive(name):
            said.append(f"“{name}” is an archive that is not opened: hand in the notebook itself.")
        elif file.item.kind == "other" and not mine.note:
            unread.append(name)
    if unread:
        said.append(f"Not read, since only notebooks are: {_list(unread)}.")
    yield from said


def _list(names: list[str]) -> str:
    """'“a”, “b”' of at most five names, the others counted."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"“{text.line(name, 80)}”" for name in names[:5]) + more


# --- keys -----------------------------------------------------------------------------------------------

_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe",
                          "ı": "i"})  # fmt: skip
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")  # no file may have these names on Windows


def _keys(people: dict[tuple, _Person]) -> dict[tuple, str]:
    """A file name for each student: the name in plain letters, with the LMS's number; a hash where names
    cannot be told apart so.

    The key of a student changes only when another one comes whose name folds to the same letters.
    """
    folded = {who: _fold(person.owner) for who, person in people.items()}
    count = Counter(key for key, _ in folded.values())
    mark = {who: hashlib.sha256(repr(who).encode("utf8", "replace")).hexdigest()[:8] for who in people}
    return {
        who: key if whole and count[key] == 1 else f"{key}-{mark[who]}".strip("-")
        for who, (key, whole) in folded.items()
    }


def _fold(owner: _Owner) -> tuple[str, bool]:
    """(key, whether the key alone is enough): small letters, digits and hyphens."""
    number = owner.who[-1] if owner.ids and owner.who[0] != "plain" else ""
    name = unicodedata.normalize("NFKD", f"{owner.name.lower()} {number.lower()}").translate(_LETTERS)
    name = "".join(letter for letter in name if not unicodedata.combining(letter))
    lost = any(letter.isalnum() and not letter.isascii() for letter in name)
    key = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return key[:48].strip("-") or "student", bool(key) and not lost and len(key) <= 48 and not (
        _RESERVED.fullmatch(key)
    )
