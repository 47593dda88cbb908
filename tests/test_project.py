"""The project's own files agree with each other."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
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


def test_every_package_of_an_extra_has_a_range():
    """Of each: what is the oldest that does."""
    every = [Requirement(text) for extra in EXTRAS.values() for text in extra]
    assert all(any(part.operator in (">=", "==") for part in r.specifier) for r in every)
    names = {r.name for r in NEEDED}
    assert {r.name for r in every} <= names, "an extra that `make lab` and conda's environment leave out"
    assert all(r in NEEDED for r in every), "one package with two ranges"


def test_conda_environment_has_the_same_ranges():
    yaml = pytest.importorskip("yaml")
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    lines = [line.split(" ", 1) for line in listed if isinstance(line, str)]
    conda = {name: Requirement(f"x{''.join(given)}").specifier for name, *given in lines}
    assert len(conda) == len(lines) and all(len(line) == 2 for line in lines if line != ["pip"])
    *by_pip, ours = listed[-1]["pip"]
    pip = {r.name: r.specifier for r in map(Requirement, by_pip)}
    assert ours == "--editable .[book,test]"
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    conda.pop("pip")
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in NEEDED}
    assert not set(conda) & set(pip) and conda | pip == wanted


def test_one_version_everywhere():
    """pyproject.toml has it; a citation, the changelog's newest edition and the extension say the same."""
    version = PROJECT["version"]
    cited = re.search(r"(?m)^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf8"))[1]
    edition = re.search(r"(?m)^## .*?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf8"))[1]
    extension = json.loads((ROOT / "book/labextension/package.json").read_text("utf8"))["version"]
    assert cited == edition == extension == version
    released = re.search(r"(?m)^date-released: (\S+)$", (ROOT / "CITATION.cff").read_text("utf8"))[1]
    assert f"{version}, {released}" in (ROOT / "CHANGELOG.md").read_text("utf8")


def test_all_of_the_extension_is_installed_where_jupyterlab_looks():
    folder = ROOT / "book" / "labextension"
    package = json.loads((folder / "package.json").read_text("utf8"))
    given = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["setuptools"]["data-files"]
    there = f"share/jupyter/labextensions/{package['name']}"
    found = [(to, path) for to, globs in given.items() for one in globs for path in ROOT.glob(one)]
    installed = {f"{to}/{path.name}": path for to, path in found}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert installed == {f"{there}/{path.relative_to(folder).as_posix()}": path for path in files}
    load = package["jupyterlab"]["_build"]["load"]
    assert f'const NAME = "{package["name"]}";' in (folder / load).read_text("utf8")


