"""What the pages are made of, written as a folder that Sphinx reads: the project's own files in their places,
so that a link from one to another is the same link there, and the lists that are made by code.
"""

import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from book import chapters
from book.site import finish, lists, notebooks, playground, reference, states, targets

GUIDES = {  # by group: texts that stand in the repository as they are
    "For courses": ["INSTRUCTORS", "docs/grading"],
    "The project": ["docs/toolkit", "docs/machines", "docs/divergences", "CONTRIBUTING", "CHANGELOG"],
}


@dataclass
class Sources:
    """The folder's pages by group, in the navigation's order; what its text can point at; the notebooks'
    pictures, by their SHA-256: alt text, width and height."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    targets: dict[tuple[str, str], str] = field(default_factory=dict)
    pictures: dict[str, tuple[str, int, int]] = field(default_factory=dict)


PLAYGROUND = """# Playground

[Open the playground](playground/index.html): the samplers of this book, live on a page of its own. Choose
the data, the sampler, the grid and the number of calls, go step by step, and see the error. It needs no
kernel and no network.
"""


def write(root: Path, folder: Path, out: Path, report) -> Sources:
    """Write the sources of all pages into `folder`; what is no page goes into `out`.

    report: gets a sentence for each widget that is shown as a still picture.
    """
    found = Sources(targets=targets.targets(root))
    alive = partial(states.widgets, folder=out / "states", address="../states", report=report)
    found.groups["Chapters"] = _notebooks(root, folder, "chapters", found, alive)
    found.groups["Exercises"] = _notebooks(root, folder, "exercises", found, lambda path: {})
    playground.write(out / "playground")
    (folder / "playground.md").write_text(PLAYGROUND, encoding="utf-8")
    found.groups["Alive"] = ["playground"]
    for name in sum(GUIDES.values(), []):
        _copy(root, folder, f"{name}.md")
    for path in (*root.glob("docs/*.png"), *root.glob("docs/badges/*.svg")):
        _copy(root, folder, path.relative_to(root))
    made = lists.pages(root, found.targets) | reference.pages()
    (folder / "reference").mkdir()
    for name, text in made.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    found.groups["To look up"] = [name for name in made if "/" not in name] + ["reference/index"]
    found.groups |= GUIDES
    (folder / "index.md").write_text(_index(root, found.groups), encoding="utf-8")
    return found


def copy_files(root: Path, out: Path) -> None:
    """Copy what is linked to and is no page: texts as they stand, and the exercises to work on."""
    for name in finish.FILES:
        shutil.copyfile(root / name, out / f"{name}.txt")
    for path in root.glob("exercises/*.ipynb"):
        shutil.copyfile(path, out / "exercises" / path.name)


def _copy(root, folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / name, folder / name)


def _notebooks(root, folder, kind, found, widgets):
    """The notebooks of one folder, as the site shows them; their pages' names."""
    (folder / kind).mkdir(parents=True)
    paths = sorted((root / kind).glob("*.ipynb"))
    linked = set().union(*(notebooks.linked_cells(p.read_text(encoding="utf-8")) for p in
                           [*root.glob("chapters/*.ipynb"), *root.glob("exercises/*.ipynb")]))  # fmt: skip
    for path in paths:
        notebook = chapters.read(path)
        found.pictures |= notebooks.pictures(notebook)
        exercise = path.name if kind == "exercises" else ""
        made = notebooks.prepared(notebook, linked, widgets(path), exercise)
        (folder / kind / path.name).write_text(chapters.dumps(made), encoding="utf-8")
    return [f"{kind}/{path.stem}" for path in paths]


def _index(root, groups):
    """The front page: the README, and the navigation, which the theme shows at the side."""
    trees = [f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
             for caption, pages in groups.items()]  # fmt: skip
    return "\n".join([(root / "README.md").read_text(encoding="utf-8"), *trees])
