"""Find what was handed in, in folders and zips, and copy the notebooks to a private folder.

Nothing in here trusts a name or a size that a file states about itself: no member of a zip is written under
its own name, only notebooks (and Gradescope's list of submitters, nbgrader's time stamps) are read at all,
links and devices are not followed, and every copy ends at a limit.
"""

from __future__ import annotations

import os
import re
import stat
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from book.grading import text

NOTEBOOK = re.compile(r"\.ipynb(\.(txt|json))?$", re.IGNORECASE)  # browsers add an ending when they save
METADATA, TIMESTAMP = "submission_metadata.yml", "timestamp.txt"

MEGABYTE = 1_000_000
LARGEST_NOTEBOOK = 20 * MEGABYTE
LARGEST_INNER_ZIP = 100 * MEGABYTE  # a zip that a student handed in, and what is unpacked of it
LARGEST_DIRECTORY = 8 * MEGABYTE  # the table of contents of such a zip
LARGEST_SUM = 8000 * MEGABYTE  # all that is copied in a run
LARGEST_RATIO = 200  # unpacked to packed, in a zip that unpacks to much
MOST_FILES = 1_000_000
MOST_MEMBERS = 5_000  # in a zip that a student handed in
DEEPEST = 30
NESTING = 2  # zips in one another

_OTHER_ARCHIVE = re.compile(r"\.(rar|7z|tar|tgz|gz|bz2|xz|zst)$", re.IGNORECASE)


class CollectError(Exception):
    """Submissions that cannot be read at all; the text is one sentence."""


@dataclass(frozen=True)
class Found:
    """A file or an empty folder among the submissions.

    parts: the names from the source down, fit to be shown; a zip is a name among them.
    kind: 'notebook', 'metadata', 'timestamp', 'folder', 'other' (not read) or 'bad' (not to be read).
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
    """What may still be unpacked, in bytes, here and in what this lies in."""

    left: int
    above: _Budget | None = None

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooMuch("unpacks to more than is read of a zip.")
        if self.above:
            self.above.take(size)


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
        found = list(reader.source(source))
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
        self.into, self.copies, self.seen = into, 0, 0
        self.budget = _Budget(LARGEST_SUM)

    def source(self, source: Path) -> Iterator[Found]:
        if source.is_dir():
            yield from self.folder(source, ())
        elif zipfile.is_zipfile(source) or source.suffix.lower() == ".zip":
            try:
                yield from self.zip(source, (), 1, self.budget)
            except _TooMuch:
                raise
            except Exception as error:  # zipfile raises whatever the damage happens to lead to
                raise CollectError(_broken(source.name, error)) from None
        elif source.is_file() and NOTEBOOK.search(source.name):
            yield self.file(source, (_shown(source.name),))
        else:
            raise CollectError(f"{source.name} is neither a notebook nor a zip nor a folder.")

    def count(self) -> None:
        self.seen += 1
        if self.seen > MOST_FILES:
            raise _TooMuch(f"holds more than {MOST_FILES:,} files: is it the right one?")

    # ------------------------------------------------------------ folders

    def folder(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Found]:
        """What lies in a folder, links and devices as 'bad'."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Found(parts or (folder.name,), "bad", trouble=f"{_named(parts)} cannot be opened "
                        f"({error.strerror}).")  # fmt: skip
            return
        if parts:
            yield Found(parts, "folder")
        for entry in entries:
            if _quiet(entry.name):
                continue
            self.count()
            here = (*parts, _shown(os.fsencode(entry.name).decode("utf8", "replace")))
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
            yield from self.inner_zip(path, parts, 1, self.budget)
        elif kind == "other":
            yield Found(parts, kind)
        else:
            yield self.file(path, parts)

    def file(self, path: Path, parts: tuple[str, ...]) -> Found:
        """A copy of a file in a folder; what became a link or a device meanwhile is refused when opened."""
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as stream:
                about = os.fstat(handle)
                if not stat.S_ISREG(about.st_mode):
                    raise OSError(0, "it is not an ordinary file")
                return self.copy(stream, parts, _date(about.st_mtime), self.budget)
        except OSError as error:
            return Found(parts, "bad", trouble=f"{_named(parts)} cannot be read ({error.strerror}).")

    # ------------------------------------------------------------ zips

    def inner_zip(self, path: Path, parts: tuple[str, ...], nesting: int, budget: _Budget) -> Iterator[Found]:
        """What lies in a zip among the submissions; whatever is wrong with it becomes 'bad', and no more."""
        found: list[Found] = []
        try:
            if nesting > NESTING:
                raise _TooMuch("is a zip in a zip in a zip: hand in the notebook itself.")
            _check_directory(path)
            for item in self.zip(path, parts, nesting, _Budget(LARGEST_INNER_ZIP, budget)):
                found.append(item)
        except _TooMuch as error:
            if budget.left < 0:
                raise
            found.append(Found(parts, "bad", trouble=f"{_named(parts)} {error}"))
        except Exception as error:  # as above
            found.append(Found(parts, "bad", trouble=_broken(parts[-1], error)))
        yield from found or [Found(parts, "folder")]

    def zip(self, path: Path, parts: tuple[str, ...], nesting: int, budget: _Budget) -> Iterator[Found]:
        """What lies in a zip.  Raises _TooMuch at a limit, and what zipfile raises for a broken one."""
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if budget.above and len(members) > MOST_MEMBERS:
                raise _TooMuch(f"has more than {MOST_MEMBERS:,} members.")
            _check_ratio(members, LARGEST_NOTEBOOK if budget.above else 10 * LARGEST_INNER_ZIP)
            twice: dict[str, int] = {}
            for member in sorted(members, key=lambda m: (m.filename, m.header_offset)):
                self.count()
                names, unsafe = _names(member)
                if not names or any(_quiet(name) for name in names):
                    continue
                here = (*parts, *names)
                twice[member.filename] = twice.get(member.filename, 0) + 1
                if twice[member.filename] == 2 and not member.is_dir():
                    said = f"{_named(here)} is in the zip more than once; the latest counts."
                    yield Found(here, "other", trouble=said)
                yield from self.member(archive, member, here, unsafe, nesting, budget)

    def member(self, archive, member, here, unsafe: bool, nesting: int, budget: _Budget) -> Iterator[Found]:
        """One member of a zip, read, looked into, or only named."""
        trouble = _refused(member, here, unsafe)
        if trouble:
            yield Found(here, "bad", trouble=trouble)
            return
        kind = "folder" if member.is_dir() else _kind(here[-1])
        if kind in ("folder", "other"):
            yield Found(here, kind)
            return
        try:
            with archive.open(member) as stream:
                copy = self.copy(stream, here, member.date_time, budget)
        except _TooMuch:
            raise
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

    def copy(self, stream, parts: tuple[str, ...], date: tuple[int, ...], budget: _Budget) -> Found:
        """A copy, under a name of our own, of what a stream gives; 'bad' when that is too long."""
        kind = _kind(parts[-1])
        limit = LARGEST_INNER_ZIP if kind == "zip" else LARGEST_NOTEBOOK
        self.copies += 1
        path, size = self.into / f"{self.copies:06d}{'.zip' if kind == 'zip' else '.ipynb'}", 0
        try:
            with open(path, "xb") as out:
                while chunk := stream.read(min(1 << 18, limit + 1 - size)):
                    size += len(chunk)
                    if size > limit:
                        raise _TooMuch(f"is larger than {limit // MEGABYTE} MB.")
                    out.write(chunk)
            budget.take(size)
        except BaseException as error:
            path.unlink()
            if isinstance(error, _TooMuch) and size > limit:
                return Found(parts, "bad", trouble=f"{_named(parts)} {error}", date=date)
            raise
        return Found(parts, kind, path, date=date)


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
    return ""


