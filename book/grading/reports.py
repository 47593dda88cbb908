"""Marks for people and programs: a table, Canvas, Moodle, Gradescope, JUnit XML.

Everything is a function of the findings alone, without a time or a date: the same marks give the same bytes.
What only the instructor should see (flags) is in grades.csv, and on the instructor's page summary.html that
`feedback` makes, and in nothing else.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from book.grading import text
from book.grading.results import DONE, NOT_TRIED, Graded, Student, TaskResult
from toolkit.files import write_file

PRINTED = 2000
"""Characters of what an answer printed that a report repeats."""


class ReportError(Exception):
    """A gradebook or worksheet that cannot be filled in; the text is one sentence."""


def write(
    graded: Iterable[Graded],
    folder: Path,
    canvas: Path | bool = False,
    moodle: Path | bool = False,
    assignment: str = "",
    classroom: bool = False,
) -> list[str]:
    """Write grades.csv, junit.xml, gradescope/KEY.json and, where asked for, canvas.csv, moodle.csv and
    classroom.json (GitHub Classroom, which grades one student at a time).

    canvas, moodle: the file that the LMS exported, to be filled in; or True for one made afresh.
    assignment: the name of the assignment in Canvas, if all lessons go into one column.  Returns remarks for
    the instructor, such as students that the gradebook does not have.  Files of these names that an earlier
    run has left are removed: their marks would stand beside others.

    Raises ReportError, with one sentence, for a file that cannot be filled in; nothing is written then.
    """
    graded, folder = _ordered(graded), Path(folder)
    files = {"grades.csv": grades(graded), "junit.xml": junit(graded)}
    remarks: list[str] = []
    if canvas:
        filled = fill_canvas(graded, "" if canvas is True else read_csv(canvas), assignment)
        files["canvas.csv"], remarks = filled.text, [*remarks, *filled.remarks]
    if moodle:
        filled = fill_moodle(graded, "" if moodle is True else read_csv(moodle))
        files["moodle.csv"], remarks = filled.text, [*remarks, *filled.remarks]
    if classroom:
        files["classroom.json"] = _json(github_classroom(graded))
    for student, theirs in by_student(graded):
        files[f"gradescope/{student.key}.json"] = _json(gradescope(theirs))
    for name, content in files.items():
        write_file(folder / name, content)
    kept = {*files, "moodle-feedback.zip"} if moodle else set(files)
    few = _few(graded) if canvas or moodle else []
    return [*remarks, *few, *_remove_old(folder, kept)]


def _remove_old(folder: Path, kept: set[str]) -> list[str]:
    """Remove what an earlier run wrote and this one does not; returns a remark on what may be missed."""
    for old in (folder / "gradescope").glob("*.json"):
        if f"gradescope/{old.name}" not in kept:
            old.unlink()
    optional = ("canvas.csv", "moodle.csv", "moodle-feedback.zip", "classroom.json")
    old = [name for name in optional if name not in kept and (folder / name).is_file()]
    for name in old:
        (folder / name).unlink()
    return [f"Removed, since this run does not make them: {', '.join(old)} of an earlier one."] if old else []


def _for_all(graded: Iterable[Graded]) -> dict[str, float]:
    """{lesson: its points} of those that count for all, which are those that all have."""
    graded = list(graded)
    students = {one.student.key for one in graded}
    whose = {
        lesson: {one.student.key for one in graded if one.lesson == lesson} for lesson in _totals(graded)
    }
    return {lesson: most for lesson, most in _totals(graded).items() if whose[lesson] == students}


def _counting(students) -> tuple[dict[str, float], dict[str, float]]:
    """({lesson: points} of all lessons, the same of those that count for all) of what `by_student` gives."""
    every = [one for _, theirs in students for one in theirs]
    return _totals(every), _for_all(every)


def _few(graded: Sequence[Graded]) -> list[str]:
    """A remark on lessons that do not count for all."""
    for_all = _for_all(graded)
    left = sorted({one.lesson for one in graded} - set(for_all))
    if not left:
        return []
    if not for_all:
        return ["No lesson counts for all: in the LMS's marks each student has those of their own lessons."]
    these = f"lesson{'s' if len(left) > 1 else ''} {', '.join(left)}"
    return [f"Not in the LMS's marks, since not for all: {these}; see grades.csv."]


def _mark(theirs: Iterable[Graded], totals: Mapping[str, float], for_all: Mapping) -> tuple[float, float]:
    """(score, points) of one student in the lessons that count for all, or else in their own."""
    mine = [one for one in theirs if not for_all or one.lesson in for_all]
    return sum(one.score for one in mine), sum(totals[one.lesson] for one in mine)


def _ordered(graded: Iterable[Graded]) -> list[Graded]:
    return sorted(graded, key=lambda one: (one.student.key, one.lesson))


def by_student(graded: Iterable[Graded]) -> list[tuple[Student, list[Graded]]]:
    """[(student, their submissions by lesson)], by key; what the LMS knows them by is put together."""
    table: dict[str, list[Graded]] = defaultdict(list)
    for one in _ordered(graded):
        table[one.student.key].append(one)
    return [
        (
            Student(
                key, theirs[0].student.name, {k: v for one in theirs for k, v in one.student.ids.items()}
            ),
            theirs,
        )
        for key, theirs in table.items()
    ]


# --- tables ---------------------------------------------------------------------------------------------


def cell(value) -> str:
    """A cell of a table: one clean line, which no spreadsheet takes for a formula."""
    shown = text.line(f"{value}", 2000)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else shown


def _table(rows: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def grades(graded: Iterable[Graded]) -> str:
    """The table of all marks: a row for each student, columns for lessons and tasks, and what to look at.

    It begins with a byte order mark: without one, spreadsheet programs take the names for another encoding.
    Task 2.1 has the column 'task 2.1', since they would take 2.1 and 2.10 for one number.
    """
    students = by_student(graded)
    ids = sorted({name for student, _ in students for name in student.ids})
    tasks: dict[str, dict[str, str]] = {}
    for one in (one for _, theirs in students for one in theirs):
        tasks.setdefault(one.lesson, {}).update({task.task: task.title for task in one.tasks})
    header = ["key", "name", *ids, "score", "points"]
    for lesson in sorted(tasks):
        header += [f"{lesson} {word}" for word in _WORDS]
        header += [f"task {task}" for task in tasks[lesson]]
    rows = [[*header, "to look at"]]
    for student, theirs in students:
        row = [student.key, student.name, *(student.ids.get(name, "") for name in ids)]
        row += [text.points(sum(one.score for one in theirs)), text.points(sum(one.points for one in theirs))]
        found = {one.lesson: one for one in theirs}
        for lesson in sorted(tasks):
            row += _lesson_cells(found.get(lesson), tasks[lesson])
        rows.append([*row, "; ".join(flags(theirs))])
    return "\ufeff" + _table([[cell(value) for value in row] for row in rows])


_WORDS = ("file", "score", "points", "late", "problem", "not tried")
"""The columns of a lesson, before those of its tasks."""


def _lesson_cells(one: Graded | None, tasks: Iterable[str]) -> list[str]:
    if one is None:
        return [""] * (len(_WORDS) + len(list(tasks)))
    scores = {task.task: text.points(task.score) for task in one.tasks}
    untried = [f"task {task.task}" for task in one.tasks if task.state == NOT_TRIED and not one.problem]
    late = "late" if one.late else ""
    return [one.file, text.points(one.score), text.points(one.points), late, one.problem, ", ".join(untried),
            *(scores.get(task, "") for task in tasks)]  # fmt: skip


def flags(graded: Iterable[Graded]) -> list[str]:
    """What an instructor should look at: 'lesson 02: …', '2.3: …'."""
    said = []
    for one in graded:
        said += [f"lesson {one.lesson}: {flag}" for flag in one.flags]
        said += [f"{task.task}: {flag}" for task in one.tasks for flag in task.flags]
    return said


# --- filling in what an LMS has exported ----------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """A filled-in file, and remarks on what did not fit."""

    text: str
    remarks: list[str]


def read_csv(path: Path) -> str:
    """The text of an exported file.  Raises ReportError for one that is not text."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path} cannot be read ({error.strerror}).") from None
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf8")
    except UnicodeDecodeError:
        raise ReportError(
            f"{path.name} is not a CSV file in UTF-8: take the file as the LMS exported it."
        ) from None


