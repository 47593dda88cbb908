"""Find what was handed in, in folders and zips, and copy the notebooks to a private folder.

Nothing in here trusts a name or a size that a file states about itself: no member of a zip is written under
its own name, only notebooks (and Gradescope's list of submitters, nbgrader's time stamps) are read at all,
links and devices are not followed, and every copy ends at a limit.  What is too much is refused by its name,
and costs nobody else anything.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from book.grading import bare, text

NOTEBOOK = re.compile(r"\.ipynb(\.(txt|json))?$", re.IGNORECASE)  # browsers add an ending when they save
METADATA, TIMESTAMP = "submission_metadata.yml", "timestamp.txt"

MEGABYTE = 1_000_000
LARGEST_FILE = 100 * MEGABYTE  # a notebook with its outputs, of which no more is kept than
LARGEST_NOTEBOOK = 20 * MEGABYTE  # without them
LARGEST_INNER_ZIP = 100 * MEGABYTE  # a zip that a student handed in, and what is unpacked of it
LARGEST_DIRECTORY = 8 * MEGABYTE  # the table of contents of such a zip
LARGEST_SUM = 8000 * MEGABYTE  # all that is kept in a run; beyond it the largest files are left out
LARGEST_RATIO = 200  # unpacked to packed, of a file that is larger than a notebook may be
MOST_FILES = 1_000_000
MOST_MEMBERS = 5_000  # in a zip that a student handed in, and in the zips within it
MOST_NOTEBOOKS = 300  # of those members
MOST_LISTED = 100  # members of such a zip that are told of although they are not read
DEEPEST = 30
NESTING = 2  # zips in one another

CHECKPOINTS = ".ipynb_checkpoints"
ONLY = "Hand in the notebook itself."
CLEAR = "Clear the outputs (Kernel, “Restart and clear”), take out pasted pictures, and hand it in again."

_OTHER_ARCHIVE = re.compile(r"\.(rar|7z|tar|tgz|gz|bz2|xz|zst)$", re.IGNORECASE)


class CollectError(Exception):
    """Submissions that cannot be read at all; the text is one sentence."""


@dataclass(frozen=True)
class Found:
    """A file or an empty folder among the submissions.

    parts: the names from the source down, fit to be shown; a zip is a name among them.
    kind: 'notebook', 'checkpoint' (JupyterLab's own copy of one, under the name of what it is a copy of),
    'metadata', 'timestamp', 'folder', 'other' (not read) or 'bad' (not to be read).
    path: the copy of what was read, else None.  trouble: one sentence why it could not be.
    date: when the file was changed, as the zip or the folder says it, (year, …, second) in local time; ()
    where nothing says it.  It may be the date of a copy or of a download: it orders files and tells of no
    lateness.
    """

    parts: tuple[str, ...]
    kind: str
    path: Path | None = None
    trouble: str = ""
    date: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return self.parts[-1]


class _TooMuch(Exception):
    """A limit was met; the text ends the sentence '“class.zip” …'."""


@dataclass
class _Budget:
    """What may still be taken out of a student's zip and out of the zip that it lies in: bytes, files and
    notebooks."""

    above: _Budget | None = None
    size: int = field(default_factory=lambda: LARGEST_INNER_ZIP)
    files: int = field(default_factory=lambda: MOST_MEMBERS)
    notebooks: int = field(default_factory=lambda: MOST_NOTEBOOKS)

    def take(self, size: int = 0, files: int = 0, notebooks: int = 0) -> None:
        self.size, self.files, self.notebooks = (
            self.size - size,
            self.files - files,
            self.notebooks - notebooks,
        )
        if self.size < 0:
            raise _TooMuch(
                f"unpacks to more than the {LARGEST_INNER_ZIP // MEGABYTE} MB that are read of a zip. {CLEAR}"
            )
        if self.files < 0:
            raise _TooMuch(f"has more than {MOST_MEMBERS:,} members. {ONLY}")
        if self.notebooks < 0:
            raise _TooMuch(f"holds more than {MOST_NOTEBOOKS} notebooks. {ONLY}")
        if self.above:
            self.above.take(size, files, notebooks)

    @property
    def spent(self) -> bool:
        return min(self.size, self.files, self.notebooks) < 0


def find(source: Path, into: Path) -> list[Found]:
    """Everything in a notebook, folder or zip, in the order of the names; notebooks are copied into `into`.

    Raises CollectError, with one sentence, for a source that cannot be read.
    """
    source, into = Path(source), Path(into)
    if not source.exists():
        raise CollectError(f"There is no file or folder {source}.")
    if into.resolve().is_relative_to(source.resolve()):
        raise CollectError(f"{into} lies inside {source}: choose another folder for what is unpacked.")
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise CollectError(f"{into} is not empty: choose another folder for what is unpacked.")
    reader = _Reader(into)
    try:
        found = [reader.left_out(item) for item in list(reader.source(source))]
    except _TooMuch as error:
        raise CollectError(f"{source.name} {error}") from None
    return sorted(_without_filled_folders(found), key=lambda item: (item.parts, item.date, str(item.path)))


def _without_filled_folders(found: list[Found]) -> Iterator[Found]:
    """Everything but the folders that hold something, and the folders named twice."""
    filled = {item.parts[:depth] for item in found for depth in range(1, len(item.parts))}
    for item in found:
        if item.kind != "folder" or item.parts not in filled:
            filled |= {item.parts} if item.kind == "folder" else set()
            yield item


class _Reader:
    """Reads folders and zips, counting what it reads."""

    def __init__(self, into: Path):
        self.into, self.copies, self.size = into, 0, 0
        self.seen = 0
        self.inside: Counter[tuple[str, ...]] = Counter()  # files in a folder of the source
        self.kept: list[tuple[int, str]] = []  # (minus the size, path) of every copy, as a heap
        self.removed: dict[Path, int] = {}

    def source(self, source: Path) -> Iterator[Found]:
        if source.is_dir():
            yield from self.folder(source, ())
        elif zipfile.is_zipfile(source) or source.suffix.lower() == ".zip":
            try:
                yield from self.zip(source, (), 1)
            except _TooMuch:
                raise
            except Exception as error:  # zipfile raises whatever the damage happens to lead to
                raise CollectError(_broken(source.name, error)) from None
        elif source.is_file() and NOTEBOOK.search(source.name):
            yield self.file(source, (_shown(source.name),))
        else:
            raise CollectError(f"{source.name} is neither a notebook nor a zip nor a folder.")

    def count(self, parts: tuple[str, ...]) -> None:
        """Count a file that lies in the source itself, in no student's zip."""
        self.seen += 1
        self.inside[parts[:-1][:3]] += 1
        if self.seen > MOST_FILES:
            most, count = max(self.inside.items(), key=lambda item: (bool(item[0]), item[1]))
            where = f", {count:,} of them in {_named(most)}" if most else ""
            raise _TooMuch(f"holds more than {MOST_FILES:,} files{where}: is it the right one?")

    def keep(self, path: Path, size: int) -> None:
        """Note a copy; where all together are too much the largest are removed."""
        heapq.heappush(self.kept, (-size, f"{path}"))
        self.size += size
        while self.size > LARGEST_SUM:
            size, name = heapq.heappop(self.kept)
            Path(name).unlink()
            self.size, self.removed[Path(name)] = self.size + size, -size

    def left_out(self, item: Found) -> Found:
        """The same, or what is said of a copy that was removed again."""
        if item.path not in self.removed:
            return item
        size = max(1, self.removed[item.path] // MEGABYTE)
        said = f"{_named(item.parts)} ({size} MB) is one of the largest files, and all are more than is read."
        return replace(item, kind="bad", path=None, trouble=f"{said} {CLEAR}")

    # ------------------------------------------------------------ folders

    def folder(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Found]:
        """What lies in a folder, links and devices as 'bad'."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Found(parts or (folder.name,), "bad", trouble=f"{_named(parts)} cannot be opened "
                        f"({error.strerror}).")  # fmt: skip
            return
        if parts and parts[-1] != CHECKPOINTS:
            yield Found(parts, "folder")
        for entry in entries:
            if _quiet(entry.name):
                continue
            here = (*parts, _shown(os.fsencode(entry.name).decode("utf8", "replace")))
            self.count(here)
            if entry.is_symlink():
                yield Found(here, "bad", trouble=f"{_named(here)} is a link; links are not followed.")
            elif entry.is_dir(follow_symlinks=False):
                if len(here) > DEEPEST:
                    yield Found(here, "bad", trouble=f"{_named(here)} lies too deep to be read.")
                else:
                    yield from self.folder(Path(entry.path), here)
            elif entry.is_file(follow_symlinks=False):
                yield from self.entry(Path(entry.path), here)
            else:
                yield Found(here, "bad", trouble=f"{_named(here)} is not an ordinary file.")

    def entry(self, path: Path, parts: tuple[str, ...]) -> Iterator[Found]:
        """A file in a folder: read, looked into, or only named."""
        kind = _kind(parts[-1])
        if kind == "zip":
            yield from self.inner_zip(path, parts, 1)
        elif kind == "other":
            yield Found(parts, kind)
        elif CHECKPOINTS not in parts or kind == "notebook":
            yield self.file(path, parts)

    def file(self, path: Path, parts: tuple[str, ...]) -> Found:
        """A copy of a file in a folder; what became a link or a device meanwhile is refused when opened."""
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as stream:
                about = os.fstat(handle)
                if not stat.S_ISREG(about.st_mode):
                    raise OSError(0, "it is not an ordinary file")
                return self.copy(stream, parts, _date(about.st_mtime))
        except OSError as error:
            return Found(parts, "bad", trouble=f"{_named(parts)} cannot be read ({error.strerror}).")

    # ------------------------------------------------------------ zips

    def inner_zip(self, path: Path, parts: tuple[str, ...], nesting: int, above=None) -> Iterator[Found]:
        """What lies in a zip among the submissions; whatever is wrong with it becomes 'bad', and no more."""
        found: list[Found] = []
        unread = 0
        try:
            if nesting > NESTING:
                raise _TooMuch("is a zip in a zip in a zip: hand in the notebook itself.")
            _check_directory(path)
            for item in self.zip(path, parts, nesting, _Budget(above)):
                unread += item.path is None
                if item.path or unread <= MOST_LISTED:
                    found.append(item)
        except _TooMuch as error:
            if above and above.spent:
                raise
            found.append(Found(parts, "bad", trouble=f"{_named(parts)} {error}"))
        except Exception as error:  # as above
            found.append(Found(parts, "bad", trouble=_broken(parts[-1], error)))
        if unread > MOST_LISTED:
            said = f"{_named(parts)} holds {unread - MOST_LISTED:,} more files that were not read."
            found.append(Found(parts, "bad", trouble=said))
        yield from found or [Found(parts, "folder")]

    def zip(self, path: Path, parts: tuple[str, ...], nesting: int, budget=None) -> Iterator[Found]:
        """What lies in a zip.  Raises _TooMuch at a limit, and what zipfile raises for a broken one."""
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if budget:
                budget.take(files=len(members))
            twice: dict[str, int] = {}
            for member in sorted(members, key=lambda m: (m.filename, m.header_offset)):
                names, unsafe = _names(member)
                here = (*parts, *names)
                if not budget:
                    self.count(here)
                if not names or any(_quiet(name) for name in names):
                    continue
                twice[member.filename] = twice.get(member.filename, 0) + 1
                if twice[member.filename] == 2 and not member.is_dir():
                    said = f"{_named(here)} is in the zip more than once; the latest counts."
                    yield Found(here, "other", trouble=said)
                yield from self.member(archive, member, here, unsafe, nesting, budget)

    def member(self, archive, member, here, unsafe: bool, nesting: int, budget) -> Iterator[Found]:
        """One member of a zip, read, looked into, or only named."""
        trouble = _refused(member, here, unsafe)
        if trouble:
            yield Found(here, "bad", trouble=trouble)
            return
        kind = "folder" if member.is_dir() else _kind(here[-1])
        if CHECKPOINTS in here and kind != "notebook":
            return
        if kind in ("folder", "other"):
            yield Found(here, kind)
            return
        if budget:
            budget.take(size=member.file_size, notebooks=kind == "notebook")
        try:
            with archive.open(member) as stream:
                copy = self.copy(stream, here, member.date_time)
        except Exception as error:  # as above
            yield Found(here, "bad", trouble=_broken(here[-1], error))
            return
        if kind == "zip" and copy.path:
            try:
                yield from self.inner_zip(copy.path, here, nesting + 1, budget)
            finally:
                copy.path.unlink()
        else:
            yield copy

    def copy(self, stream, parts: tuple[str, ...], date: tuple[int, ...]) -> Found:
        """A copy, under a name of our own, of what a stream gives; 'bad' when that is too long.

        A large notebook is kept without its outputs, which play no part in grading.
        """
        kind = _kind(parts[-1])
        limits = {"zip": LARGEST_INNER_ZIP, "notebook": LARGEST_FILE, "timestamp": MEGABYTE}
        limit = limits.get(kind, LARGEST_NOTEBOOK)
        self.copies += 1
        path, size = self.into / f"{self.copies:06d}{'.zip' if kind == 'zip' else '.ipynb'}", 0
        try:
            with open(path, "xb") as out:
                while size <= limit and (chunk := stream.read(1 << 18)):
                    size += len(chunk)
                    out.write(chunk)
            if kind == "notebook" and bare.LARGE < size <= limit:
                size, limit = bare.write_bare(path), LARGEST_NOTEBOOK
        except BaseException:
            path.unlink()
            raise
        if size > limit:
            path.unlink()
            return Found(parts, "bad", trouble=f"{_named(parts)} {_too_large(kind, limit)}", date=date)
        if kind != "zip":
            self.keep(path, size)
        return _checkpoint(Found(parts, kind, path, date=date))


def _too_large(kind: str, limit: int) -> str:
    """What is said of a file that is larger than its kind may be."""
    without = " without its outputs" if kind == "notebook" and limit == LARGEST_NOTEBOOK else ""
    todo = CLEAR if kind == "notebook" else "Hand in the notebook itself." if kind == "zip" else ""
    return f"is larger than {limit // MEGABYTE} MB{without}. {todo}".strip()


def _checkpoint(item: Found) -> Found:
    """The same, or for a copy that JupyterLab made the place and name of what it is a copy of."""
    if CHECKPOINTS not in item.parts:
        return item
    *folders, name = (part for part in item.parts if part != CHECKPOINTS)
    name = re.sub(r"-checkpoint(?=\.ipynb)", "", name, flags=re.IGNORECASE)
    return replace(item, parts=(*folders, name), kind="checkpoint")


def _date(seconds: float) -> tuple[int, ...]:
    """A file's date in whole seconds, which is as exact as a zip is; () for one that no calendar has."""
    try:
        return tuple(time.localtime(seconds)[:6])
    except (OverflowError, ValueError, OSError):
        return ()


def _refused(member: zipfile.ZipInfo, here: tuple[str, ...], unsafe: bool) -> str:
    """One sentence why a member of a zip is not even opened, else ''."""
    mode = stat.S_IFMT(member.external_attr >> 16)
    if unsafe:
        return f"{_named(here)} is to be unpacked outside its folder; it was not."
    if len(here) > DEEPEST:
        return f"{_named(here)} lies too deep to be read."
    if mode == stat.S_IFLNK:
        return f"{_named(here)} is a link; links are not followed."
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{_named(here)} is not an ordinary file."
    if member.is_dir() or _kind(here[-1]) == "other":
        return ""
    if member.flag_bits & 0x1:
        return f"{_named(here)} is locked with a password."
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{_named(here)} is packed in an unusual way; pack it as an ordinary zip."
    if member.file_size > max(LARGEST_NOTEBOOK, LARGEST_RATIO * member.compress_size):
        return f"{_named(here)} unpacks to more than {LARGEST_RATIO} times its size, and is not read. {CLEAR}"
    return ""


def _check_directory(path: Path) -> None:
    """Raise _TooMuch for a zip whose table of contents alone would fill the memory."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > LARGEST_INNER_ZIP:
            raise _TooMuch(_too_large("zip", LARGEST_INNER_ZIP))
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    for end in (match.start() for match in re.finditer(b"PK\5\6", tail)):
        stated = int.from_bytes(tail[end + 12 : end + 16], "little")
        # The long form of the table, which no zip of a few notebooks needs, states another size elsewhere.
        if stated > LARGEST_DIRECTORY or b"PK\6\7" in tail[max(0, end - 20) : end]:
            raise _TooMuch(f"has more than {MOST_MEMBERS:,} members. {ONLY}")


def _kind(name: str) -> str:
    """'notebook', 'zip', 'metadata', 'timestamp' or 'other', by the name alone."""
    name = re.split(r"[/\\]", name)[-1]
    if NOTEBOOK.search(name):
        return "notebook"
    if name.lower().endswith(".zip"):
        return "zip"
    return {METADATA: "metadata", TIMESTAMP: "timestamp"}.get(name, "other")


def is_archive(name: str) -> bool:
    """Whether a file that is not read is an archive of another kind than zip, by its name."""
    return bool(_OTHER_ARCHIVE.search(name))


def _names(member: zipfile.ZipInfo) -> tuple[tuple[str, ...], bool]:
    """(names, unsafe): a member's folders and name, without what would lead out of a folder."""
    raw = member.filename
    if not member.flag_bits & 0x800:  # no word on the encoding: macOS writes UTF-8 all the same
        try:
            raw = raw.encode("cp437").decode("utf8")
        except UnicodeError:
            pass
    raw = raw.replace("\\", "/")  # as old programs for Windows write it
    names = [name for name in raw.split("/") if name not in ("", ".")]
    names[DEEPEST:-1] = []  # one that lies deeper is refused: its folders need not be kept
    unsafe = raw.startswith("/") or ".." in names or bool(re.match(r"[A-Za-z]:", raw))
    names = [_shown(re.sub(r"^[A-Za-z]:", "", name)) for name in names if name != ".."]
    return tuple(name for name in names if name), unsafe


def _quiet(name: str) -> bool:
    """Whether a name is the litter of a system or an editor, of which nobody wants to hear."""
    hidden = name.startswith(".") and not NOTEBOOK.search(name) and name != CHECKPOINTS
    return hidden or name.startswith("._") or name.lower() in (
        "__macosx", "__pycache__", "thumbs.db", "desktop.ini",
    )  # fmt: skip


def _shown(name: str) -> str:
    """A name fit to be shown; of a very long one the beginning and the end."""
    name = text.line(name, 70_000)
    return name if len(name) <= 500 else f"{name[:400]}…{name[-80:]}"


def _named(parts: tuple[str, ...]) -> str:
    return f"“{text.line('/'.join(parts[-2:]))}”" if parts else "The folder"


def _broken(name: str, error: Exception) -> str:
    if isinstance(error, RuntimeError) and "password" in str(error):
        return f"“{text.line(name)}” is locked with a password."
    return (
        f"“{text.line(name)}” cannot be unpacked: it is damaged or not a zip. "
        "Was the download or the upload cut off?"
    )
