"""The old door to `book.lessons`, for exercises that were handed out before the book had its own package.

Nothing else in `toolkit` knows the book.
"""


def __getattr__(name):
    from book import lessons  # on first use: the samplers are installed without the book, too

    return getattr(lessons, name)
