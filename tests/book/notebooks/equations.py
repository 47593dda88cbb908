"""Checks of the book's numbered equations, one function each.

A chapter writes ``<!-- eq:ddpm.posterior -->`` before the display that ends in ``\\tag{1.3}``; the module
``equations.py`` of its folder of tests (here ``tests/ch01``) holds its check::

    from tests.book.notebooks.equations import equation

    @equation("ddpm.posterior")
    def posterior():
        assert ...          # symbolic with sympy, or numeric in float64

``test_equations.py`` demands that every equation has a check and every check an equation, and runs each.
"""

from importlib import import_module
from pathlib import Path

CHECKS = {}


def equation(slug):
    """Register the decorated function, without arguments, as the check of the equation ``slug``."""

    def add(check):
        if slug in CHECKS:
            raise ValueError(
                f"the equation {slug!r} has two checks: {CHECKS[slug].__name__} and {check.__name__}."
            )
        CHECKS[slug] = check
        return check

    return add


def collected():
    """All checks: slug -> function, from `equations.py` of every chapter's folder of tests."""
    for path in sorted(Path(__file__).parents[2].glob("ch[0-9][0-9]/equations.py")):
        import_module(f"tests.{path.parent.name}.equations")
    return CHECKS
