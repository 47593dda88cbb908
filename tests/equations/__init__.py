"""Checks of the book's numbered equations, one function each.

A chapter writes ``<!-- eq:ddpm.posterior -->`` before the display that ends in ``\\tag{1.3}``; a module of
this folder named like the chapter's (here ``ddpm.py``) holds its check::

    from . import equation

    @equation("ddpm.posterior")
    def posterior():
        assert ...          # symbolic with sympy, or numeric in float64

``test_equations.py`` demands that every equation has a check and every check an equation, and runs each.
"""

import pkgutil
from importlib import import_module

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
    """All checks: slug -> function, from every module of this folder."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("test_"):
            import_module(f"{__name__}.{module.name}")
    return CHECKS
