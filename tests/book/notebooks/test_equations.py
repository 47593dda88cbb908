"""No numbered equation without a check, no check without an equation."""

import re
from pathlib import Path

import pytest

from book.chapters import MARKER, TAG, number, read
from tests.book.notebooks.equations import collected

ROOT = Path(__file__).resolve().parents[3]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
CHECKS = collected()
EITHER = re.compile(f"(?:{MARKER.pattern})|(?:{TAG.pattern})")


def found(path):
    """``[(slug or None, tag or None, cell id)]``: each marker with the \\tag that follows it, in order."""
    pairs = []
    for cell in read(path).cells:
        if cell.cell_type != "markdown":
            continue
        slug = None
        for match in EITHER.finditer(cell.source):
            if match[1]:
                if slug:
                    pairs.append((slug, None, cell.id))
                slug = match[1]
            else:
                pairs.append((slug, match[2], cell.id))
                slug = None
        if slug:
            pairs.append((slug, None, cell.id))
    return pairs


@pytest.mark.parametrize("number", sorted({number(path) for path in CHAPTERS} - {None}))
def test_every_tag_has_its_marker_and_number(number):
    """The numbers run on through the notebooks of a chapter: `03_sde_ode`, then `03b_solvers`."""
    pairs = [pair for path in CHAPTERS if path.stem.startswith(number) for pair in found(path)]
    for slug, tag, cell in pairs:
        assert slug, f"equation ({tag}) in cell {cell} has no <!-- eq:… --> before it"
        assert tag, f"the marker eq:{slug} in cell {cell} has no \\tag{{…}} after it"
    assert [tag for _, tag, _ in pairs] == [f"{int(number)}.{k}" for k in range(1, len(pairs) + 1)], (
        "equations are numbered in order"
    )


def test_markers_are_unique_over_the_book():
    slugs = [slug for path in CHAPTERS for slug, _, _ in found(path)]
    assert sorted(slugs) == sorted(set(slugs))


def test_every_equation_has_a_check_and_every_check_an_equation():
    slugs = {slug for path in CHAPTERS for slug, _, _ in found(path)}
    assert slugs - set(CHECKS) == set(), "equations without a check in tests/chNN/equations.py"
    assert set(CHECKS) - slugs == set(), "checks without an equation in chapters/"


@pytest.mark.parametrize("slug", sorted(CHECKS))
def test_equation(slug):
    CHECKS[slug]()
