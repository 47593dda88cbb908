"""The site, built once for all tests that look at it, by the command that a reader uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site. Tests with this fixture run in one process (tests/conftest.py)."""
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install .[site]")
    out = tmp_path_factory.mktemp("book") / "a site, élan"  # a blank and a letter beyond ASCII
    command = [sys.executable, "-m", "book", "site", str(out)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "index.html")
    return out
