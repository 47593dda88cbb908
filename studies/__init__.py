"""What takes minutes or hours and is done once: it writes `toolkit/weights/` and `book/chNN/recorded/`.

Each is run from the root of the repository, as `python -m studies.NAME`.
"""

from book import threads

threads.choose()  # before a study imports torch
