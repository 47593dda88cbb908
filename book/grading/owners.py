"""Whose a file is, by the names that Canvas, Moodle, Gradescope, nbgrader or a person gave.

A name of an LMS's form counts only where most names of that level have the form, and Gradescope's list of
submitters only for an export of Gradescope as a whole: so no student can hand in for another by choosing a
name.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from book.grading import text
from book.grading.unpacking import METADATA, CollectError, Found
from book.lessons import record


@dataclass(frozen=True)
class Owner:
    """A person as a file's name or a list tells it.

    who: equal for the same person.  file: the file's name before the LMS changed it.  handed: when it was
    handed in, where that is recorded.  turn: grows with each time that a file is handed in.  unread: a time
    that is recorded and not understood.
    """

    who: tuple[str, ...]
    name: str
    ids: tuple[tuple[str, str], ...] = ()
    file: str = ""
    late: bool = False
    handed: datetime | None = None
    turn: tuple[int, ...] = ()
    note: str = ""
    unread: str = ""


@dataclass
class File:
    """A file found: its lesson ('' where nothing tells), why it cannot be graded, the tasks that it says were
    set ((): all), and whose it is.  own: whether it goes before others since it has the lesson's own name.
    notes: remarks for the student.  shipped: it is the book's own solution.
    """

    item: Found
    lesson: str = ""
    problem: str = ""
    tasks: tuple[str, ...] = ()
    owners: list[Owner] = field(default_factory=list)
    own: bool = False
    notes: tuple[str, ...] = ()
    shipped: bool = False


_MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?P<type>file|[a-z]+)_?(?P<file>.*)")
_CANVAS = re.compile(
    r"(?:(?P<name>.+?)(?P<late>_LATE)?_(?P<id>[1-9]\d*)|(?P<late2>LATE_)?anon_(?P<anon>[A-Za-z0-9]+))"
    r"_(?:(?P<upload>[1-9]\d*)_(?P<file>.+)|(?P<typed>text|link)\.html)"
)
_CANVAS_NUMBERS = re.compile(r"(?=(?:_LATE)?_[1-9]\d*_(?:[1-9]\d*_.|(?:text|link)\.html$))")


def original_name(name: str) -> str:
    """A file's name without what Canvas or Moodle put before it."""
    match = _MOODLE.fullmatch(name) or _CANVAS.fullmatch(name)
    return (match["file"] if match else name) or name


def _moodle(part: str) -> Owner | None:
    match = _MOODLE.fullmatch(part)
    if not match:
        return None
    note = "" if match["type"] == "file" else "Text typed into Moodle is not read: only notebooks are."
    who = ("moodle", match["id"])
    return Owner(who, match["name"], (("moodle_id", match["id"]),), match["file"], note=note)


def _canvas(part: str) -> Owner | None:
    match = _CANVAS.fullmatch(part)
    if not match:
        return None
    number = match["id"] or f"anon_{match['anon']}"
    again = re.search(r"-(\d{1,3})(?=\.[^.]*$|$)", match["file"] or "")
    note = f"What was typed into Canvas is not read ({match['typed']}): only notebooks are."
    return Owner(
        ("canvas", number),
        match["name"] or number,
        (("canvas_id", number),),
        match["file"] or part,
        late=bool(match["late"] or match["late2"]),
        turn=(int(match["upload"] or 0), int(again[1]) if again else 0),
        note=note if match["typed"] else "",
    )


