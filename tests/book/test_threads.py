"""A kernel or a command of ours computes on one thread, unless the reader has chosen."""

import os
import subprocess
import sys

import pytest

from book.lessons.running import local_kernel
from book.threads import VARIABLES, choose, environment

pytestmark = pytest.mark.slow

ASK = "import torch; print(torch.get_num_threads())"


def test_one_thread_unless_chosen():
    assert environment({"A": "b"}) == {"A": "b"} | dict.fromkeys(VARIABLES, "1")
    for name in VARIABLES:
        assert environment({name: "3"}) == {name: "3"}


@pytest.mark.parametrize("chosen", ["", "2"])
def test_kernels_and_commands_follow_it(chosen, tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
        monkeypatch.setenv("MKL_NUM_THREADS", chosen)
    expected = chosen or "1"
    kernel = local_kernel(tmp_path)
    try:
        assert kernel.run(ASK, 120, 10_000).text.strip() == expected
    finally:
        kernel.close()
    code = f"import book.__main__; book.__main__.threads.choose(); {ASK}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert run.stdout.strip() == expected, run.stderr


def test_the_library_changes_nobody_s(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    code = "import os; before = dict(os.environ); import toolkit.training; print(os.environ == before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert run.stdout.strip() == "True", run.stderr


def test_choosing_changes_this_process(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    choose()
    assert {os.environ[name] for name in VARIABLES} == {"1"}
    for name in VARIABLES:
        monkeypatch.delenv(name)
