"""The playground: a page in plain JavaScript on which the book's samplers run without a kernel or a network.

`write(folder)` makes it: the files of `page/` as they are, and beside them what the toolkit and the book know
and the page must not say a second time:

    data.js       the samplers' promises and options, the menus of schedules and grids, the mixtures
    weights.js    the digits' network
    picture.png   what a reader without JavaScript sees

The scripts are classic ones, in the order of `SCRIPTS`, so that the page opens from a file system:

    arrays ← noise, schedules ← grids ← models ← equation ← exponential ← samplers ← problems ← drawing ← page

`tests/book/site/test_playground.py` runs them beside the toolkit.
"""

from book.site.playground.building import SCRIPTS, write

__all__ = ["SCRIPTS", "write"]