class _Canvas:
    """Canvas's names where a person's or a file's own name holds numbers between
    underlines: 'eve_11_66_12_88_x' is user 11's file '12_88_x', or user 12's, called 'eve_11_66'.

    What cannot be decided belongs to nobody in Canvas, so that it moves nobody's mark.
    """

    FAR = 10  # times: the uploads of one assignment have numbers that are nearer to each other

    def __init__(self, names: set[str]):
        readings = {name: self._readings(name) for name in names}
        sure = [found[0] for found in readings.values() if len(found) == 1]
        self.whose = {owner.who: owner.name for owner in sure}
        uploads = [owner.turn[0] for owner in sure if owner.turn[0]] or [1]
        self.usual = min(uploads) / self.FAR, max(uploads) * self.FAR
        self.unsure = {
            name: found for name, every in readings.items() if len(found := self._likely(every)) > 1
        }
        self.chosen = {name: found[0] for name, every in readings.items() if (found := self._likely(every))}

    @staticmethod
    def _readings(name: str) -> list[Owner]:
        """All ways to read a name, the shortest name of a person first."""
        first = _canvas(name)
        if not first or name.startswith(("anon_", "LATE_anon_")):
            return [first] if first else []
        found = [first]
        for match in _CANVAS_NUMBERS.finditer(name, len(first.name) + 1):
            # The same pattern again, on a name that holds no number between underlines before this place.
            start = re.sub(r"_(?=\d)", "-", name[: match.start()])
            again = _canvas(start + name[match.start() :])
            found += [replace(again, name=name[: match.start()])] if again else []
        return list({owner.who: owner for owner in reversed(found)}.values())[::-1]

    def _likely(self, readings: list[Owner]) -> list[Owner]:
        """Those whose upload has a number as others have, and whose user is not known by another name."""
        low, high = self.usual
        near = [one for one in readings if low <= one.turn[0] <= high or one.note] or readings
        return [one for one in near if self.whose.get(one.who, one.name) == one.name] or near

    def __call__(self, name: str) -> Owner | None:
        if name not in self.unsure:
            return self.chosen.get(name) or _canvas(name)
        # Not even by a name may it be found in a gradebook.
        return replace(self.unsure[name][0], who=("canvas", f"? {name}"), name=name, ids=())


class Layout:
    """How the submissions are laid out: tells the owners of each file found."""

    def __init__(
        self,
        found: list[Found],
        files: list[File],
        source: str,
        lessons: Sequence[str],
        gradescope: bool,
        tell: Callable[[str], None],
    ):
        self.source, self.tell = source, tell
        self.top = _common(found)
        self.metadata = dict(self._metadata(found, gradescope))
        if gradescope and not self.metadata:
            tell(f"There is no {METADATA} in {source}: is it Gradescope's export as a whole?")
        self.times = {i.parts[:-1]: _timestamp(i.path) for i in found if i.kind == "timestamp"}
        self.depth, self.form = self._form([item for item in found if item.kind != "metadata"])
        rest = [file for file in files if not self._by_form(file.item)]
        self.plain = _Plain(rest, self.top, source, lessons)

    def owners(self, item: Found) -> list[Owner]:
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
        handed, unread = self.times.get(item.parts[:-1], (None, ""))
        return [replace(owner, handed=handed, unread=unread)] if owner else []

    def _by_form(self, item: Found) -> Owner | None:
        owner = self.form(item.parts[self.depth]) if len(item.parts) > self.depth else None
        return owner and (owner if len(item.parts) == self.depth + 1 else replace(owner, file=""))

    def _form(self, found: list[Found]) -> tuple[int, Callable[[str], Owner | None]]:
        """(level, form): the first level at which more than half of the names have the form of an LMS; files
        that are not read, such as a readme, count only if they have it."""
        for depth in range(max((len(item.parts) for item in found), default=0)):
            kinds = {
                item.parts[: depth + 1]: item.kind == "other" and len(item.parts) == depth + 1
                for item in found
                if len(item.parts) > depth
            }
            for form in (_moodle, _canvas):
                mine = {name[-1] for name in kinds if form(name[-1])}
                count = sum(name[-1] in mine for name in kinds)
                if 2 * count > sum(name[-1] in mine or not other for name, other in kinds.items()):
                    return depth, form if form is _moodle else self._canvas(mine)
        return 0, lambda name: None

    def _canvas(self, names: set[str]) -> _Canvas:
        """Canvas's form; tells of names that can be read in two ways."""
        form = _Canvas(names)
        for name, readings in sorted(form.unsure.items()):
            users = text.line(" and of user ".join(owner.who[-1] for owner in readings[:5]))
            self.tell(
                f"“{text.line(name)}” can be read as the file of user {users}: it is graded, and its mark is "
                "for you to enter in Canvas."
            )
        return form

    def _metadata(self, found: list[Found], gradescope: bool) -> Iterator[tuple[tuple[str, ...], dict]]:
        """{folder: Gradescope's list}, where the folder is an export as a whole.

        Without --lms gradescope it is one only if its name is Gradescope's, it lies beside nothing but other
        exports, and its list has more than one submission: a student can give any name to a folder.
        """
        for item in found:
            root = item.parts[:-1]
            if item.kind != "metadata" or not item.path or not self._may_be_export(root):
                continue
            if gradescope or self._is_export(root, found):
                listed = _read_metadata(item)
                if gradescope or len(listed) > 1:
                    yield root, listed
                    continue
            name = text.line("/".join(item.parts))
            self.tell(
                f"“{name}” was not taken for Gradescope's list of who handed in what: if it is, say "
                "--lms gradescope."
            )

    def _is_export(self, root: tuple[str, ...], found: list[Found]) -> bool:
        """Whether a folder has the name of an export, and so have all beside it."""
        above = root[:-1]
        names = {item.parts[len(above)] for item in found if root and item.parts[: len(above)] == above}
        return all(map(_EXPORT.fullmatch, names or {self.source}))

    def _may_be_export(self, root: tuple[str, ...]) -> bool:
        return all(
            name == mine or _EXPORT.fullmatch(name)
            for name, mine in zip(root, (*self.top, *[""] * len(root)))
        )


