"""A file is written as a whole or not at all."""

import os

import pytest

from toolkit.files import write_file


def test_a_file_is_written_as_text_or_as_bytes(tmp_path):
    write_file(tmp_path / "a" / "x", "é\r\n")
    write_file(tmp_path / "a" / "y", b"\xff")
    assert (tmp_path / "a" / "x").read_bytes() == "é\r\n".encode()
    assert (tmp_path / "a" / "y").read_bytes() == b"\xff"


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    for mode in (0o600, 0o755):
        (tmp_path / "x").write_text("before")
        (tmp_path / "x").chmod(mode)
        write_file(tmp_path / "x", "after")
        assert (tmp_path / "x").stat().st_mode & 0o777 == mode
        assert (tmp_path / "x").read_text() == "after"


def test_a_stop_in_the_middle_leaves_what_was_there(tmp_path, monkeypatch):
    write_file(tmp_path / "x", "before")
    for stopping in (KeyboardInterrupt, OSError(28, "no space")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", lambda *_, e=stopping: (_ for _ in ()).throw(e))
            with pytest.raises((KeyboardInterrupt, OSError)):
                write_file(tmp_path / "x", "after")
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
        assert (tmp_path / "x").read_text() == "before"
