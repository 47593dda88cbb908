"""What holds for every test: the same settings on every machine, nothing left behind for the next test, and a
last word on what was skipped and what would run it."""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.seeds import seed_of

# As `make test` sets them, for whoever runs pytest alone: one thread, no window, no progress bars.
SETTINGS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg", "TQDM_DISABLE": "1"}
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)


# --- nothing is left behind for the next test ---------------------------------------------------------------


def shared():
    """What one test could change for the others of its process, by name."""
    here = {"the current folder": os.getcwd(), "sys.path": tuple(sys.path)}
    ours = dict.fromkeys(("TOOLKIT_LESSONS", "TOOLKIT_STATE", "TOOLKIT_DEADLINE"))
    for name, value in (ours | dict(os.environ)).items():  # libraries, when first imported, add more
        if not name.startswith("PYTEST"):
            here[name] = value
    if torch := sys.modules.get("torch"):
        here["torch's default dtype"] = torch.get_default_dtype()
        here["torch's number of threads"] = torch.get_num_threads()
        here["whether torch keeps gradients"] = torch.is_grad_enabled()
    if matplotlib := sys.modules.get("matplotlib"):
        settings = dict.copy(matplotlib.rcParams)
        del settings["backend"]  # found on first use
        here["matplotlib's settings"] = settings
    for name in ("toolkit.sampling", "book.claims"):  # their registries only grow, as modules are imported
        if module := sys.modules.get(name):
            here |= {(name, key): id(one) for key, one in module.REGISTRY.items()}
    return here


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """A test that changes what its process shares gives it back; else the order of tests would matter."""
    before = shared()
    yield
    after = shared()
    assert not [what for what in before if before[what] != after.get(what)]


@pytest.fixture
def seed(request):
    """A seed of the test's own, another one for each of its cases: see tests/seeds.py."""
    return seed_of(request.node.nodeid.split("@")[0])  # without xdist's group, which names a folder


@pytest.fixture(autouse=True)
def pictures_need_no_colour(request, monkeypatch):
    """Every picture that a chapter's test draws can be read in grey and with every colour blindness."""
    if not re.fullmatch(r"ch\d\d", request.path.parent.name):
        yield
        return
    from book.plots import Picture
    from tests.colours import colour_alone

    made, begin = [], Picture.__init__

    def kept(self, *given, **named):
        begin(self, *given, **named)
        made.append(self)

    monkeypatch.setattr(Picture, "__init__", kept)
    yield
    assert not [said for one in made for said in colour_alone(one.fig)]


# --- what one process runs together -------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Under `--dist loadgroup` a file's tests run in one process, and a chapter's claims beside its figures:
    they use the same experiments, each of which is run once in a process. So do tests of the built site."""
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        claim = getattr(item, "callspec", None) and item.callspec.params.get("claim")
        chapter = f"ch{claim.chapter}" if claim else item.path.parent.name
        together = chapter if re.fullmatch(r"ch\d\d", chapter) else str(item.path)
        together = "site" if "site" in getattr(item, "fixturenames", ()) else together
        item.add_marker(pytest.mark.xdist_group(together))


# --- what was skipped, and what would run it ----------------------------------------------------------------

# In a reason to skip -> what to do.  The first that fits counts; other skips are no lack of this machine.
REMEDIES = {
    r"bubblewrap|namespaces": "of the sandbox: install bubblewrap, and let users make namespaces",
    r"Chromium": "of pages in a browser: install Chromium",
    r"GPU": "on a GPU: there is none",
    r"nbgrader": "beside nbgrader: `make test` installs it",
    r"could not import|is not installed|k-diffusion": "beside other libraries: `make test` installs them",
}


def pytest_addoption(parser):
    parser.addoption("--skipped-to", metavar="FILE", help="write the last words on skipped tests here, too")


def skipped(reports):
    """The last words: a line for each cause that something can be done about."""
    counts = Counter()
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        counts.update([next((what for words, what in REMEDIES.items() if re.search(words, reason)), "")])
    tests = {what: "1 test" if counts[what] == 1 else f"{counts[what]} tests" for what in REMEDIES.values()}
    return [f"Not run: {tests[what]} {what}." for what in REMEDIES.values() if counts[what]]


def pytest_terminal_summary(terminalreporter, config):
    lines = skipped(terminalreporter.stats.get("skipped", []))
    if lines:
        terminalreporter.section("what this machine lacks")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
    if path := config.getoption("--skipped-to"):
        Path(path).write_text("".join(f"{line}\n" for line in lines), "utf8")