_EXPORT = re.compile(r"assignment_\d+_export(?: ?\(\d+\)|-\d+)?(?:\.zip)?")


# --- Gradescope, nbgrader -------------------------------------------------------------------------------


def _read_metadata(item: Found) -> dict:
    """Gradescope's list of submitters.  Raises CollectError for one that cannot be read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = item.path.read_text("utf8")
        _check_yaml(yaml.parse(content, loader))
        raw = yaml.load(content, loader)
        return {
            f"{name}": entry for name, entry in raw.items() if isinstance(entry, dict) and _is_plain(name)
        }
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):
        raise CollectError(f"Gradescope's {METADATA} cannot be read: export the submissions again.") from None


def _check_yaml(events) -> None:
    """Raise ValueError for what no list of Gradescope's has, and a trap may have: parts that repeat others (a
    few lines in which each repeats the one above stand for more text than any memory holds), and parts that
    lie very deep, which take the square of their depth to read."""
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > 50:
            raise ValueError("it is no list of submissions")


def _is_plain(value) -> bool:
    """Whether a value of YAML is a text or a whole number, as names and ids are."""
    return isinstance(value, str) or (type(value) is int and abs(value) < 10**18)


def _submitters(entry: dict | None, folder: str) -> list[Owner]:
    """The students of a submission; the folder's name where the list has none."""
    listed = (entry or {}).get(":submitters")
    people = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    handed, unread = _moment((entry or {}).get(":created_at"))
    turn = (int(handed.timestamp() * 1000),) if handed else ()
    owners = []
    for person in people:
        said = {key: person.get(f":{key}") for key in ("name", "email", "sid")}
        told = {key: text.line(f"{value}") if _is_plain(value) else "" for key, value in said.items()}
        who = next(((key, told[key]) for key in ("sid", "email", "name") if told[key]), ("name", folder))
        ids = tuple((key, told[key]) for key in ("email", "sid") if told[key])
        name, owner = told["name"] or who[1], ("gradescope", *who)
        owners.append(Owner(owner, name, ids, handed=handed, turn=turn, unread=unread))
    note = f"Gradescope's {METADATA} does not say who handed in {folder}."
    return owners or [Owner(("gradescope", folder), folder, note=note)]


