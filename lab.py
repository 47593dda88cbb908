"""The book on any machine, without make and without a shell of a certain kind:

    python lab.py            make the environment once, then open JupyterLab at the first chapter
    python lab.py test       run everything that must hold: tests, chapters, exercises
    python lab.py help       the other words

On some machines Python is called python3, or py. This file is also read by a Python that is too old, which it
tells so: hence the old ways of writing here. What it starts is book/starting.py.
"""

import sys

OLDEST = (3, 11)

if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit(
            "Python %d.%d or newer is needed, and this is %d.%d: install one, and run lab.py with it"
            % (OLDEST + tuple(sys.version_info[:2]))
        )
    from book import starting

    sys.exit(starting.main(sys.argv[1:]))
