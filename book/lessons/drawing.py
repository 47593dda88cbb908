"""Draws that everybody can repeat who knows what they are made from: a seed, or a course's key and a student.

A draw is a keyed hash and no random generator, so that it is the same with every version of Python and numpy.
What is drawn for a student follows from the key and the id on the roll alone (HMAC, RFC 2104): an instructor
makes it again, and nobody without the key can tell what another student has got.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

KEY_BYTES = 32


def public(seed: int) -> bytes:
    """The secret of a seed that anybody may know."""
    return hashlib.sha256(f"seed {seed}".encode()).digest()


def of_student(key: bytes, student: str) -> bytes:
    """The secret of a student of a course, from the course's key and the student's id on the roll."""
    return hmac.new(key, f"student {student}".encode(), hashlib.sha256).digest()


def tag(key: bytes, student: str) -> str:
    """The mark in a notebook by which the owner of the key knows that it was issued to this student."""
    return hmac.new(key, f"issued to {student}".encode(), hashlib.sha256).hexdigest()[:20]


def number(secret: bytes, what: str, below: int) -> int:
    """A number from 0 to below - 1, drawn for `what`; each as likely as another, to 1 in 2**128."""
    digest = hmac.new(secret, what.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest, "big") % below


def one_of(secret: bytes, what: str, items: Sequence[Item]) -> Item:
    """One of several, drawn for `what`."""
    return items[number(secret, what, len(items))]


def new_key(path: Path) -> bytes:
    """A key of a new course, written to a file that only its owner can read.

    Raises FileExistsError where a file lies there.
    """
    key = secrets.token_bytes(KEY_BYTES)
    with path.open("x", encoding="utf8") as file:
        path.chmod(0o600)
        file.write(key.hex() + "\n")
    return key


def read_key(path: Path) -> bytes:
    """The key in a file.  Raises ValueError, with a sentence, for what holds none."""
    try:
        key = bytes.fromhex(path.read_text("utf8").strip())
    except (ValueError, OSError):
        key = b""
    if len(key) < 16:
        raise ValueError(f"{path} holds no key of a course: it has one line of {2 * KEY_BYTES} hex digits")
    return key