def _moment(value) -> tuple[datetime | None, str]:
    """(a time as YAML or nbgrader has it, without a zone in UTC; what is not understood of it, else '')."""
    if isinstance(value, str) and value:
        day, clock, zone, *_ = (*value.split(), "", "", "")
        unread = text.line(value, 60)
        try:
            moment = datetime.fromisoformat(f"{day} {clock}{zone if zone[:1] in '+-Z' else ''}".strip())
        except ValueError:
            return None, unread
        if zone and moment.tzinfo is None:
            known = _zone(zone, moment)
            return (moment.replace(tzinfo=known), "") if known else (None, unread)
        value = moment
    if not isinstance(value, datetime):
        return None, ""
    return (value if value.tzinfo else value.replace(tzinfo=UTC)), ""


_OFFSETS = {
    "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "SAST": 2,
    "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8,
    "HST": -10, "NST": -3.5, "NDT": -2.5, "SGT": 8, "HKT": 8, "JST": 9, "KST": 9, "AWST": 8,
    "ACST": 9.5, "ACDT": 10.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}  # fmt: skip
"""Hours east of Greenwich of the abbreviations that clocks print (%Z) and that have one meaning in use.
CST, IST and BST have several: see `_zone`."""


def _zone(name: str, moment: datetime) -> tzinfo | None:
    """The zone of an abbreviation or a name such as 'Europe/Berlin'; None for one that is not known.

    An abbreviation of this machine's own zone is this machine's: the server that collected is often this one.
    """
    for fold in (0, 1):  # the hour that a clock goes through twice has two abbreviations
        here = moment.replace(fold=fold).astimezone()
        if here.tzname() == name:
            return here.tzinfo
    if name in _OFFSETS:
        return timezone(timedelta(hours=_OFFSETS[name]))
    try:
        return ZoneInfo(name) if "/" in name else None
    except (ValueError, KeyError, OSError):  # what ZoneInfo raises for other words
        return None


def _timestamp(path: Path | None) -> tuple[datetime | None, str]:
    """What nbgrader's timestamp.txt says, as `_moment`."""
    if not path:
        return None, ""
    with open(path, encoding="utf8", errors="replace") as file:
        return _moment(file.read(100).strip())


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

    def __init__(self, files: list[File], top: tuple[str, ...], source: str, lessons: Sequence[str]):
        self.top, self.source = top, source
        books = [file for file in files if file.item.kind in ("notebook", "checkpoint", "bad")]
        self.single = len(books) == 1
        self.stems = [record.load(lesson).notebook.removesuffix(".ipynb") for lesson in lessons]
        self.start = len(top)
        while self._holds_groups(books):
            self.start += 1
        at_root = Counter(file.lesson for file in books if len(file.item.parts) == self.start + 1)
        self.by_file = any(count > 1 for lesson, count in at_root.items() if lesson)

    def _holds_groups(self, books: list[File]) -> bool:
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

    def owner(self, item: Found) -> Owner | None:
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
                return Owner(("plain", *group, name), name, ids)
        if item.kind in ("notebook", "checkpoint") or ".ipynb" in item.name.lower():
            return self._by_file(item, [*self.top, *folders])
        return None

    def _by_file(self, item: Found, folders: list[str]) -> Owner:
        """The student by the file's own name, or by the nearest folder where that name is the lesson's."""
        stem = re.sub(r"\.ipynb.*$", "", item.name, flags=re.IGNORECASE)
        for book in map(re.escape, self.stems):
            stem = re.sub(rf"(?<=.)[ _-]+{book}( ?\(\d{{1,3}}\))?$|^{book}[ _-]+(?=[^\W\d])", "", stem)
        if (self.single and folders) or (self.tells_nothing(stem) and not self.by_file):
            stem = re.sub(r"\.zip$", "", folders[-1], flags=re.IGNORECASE) if folders else self.source
        return Owner(("plain", stem), stem)