def test_an_editable_installation_brings_the_extension_too(tmp_path):
    """setuptools leaves data files out of one, unless setup.py has its way."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "LICENSE-TEXT", "book/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "book/labextension", tmp_path / "book/labextension")
    code = "from setuptools import build_meta; print(build_meta.build_editable('.'))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with zipfile.ZipFile(tmp_path / run.stdout.split()[-1]) as wheel:
        names = [name for name in wheel.namelist() if ".data/data/share/jupyter/labextensions/" in name]
    assert {Path(name).name for name in names} == {"package.json", "remoteEntry.js"}


PAGES = [path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]]


@pytest.mark.parametrize("name", PAGES)
def test_links_and_pictures_of_the_pages(name):
    text = (ROOT / name).read_text("utf8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    assert not [t for t in targets if not ((ROOT / name).parent / t).exists()]
    assert all(len(alt.split()) >= 5 for alt in re.findall(r"!\[([^\]]*)\]", text))


def test_the_front_page_leads_to_every_other_one():
    text = (ROOT / "README.md").read_text("utf8")
    assert not [name for name in PAGES if name != "README.md" and f"]({name})" not in text]
    assert not [path.name for path in ROOT.glob("chapters/*.ipynb") if f"](chapters/{path.name})" not in text]


def test_the_front_page_is_short():
    """A newcomer reads it in five minutes: what else there is to say stands on a page of its own."""
    assert len((ROOT / "README.md").read_text("utf8").split()) <= 1100


# --- other machines -------------------------------------------------------------------------------------


def test_binder_has_the_ranges_of_the_project_and_no_cuda():
    yaml = pytest.importorskip("yaml")
    listed = yaml.safe_load((ROOT / ".binder/environment.yml").read_text("utf8"))["dependencies"]
    given = dict((line.split(" ", 1) + [""])[:2] for line in listed)
    torch_range = next(r.specifier for r in NEEDED if r.name == "torch")
    assert Requirement(f"x{given.pop('pytorch-cpu')}").specifier == torch_range
    assert given == {"python": PROJECT["requires-python"], "pip": ""}
    build = ROOT / ".binder/postBuild"
    assert "--editable '.[book]'" in build.read_text("utf8") and os.access(build, os.X_OK)


def test_a_container_installs_by_the_same_command():
    made = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf8"))
    assert made["postCreateCommand"] == "python lab.py install"
    settings = made["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith("/.venv/bin/python")


def test_colab_s_notebook():
    notebook = nbformat.read(ROOT / "docs/colab.ipynb", 4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    packages = re.search(r"%pip install --quiet (.*)", code[0])[1].split()
    assert set(packages) <= {r.name for r in NEEDED}
    names = {}
    exec(compile(code[-1], "colab.ipynb", "exec"), names)
    assert names["draw"](3).png


def test_one_name_of_a_copy_on_github():
    """It stands in the badges and in Colab's notebook, to be put in the place of by the name of a copy."""
    texts = [(ROOT / name).read_text("utf8") for name in ("README.md", "docs/colab.ipynb")]
    hosts = r"mybinder\.org/v2/gh|research\.google\.com/github|codespaces\.new|github\.com"
    places = rf"(?:{hosts})/([\w.-]+/[\w.-]+)"
    assert len({name for text in texts for name in re.findall(places, text)}) == 1
    assert len(re.findall(places, texts[0])) == 3


@pytest.mark.parametrize("name", ["mistake", "bug", "course"])
def test_templates_of_issues(name):
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text("utf8"))
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) >= 3
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)


# --- what the pages say ---------------------------------------------------------------------------------


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
def test_the_code_on_the_toolkit_s_page_runs(number, prints, capsys):
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "docs/toolkit.md").read_text("utf8"), flags=re.S)
    assert len(codes) == 2
    if "diffusers" in codes[number]:
        pytest.importorskip("diffusers")
    with torch.random.fork_rng([]):  # an untrained network of diffusers is drawn from the global state
        exec(compile(codes[number], "toolkit.md", "exec"), {})
    assert capsys.readouterr().out.strip() == prints


def test_the_command_on_the_toolkit_s_page_is_one():
    from toolkit.draw import SHIPPED, command_line

    (line,) = re.findall(r"-m toolkit\.draw (.*)", (ROOT / "docs/toolkit.md").read_text("utf8"))
    given = command_line().parse_args(line.split())
    assert given.network in SHIPPED and given.samples == 50000


def test_the_commands_of_the_pages_are_there():
    """Every `python lab.py WORD` and `make WORD` that a page names."""
    from book.__main__ import COMMANDS
    from book.starting import USAGE

    ours = {word for line in USAGE.splitlines() for word in re.findall(r"lab\.py ([a-z]+)", line)}
    ours |= {"quick", "pytest", "notebooks", "help"}
    made = set(re.findall(r"(?m)^([a-z ]+):", (ROOT / "Makefile").read_text("utf8")))
    made = {word for words in made for word in words.split()}
    for name in PAGES:
        text = (ROOT / name).read_text("utf8")
        assert set(re.findall(r"python lab\.py ([a-z]+)", text)) <= ours | set(COMMANDS), name
        assert set(re.findall(r"`make ([a-z]+)", text)) <= made, name


def test_every_package_takes_the_oldest_python_that_we_declare():
    """A pin that needs a newer one would break `make lab` there, and nothing here would show it."""
    from importlib.metadata import distributions

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
