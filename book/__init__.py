"""What makes the book: its pictures, widgets, claims, lessons and grading; a folder `chNN` for each chapter.

In a notebook: `from book import check, progress, explore`.  Names are loaded on first use, so that the
command line and the pytest plugin do not pay for torch or matplotlib.
"""

from importlib import import_module

_HOME = {
    **dict.fromkeys(["check", "judge"], "lessons.checking"),
    **dict.fromkeys(["attempt", "look"], "lessons.trying"),
    "progress": "lessons.widget",
    "hunt": "lessons.hunting",
    **dict.fromkeys(["Choice", "Slider", "explore"], "widgets"),
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"book.{_HOME[name]}"), name)
    raise AttributeError(f"module 'book' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME})