@dataclass
class _Sheet:
    """An exported table: its rows, the header first, and how it was written."""

    rows: list[list[str]]
    delimiter: str
    mark: str

    @classmethod
    def parse(cls, content: str, column: str) -> _Sheet:
        """The table, whose header has this column.  Raises ReportError for another one."""
        mark = "\ufeff" if content.startswith("\ufeff") else ""
        for delimiter in ",;\t":
            lines = io.StringIO(content.removeprefix("\ufeff"), newline="")
            try:
                rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
            except csv.Error:
                continue
            if rows and column in rows[0]:
                width = len(rows[0])
                return cls([row + [""] * (width - len(row)) for row in rows], delimiter, mark)
        raise ReportError(f"The exported file has no column “{column}”: export it again, in English.")

    def column(self, *names: str) -> int | None:
        """The place of the first of these columns that is there."""
        return next((self.rows[0].index(name) for name in names if name in self.rows[0]), None)

    def value(self, *names: str) -> Callable[[int], str]:
        """What a row says in the first of these columns that is there; '' where none is."""
        place = self.column(*names)
        return lambda row: self.rows[row][place].strip() if place is not None else ""

    def dump(self) -> str:
        return self.mark + _table(self.rows, self.delimiter)


def _match(
    students: Iterable[Student], rows: Iterable[int], told: list[tuple[str, Callable[[int], str]]], name
) -> tuple[dict[str, int], list[str]]:
    """({student's key: row}, remarks): by what the LMS knows them by, else by a name that only one has.

    told: (an id of ours, what a row says for it), in the order in which they are tried.  name: what a row
    says for the name.
    """
    rows, found, remarks = list(rows), {}, []
    tables = [(ours, {theirs(row): row for row in rows if theirs(row)}) for ours, theirs in told]
    names = [(form, Counter(form(name(row)) for row in rows)) for form in (text.words, text.squeezed)]
    for student in students:
        places = [table.get(student.ids.get(ours, "")) for ours, table in tables]
        for form, count in names:
            shape = form(student.name)
            places += [row for row in rows if shape and form(name(row)) == shape and count[shape] == 1]
        place = next((place for place in places if place is not None), None)
        if place is None:
            remarks.append(f"{cell(student.name or student.key)} is not in the exported file.")
        elif place in found.values():
            remarks.append(f"{cell(student.name)} is one of two that fit the same row of the exported file.")
        else:
            found[student.key] = place
    return found, remarks


