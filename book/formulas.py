"""Formulas as MathML, which browsers draw by themselves: for slides and for the site."""

import re
import unicodedata

from book.chapters import TAG

# What latex2mathml writes out as it stands or sets badly, in words that it knows.
UNKNOWN = {"\\|": "‖", r"\arg": r"\operatorname{arg}", "{aligned}": "{split}", "''": r"^{\prime\prime}"}


def untagged(tex: str) -> tuple[str, str]:
    """A displayed formula without its `\\tag{…}`, and what stands in it, "" where there is none."""
    number = TAG.search(tex)
    return TAG.sub("", tex), number[1] if number else ""


def mathml(tex: str, display: str = "inline") -> str:
    """TeX as MathML.  Browsers know no letters of two strokes or of script by their markup: these are given
    as the characters that they are.
    """
    from latex2mathml.converter import convert

    for have, want in UNKNOWN.items():
        tex = tex.replace(have, want)
    tex = re.sub(r"\\(log|exp)(?=\s*(?:\w|\\[a-z]))(?!\s*\\(?:big|left))", r"\\\1\\,", tex)  # a thin space

    def letter(found):
        name = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT"}[found[1]] + f" CAPITAL {found[2]}"
        for full in (name, f"MATHEMATICAL {name}"):
            try:
                return f"<mi>{unicodedata.lookup(full)}</mi>"
            except KeyError:
                continue
        return found[0]

    return re.sub(
        r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>', letter, convert(tex, display=display)
    )