def _check_ratio(members: list[zipfile.ZipInfo], harmless: int) -> None:
    """Raise _TooMuch for a zip that unpacks to more than is harmless, and to many times its size."""
    read = [member for member in members if _kind(member.filename) != "other"]
    packed = sum(member.compress_size for member in read)
    if sum(member.file_size for member in read) > max(harmless, LARGEST_RATIO * packed):
        raise _TooMuch(f"unpacks to more than {LARGEST_RATIO} times its size, as only a trap does.")


def _check_directory(path: Path) -> None:
    """Raise _TooMuch for a zip whose table of contents alone would fill the memory."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > LARGEST_INNER_ZIP:
            raise _TooMuch(f"is larger than {LARGEST_INNER_ZIP // MEGABYTE} MB.")
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    for end in (match.start() for match in re.finditer(b"PK\5\6", tail)):
        stated = int.from_bytes(tail[end + 12 : end + 16], "little")
        # The long form of the table, which no zip of a few notebooks needs, states another size elsewhere.
        if stated > LARGEST_DIRECTORY or b"PK\6\7" in tail[max(0, end - 20) : end]:
            raise _TooMuch(f"has more than {MOST_MEMBERS:,} members.")


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
    unsafe = raw.startswith("/") or ".." in names or bool(re.match(r"[A-Za-z]:", raw))
    names = [_shown(re.sub(r"^[A-Za-z]:", "", name)) for name in names if name != ".."]
    return tuple(name for name in names if name), unsafe


def _quiet(name: str) -> bool:
    """Whether a name is the litter of a system or an editor, of which nobody wants to hear."""
    hidden = name.startswith(".") and not NOTEBOOK.search(name)
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