def _with_ids(students, names: Sequence[str], said: str) -> tuple[list, list[str]]:
    """(students whom the LMS can find, remarks on the others), for a table that is made afresh.

    names: the ids by any of which the LMS finds somebody.  said: how such an id is called, and the table.
    """
    known, lost = [], []
    for student, theirs in students:
        if any(student.ids.get(name) for name in names):
            known.append((student, theirs))
        else:
            lost.append(cell(student.name or student.key))
    if not lost:
        return known, []
    return known, [f"Left out, since they have {said}: {text.some(lost)}."]


def _is_changed(before: str, after: str) -> bool:
    """Whether a mark that was there ('' and '-' are none) is another one now."""
    if before.strip() in ("", "-"):
        return False
    try:
        return abs(float(before.strip().replace(",", ".")) - float(after)) > 1e-9
    except ValueError:
        return True


def _changed(names: Sequence[str], where: str, what: str = "mark") -> list[str]:
    """The remark on marks that were there and are others now, and whose they are, if there are any."""
    if not names:
        return []
    verb = "was" if len(names) == 1 else "were"
    said = f"{text.counted(len(names), what)} that {verb} already in {where} {verb} changed"
    return [f"{said}: {text.some(names)}."]


def _scaled(score: float, points: float, most: str) -> tuple[str, str]:
    """(mark, remark): the score out of the LMS's own maximum, where that is a number and another one."""
    plain = most.strip().replace(",", ".")
    try:
        maximum = float(plain)
    except ValueError:
        maximum = 0.0
    if not maximum > 0 or not points or abs(maximum - points) < 1e-9:
        return text.points(score), ""
    remark = f"The LMS gives {text.points(maximum)} points where {text.points(points)} were set: scaled."
    return text.points(score * maximum / points), remark


_CANVAS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
_CANVAS_IDS = ("canvas_id", "sid", "email")


