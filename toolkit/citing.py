"""The BibTeX entry of a sampler's paper: the command `toolkit cite NAME`."""

import re
import sys
from difflib import get_close_matches
from pathlib import Path

from toolkit.sampling import every_sampler

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")


def entries() -> dict[str, str]:
    """Key -> BibTeX text of each entry of references.bib, a line for each field."""
    found = {}
    for text in re.split(r"^(?=@)", BIBLIOGRAPHY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        key = text[text.index("{") + 1 : text.index(",")]
        fields = re.sub(r",\s+(?=\w+ = \{)", ",\n  ", text.strip().removesuffix("}"))
        found[key] = f"{fields}\n}}"
    return found


def entry(name: str) -> str:
    """The BibTeX text for a sampler's name, such as "dpmpp_2m".

    ValueError for an unknown name, with those that are close to it.
    """
    samplers = every_sampler()
    if name not in samplers:
        close = get_close_matches(name, samplers, n=3)
        hint = f"; did you mean {' or '.join(close)}" if close else f"; there are {', '.join(samplers)}"
        raise ValueError(f"no sampler is called {name!r}{hint}")
    return entries()[samplers[name].cite]


def cite(name: str):
    """Print the BibTeX entry of the paper of the sampler NAME."""
    try:
        print(entry(name))
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
