"""The project's own files agree with each other."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["test"]]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_pin_every_dependency_inside_its_range():
    pins = {name.lower(): version for name, version in constraints().items()}
    for requirement in NEEDED:
        assert pins[requirement.name.lower()] in requirement.specifier, requirement.name
    assert all(Version(version).local is None for version in pins.values())


def test_conda_environment_has_the_same_ranges():
    yaml = pytest.importorskip("yaml")
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = dict((line.split(" ", 1) + [""])[:2] for line in listed if isinstance(line, str))
    pip = {r.name: str(r.specifier) for r in map(Requirement, listed[-1]["pip"][:-1])}
    assert conda.pop("python") == PROJECT["requires-python"]
    conda.pop("pip")
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in NEEDED}
    got = {name: Requirement(f"x{given}").specifier for name, given in (conda | pip).items()}
    assert got == wanted
    assert listed[-1]["pip"][-1] == "--editable .[book,test]"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_pictures_of_the_pages(name):
    text = (ROOT / name).read_text()
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    assert not [t for t in targets if not (ROOT / t).exists()]
    assert all(len(alt.split()) >= 5 for alt in re.findall(r"!\[([^\]]*)\]", text))


def test_every_divergence_names_its_test():
    """Each row of docs/divergences.md ends with the names of tests that stand in one of its two files."""
    rows = [line for line in (ROOT / "docs/divergences.md").read_text().splitlines() if line.startswith("| ")]
    files = [ROOT / "tests/toolkit" / name for name in ("test_peers_dpm.py", "test_published_slips.py")]
    defined = set(re.findall(r"(?m)^def (test_\w+)", "".join(file.read_text() for file in files)))
    rows = [row for row in rows if not row.startswith("| id ")]
    assert len(rows) >= 17
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.rstrip(" |").rpartition(" | ")[2])
        assert named and set(named) <= defined, row


@pytest.mark.parametrize(
    ("number", "prints"),
    [(0, "torch.Size([500, 2]) 20"), (1, "torch.Size([4, 1, 8, 8]) torch.Size([4, 1, 8, 8])")],
    ids=["the toolkit", "with diffusers"],
)
def test_the_code_on_the_front_page_runs(number, prints, capsys):
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert len(codes) == 2
    if "diffusers" in codes[number]:
        pytest.importorskip("diffusers")
    with torch.random.fork_rng([]):  # an untrained network of diffusers is drawn from the global state
        exec(compile(codes[number], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == prints


def test_the_command_on_the_front_page_is_one():
    from toolkit.draw import SHIPPED, command_line

    (line,) = re.findall(r"-m toolkit\.draw (.*)", (ROOT / "README.md").read_text())
    given = command_line().parse_args(line.split())
    assert given.network in SHIPPED and given.samples == 50000


def test_every_package_takes_the_oldest_python_that_we_declare():
    """A pin that needs a newer one would break `make lab` there, and nothing here would show it."""
    from importlib.metadata import distributions

    from packaging.specifiers import SpecifierSet

    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    # `get`: once another test has imported importlib_metadata, its distributions come, and these raise.
    needs = {d.name: d.metadata.get("Requires-Python") for d in distributions()}
    assert not {name: spec for name, spec in needs.items() if spec and oldest not in SpecifierSet(spec)}


def test_the_figures_on_grading_are_those_of_the_benchmark():
    found = json.loads((ROOT / "benchmarks/results/amd-epyc-2-cores-grading.json").read_text("utf8"))
    page = (ROOT / "docs/grading.md").read_text("utf8")
    rows = dict(re.findall(r"^\| (0\d)[^|]* (\|.*)\|$", page, re.MULTILINE))
    assert {f"lesson {lesson}" for lesson in rows} == {name for name in found if name.startswith("lesson")}
    for lesson, row in rows.items():
        one = found[f"lesson {lesson}"]
        measured = (one["nbgrader_s_each"], one["toolkit_s_each"], one["ratio"])
        for shown, number in zip(row.strip("| ").split("|"), measured, strict=True):
            assert float(shown) == pytest.approx(number, rel=0.03)
    seconds = [run["seconds"] for run in found["large class"]["runs"] if run["workers"] == 2]
    told = re.search(r"ten of them hostile, take (\d+) s", page)
    assert min(seconds) - 1 <= int(told[1]) <= max(seconds) + 1