def fill_canvas(graded: Iterable[Graded], gradebook: str = "", assignment: str = "") -> Filled:
    """The gradebook that Canvas exported with a column of marks for each lesson, or for the assignment.

    Only those columns change, and in them only the rows of students that were graded and are not excused.
    gradebook: '' for a table made afresh, of the students that Canvas can find by an id.  The remarks tell
    who was not found and how many marks that were there are changed.  Raises ReportError for one that is not
    Canvas's.
    """
    everybody = by_student(graded)
    students, left_out = everybody, []
    if not gradebook:
        students, left_out = _with_ids(everybody, _CANVAS_IDS, "no id of Canvas for canvas.csv")
    sheet = _Sheet.parse(gradebook or _new_canvas(students), "Student")
    if sheet.column("ID") is None:
        raise ReportError("The gradebook has no column “ID”: export it from Canvas again.")
    possible = next((i for i, row in enumerate(sheet.rows) if "Points Possible" in row[0]), None)
    if gradebook:
        found, remarks = _match_canvas(sheet, [student for student, _ in students], possible)
    else:
        found, remarks = {student.key: at for at, (student, _) in enumerate(students, 2)}, left_out
    for title, marks, points in _canvas_columns(everybody, assignment):
        remarks += _fill_column(sheet, title, {found[key]: marks[key] for key in marks if key in found},
                                points, possible)  # fmt: skip
    return Filled(sheet.dump(), list(dict.fromkeys(remarks)))


def _match_canvas(sheet: _Sheet, students: list[Student], possible: int | None):
    """({student's key: row}, remarks), as `_match` has them."""
    body, value = [i for i in range(1, len(sheet.rows)) if i != possible], sheet.value
    told = [("canvas_id", value("ID")), ("sid", value("SIS User ID")), ("sid", value("SIS Login ID")),
            ("email", value("SIS Login ID"))]  # fmt: skip
    return _match(students, body, told, value("Student"))


def _fill_column(
    sheet: _Sheet, title: str, marks: Mapping[int, float], points: float, possible: int | None
) -> list[str]:
    """Write the marks {row: score} of an assignment, which has these points; returns remarks."""
    place, remarks, changed = _canvas_place(sheet, title, points, possible), [], []
    most = sheet.rows[possible][place] if possible is not None else ""
    for at, score in marks.items():
        row = sheet.rows[at]
        if row[place].strip().upper() == "EX":
            remarks.append(f"{row[0]} is excused in “{title}”: left as it is.")
            continue
        mark, remark = _scaled(score, points, most)
        changed += [row[0]] if _is_changed(row[place], mark) else []
        row[place] = mark
        remarks += [remark] if remark else []
    return [*remarks, *_changed(changed, f"“{title}”")]


def _new_canvas(students) -> str:
    """A gradebook without marks."""
    rows = [
        [cell(one.name or one.key), *(cell(one.ids.get(name, "")) for name in _CANVAS_IDS), ""]
        for one, _ in students
    ]
    return _table([_CANVAS, ["    Points Possible", "", "", "", ""], *rows])


def _totals(graded: Iterable[Graded]) -> dict[str, float]:
    """The points of each lesson."""
    found: dict[str, float] = {}
    for one in graded:
        found[one.lesson] = max(one.points, found.get(one.lesson, 0.0))
    return found


def _canvas_columns(students, assignment: str) -> list[tuple[str, dict[str, float], float]]:
    """[(title, {key: score}, points)]: one for the assignment named, else one for each lesson that counts for
    all."""
    totals, for_all = _counting(students)
    columns: dict[str, list[str]] = defaultdict(list)
    for lesson in for_all or totals:
        columns[assignment or f"Exercises {int(lesson)}"].append(lesson)
    found = []
    for title, lessons in columns.items():
        marks, points = {}, sum(totals[lesson] for lesson in lessons)
        for student, theirs in students:
            mine = [one for one in theirs if one.lesson in lessons]
            score, of = _mark(mine, totals, for_all)
            if mine:
                marks[student.key] = score if of in (points, 0) else score * points / of
        found.append((title, marks, points))
    return found


def _canvas_place(sheet: _Sheet, title: str, points: float, possible: int | None) -> int:
    """The column of an assignment, with or without Canvas's number behind its name; added if it is new."""
    for place, name in enumerate(sheet.rows[0]):
        if name == title or re.fullmatch(re.escape(title) + r" \(\d+\)", name):
            return place
    for index, row in enumerate(sheet.rows):
        row.append(cell(title) if index == 0 else text.points(points) if index == possible else "")
    return len(sheet.rows[0]) - 1


_MOODLE = ["Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade",
           "Grade can be changed", "Last modified (grade)", "Feedback comments"]  # fmt: skip


