"""The tests' own guard and last words."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import shared, skipped


def reports(*reasons):
    return [SimpleNamespace(longrepr=("test_x.py", 1, f"Skipped: {reason}")) for reason in reasons]


def test_what_a_machine_lacks_is_a_line_each():
    lacks = ["bubblewrap is not installed here, or the system forbids it", "no Chromium on this machine"]
    lacks += ["needs a GPU"] * 3 + ["k_diffusion is not installed", "could not import 'torchsde': no"]
    assert skipped(reports(*lacks, "strided is for tables")) == [
        "Not run: 1 test of the sandbox: install bubblewrap, and let users make namespaces.",
        "Not run: 1 test of pages in a browser: install Chromium.",
        "Not run: 3 tests on a GPU: there is none.",
        "Not run: 2 tests beside other libraries: `make test` installs them.",
    ]
    assert skipped(reports("strided is for tables")) == []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("TOOLKIT_LESSONS", lambda patch, _: patch.setenv("TOOLKIT_LESSONS", "left")),
        ("PATH", lambda patch, _: patch.setenv("PATH", "left")),
        ("the current folder", lambda patch, folder: patch.chdir(folder)),
        ("torch's default dtype", lambda *_: torch.set_default_dtype(torch.float64)),
    ],
)
def test_what_a_test_leaves_behind_is_seen(what, change, monkeypatch, tmp_path):
    before, dtype = shared(), torch.get_default_dtype()
    with monkeypatch.context() as patch:
        change(patch, tmp_path)
        after = shared()
    torch.set_default_dtype(dtype)
    assert [name for name in before if before[name] != after[name]] == [what]
    assert before == shared()


@pytest.mark.slow
def test_tests_that_belong_together_run_in_one_process(tmp_path):
    """What an experiment gave is kept in a process: two that share a file would each run it."""
    test = "import pytest\n@pytest.mark.parametrize('i', range(6))\n@pytest.mark.xdist_group({!r})\n"
    test += "def test(i): pass\n"
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(test.format(name))
    command = [sys.executable, "-m", "pytest", "-v", "-n2", "--dist=loadgroup", "-c/dev/null", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    ran = set(re.findall(r"\[(gw\d)\].*PASSED.*@([ab])", told))
    assert len(ran) == 2 and {name for _, name in ran} == {"a", "b"}, told
