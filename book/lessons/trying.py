"""For the cells of an exercise that use a student's answer: they run before there is one, too."""

from __future__ import annotations

from book.lessons.task import is_stub


def attempt(measure, *values):
    """measure(*values), or a line in its place while an answer that it needs is still the stub."""
    try:
        return measure(*values)
    except NotImplementedError as error:
        if not is_stub(str(error)):
            raise
    except TypeError as error:  # a stub that is a value is `...`
        if "ellipsis" not in str(error):
            raise
    print("Nothing to measure yet.")


def look(draw, *values, alt: str):
    """The picture of the axes that draw(*values) returns, or a line in its place while `draw` is the stub.

    alt: what the picture shows, for who cannot see it.
    """
    from book.plots import Picture

    try:
        axes = draw(*values)
    except NotImplementedError as error:
        if not is_stub(str(error)):
            raise
        print("No figure yet.")
    else:
        return Picture(axes.figure, alt)