def fill_moodle(graded: Iterable[Graded], worksheet: str = "") -> Filled:
    """The grading worksheet that Moodle exported, with grades and feedback; other rows stay as they are.

    The grade is the sum over the lessons that count for all, out of the worksheet's maximum.  worksheet: ''
    for a table made afresh, of the students whose number in Moodle is known.  The remarks tell who was not
    found and whose grades and comments are changed.  Raises ReportError for one that is not Moodle's.
    """
    students, left_out = by_student(graded), []
    totals, for_all = _counting(students)
    points = sum((for_all or totals).values())
    if not worksheet:
        students, left_out = _with_ids(students, ("moodle_id",), "no id of Moodle for moodle.csv")
    sheet = _Sheet.parse(worksheet or _new_moodle(students, points), "Identifier")
    grade = sheet.column("Grade")
    if grade is None:
        raise ReportError("The worksheet has no column “Grade”: export it from Moodle again.")
    if worksheet:
        found, remarks = _match_moodle(sheet, [student for student, _ in students])
    else:
        found, remarks = {student.key: at for at, (student, _) in enumerate(students, 1)}, left_out
    comments, locked = sheet.column("Feedback comments"), sheet.value("Grade can be changed")
    changed, replaced = [], []
    most = sheet.value("Maximum Grade", "Maximum grade")
    for student, theirs in (pair for pair in students if pair[0].key in found):
        place = found[student.key]
        if locked(place) == "No":
            remarks.append(f"The grade of {cell(student.name)} cannot be changed in Moodle: left as it is.")
            continue
        mark, remark = _scaled(*_mark(theirs, totals, for_all), most(place))
        name = cell(student.name)
        changed += [name] if _is_changed(sheet.rows[place][grade], mark) else []
        sheet.rows[place][grade] = mark
        remarks += [remark] if remark and remark not in remarks else []
        if comments is not None:
            replaced += [name] if _is_by_hand(sheet.rows[place][comments]) else []
            sheet.rows[place][comments] = _comment(theirs)
    if comments is None:
        remarks.append("The worksheet has no column “Feedback comments”: switch them on to send feedback.")
    said = [*_changed(replaced, "the worksheet", "comment"), *_changed(changed, "the worksheet")]
    return Filled(sheet.dump(), [*remarks, *said])


def _is_by_hand(comment: str) -> bool:
    """Whether somebody wrote a comment, and not `_comment`."""
    return bool(comment.strip()) and not re.match(r"<b>\d\d\w*\.ipynb: [\d.]+ of ", comment.strip())


def _match_moodle(sheet: _Sheet, students: list[Student]) -> tuple[dict[str, int], list[str]]:
    """({student's key: row}, remarks), as `_match` has them."""
    number = sheet.value("Identifier")
    told = [("moodle_id", lambda row: (re.search(r"\d+$", number(row)) or [""])[0]),
            ("email", sheet.value("Email address")), ("sid", sheet.value("ID number"))]  # fmt: skip
    return _match(students, range(1, len(sheet.rows)), told, sheet.value("Full name"))


def _new_moodle(students, points: float) -> str:
    """A worksheet without grades, with the columns that Moodle asks for."""
    rows = [
        [cell(f"Participant {student.ids['moodle_id']}"), cell(student.name),
         cell(student.ids.get("email", "")), "", "", text.points(points), "Yes", "-", ""]
        for student, _ in students
    ]  # fmt: skip
    return _table([_MOODLE, *rows])


def _comment(graded: Iterable[Graded]) -> str:
    """Feedback in a few lines of HTML, which is what Moodle takes a comment for."""
    lines = []
    for one in graded:
        lines.append(f"<b>{one.notebook}: {text.points(one.score)} of {text.points(one.points)}</b>")
        lines += [html.escape(text.line(said, 500)) for said in (one.problem, *one.notes) if said]
        for task in one.tasks:
            score = f"{text.points(task.score)} of {text.points(task.points)}, {task.state}."
            lines.append(html.escape(text.line(f"{task.task} {task.title}: {score} {task.sentence}", 600)))
    return "<br>".join(lines)


def moodle_feedback(graded: Iterable[Graded], pages: Mapping[str, str]) -> bytes:
    """A zip of feedback pages for Moodle's “Upload multiple feedback files in a zip”.

    pages: {student's key: the page}.  Students without a page or a number in Moodle are left out.  The same
    pages give the same bytes.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for student, _ in by_student(graded):
            number = re.sub(r"\D", "", student.ids.get("moodle_id", ""))
            if not number or student.key not in pages:
                continue
            # Moodle takes the number from behind the first underline.
            name = text.line(re.sub(r'[\\/:*?"<>|_]', " ", student.name), 120).strip(". ") or "Participant"
            about = zipfile.ZipInfo(f"{name}_{number}_assignsubmission_file_/feedback.html")
            about.create_system, about.external_attr = 3, 0o644 << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, pages[student.key].encode("utf8"))
    return out.getvalue()


# --- GitHub Classroom -----------------------------------------------------------------------------------


def github_classroom(graded: Sequence[Graded]) -> dict:
    """One student's findings as GitHub Classroom's autograding reporter takes them.

    Raises ReportError for a class, since a push is one student's.
    """
    if len(by_student(graded)) != 1:
        raise ReportError("GitHub Classroom takes the marks of one student; grade one repository at a time.")
    tests = [
        {
            "name": text.line(f"{task.task} {task.title}"),
            "status": "pass" if task.state == DONE else "fail",
            "score": round(task.score, 6),
            "message": _told(one, task),
        }
        for one in graded
        for task in one.tasks
    ]
    whole = all(test["status"] == "pass" for test in tests)
    most = round(sum(one.points for one in graded), 6)
    return {"version": 1, "status": "pass" if whole else "fail", "max_score": most, "tests": tests}


# --- Gradescope -----------------------------------------------------------------------------------------


def gradescope(graded: Sequence[Graded]) -> dict:
    """One student's findings as the dict of Gradescope's results.json."""
    tests = [_gradescope_test(one, task) for one in graded for task in one.tasks]
    said = [f"Lesson {one.lesson}: {note}" for one in graded for note in (one.problem, *one.notes) if note]
    return {
        "score": round(sum(one.score for one in graded), 6),
        "output": text.plain("\n".join(said), 4 * PRINTED),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _gradescope_test(one: Graded, task: TaskResult) -> dict:
    return {
        "name": text.line(f"{task.task} {task.title}"),
        "number": task.task,
        "score": round(task.score, 6),
        "max_score": task.points,
        "status": "passed" if task.state == DONE else "failed",
        "output": _told(one, task),
        "output_format": "text",
        "visibility": "visible",
    }


def _told(one: Graded, task: TaskResult) -> str:
    """What is said of a task in plain text: verdict, diagnosis, rows, notes, what it printed."""
    said = [f"{task.state[:1].upper()}{task.state[1:]}. {one.problem or task.sentence}".strip()]
    for row in task.rows:
        where = f"{row.label} (not yet right)" if row.wrong else row.label
        said.append(f"{where}: yours {row.yours}; a right answer gives {row.kind}")
    said += task.notes
    if task.printed:
        said += ["Your answer printed:", text.plain(task.printed, PRINTED)]
    return text.plain("\n".join(said), 8 * PRINTED)


def _json(value) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


# --- JUnit XML ------------------------------------------------------------------------------------------


def junit(graded: Iterable[Graded]) -> str:
    """All findings as JUnit XML: a testsuite for each submission, a testcase for each task.

    What is not done is a failure, whose message is the sentence; a property holds the id of the check cell,
    as in the reports of pytest.
    """
    root = ElementTree.Element("testsuites", name="toolkit grade")
    for one in _ordered(graded):
        failed = sum(task.state != DONE for task in one.tasks)
        suite = ElementTree.SubElement(
            root, "testsuite", name=text.line(f"{one.student.key} {one.notebook}"), tests=f"{len(one.tasks)}",
            failures=f"{failed}", errors="0", skipped="0",
        )  # fmt: skip
        _properties(suite, student=one.student.name, file=one.file, score=text.points(one.score),
                    points=text.points(one.points), problem=one.problem)  # fmt: skip
        for task in one.tasks:
            case = ElementTree.SubElement(
                suite, "testcase", classname=text.line(f"{one.student.key}.{Path(one.notebook).stem}"),
                name=text.line(f"{task.task} {task.title}"),
            )  # fmt: skip
            _properties(case, cell_id=f"check-{task.task.replace('.', '-')}", score=text.points(task.score),
                        points=text.points(task.points))  # fmt: skip
            if task.state != DONE:
                said = one.problem or task.sentence or f"{task.state[:1].upper()}{task.state[1:]}."
                failure = ElementTree.SubElement(
                    case, "failure", type=task.state, message=text.line(said, 500)
                )
                failure.text = _told(one, task)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _properties(above: ElementTree.Element, **values: str) -> None:
    there = ElementTree.SubElement(above, "properties")
    for name, value in values.items():
        if value:
            ElementTree.SubElement(there, "property", name=name, value=text.line(value, 500))
