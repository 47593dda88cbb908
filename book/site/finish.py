"""A page's last touch, on the HTML of its main part: references become links, links to notebooks become
links to pages, and tables and pictures are made fit for every reader.

The HTML is cut at its tags and not built anew, so that what is not touched stays as it was to the byte.
"""

import html
import posixpath
import re

TAG = re.compile(
    r"(?s)(<!--.*?-->|<script\b.*?</script>|<style\b.*?</style>|<math\b.*?</math>|<svg\b.*?</svg>"
    r"""|<[a-zA-Z/](?:[^>"']|"[^"]*"|'[^']*')*>)"""
)
# Within these a reference stays words: it is a link already, or is code, or a heading.
CLOSED = {"a", "code", "pre", "h1", "h2", "h3", "h4", "summary", "button", "label", "select", "textarea"}
# What a page links to and a browser should show as it stands: it lies beside the pages as NAME.txt.
FILES = ["LICENSE", "LICENSE-TEXT", "CITATION.cff", "lab.py", "docs/github-classroom.yml"]
INLINE = {"a", "b", "code", "em", "i", "math", "span", "strong", "sub", "sup", "tt"}  # a sentence goes on


def page(body: str, name: str, sources) -> str:
    """The main part of a page, finished.  name: of the page, without ending. sources: `sources.Sources`."""
    return _Page(name, sources).finished(body)


class _Page:
    """A page, read tag by tag."""

    def __init__(self, name, sources):
        self.name, self.sources = name, sources
        self.closed = []  # the open elements of CLOSED
        self.said = ""  # the text of the paragraph so far

    def finished(self, body):
        body = re.sub(r"<th\b[^>]*>\s*(?:<p>\s*</p>\s*)?</th>", "<td></td>", body)  # heads nothing
        pieces = TAG.split(body)
        for i, piece in enumerate(pieces):
            if i % 2:
                pieces[i] = self.tag(piece)
            else:
                if not self.closed:
                    pieces[i] = references(piece, self.name, self.sources.targets, self.said)
                self.said += html.unescape(piece)
        return "".join(pieces)

    def tag(self, tag):
        found = re.match(r"<(/?)(\w+)", tag)
        if not found:
            return tag
        end, element = found.groups()
        if element not in INLINE:
            self.said = ""
        if element in CLOSED:
            self.closed.pop() if end and self.closed else self.closed.append(element)
        if element == "table":
            return f"{tag}</div>" if end else f'<div class="table-wrapper">{tag}'
        if element == "a" and not end and " download" not in tag:
            return re.sub(r'(\bhref=")([^"]*)(")', lambda m: m[1] + address(m[2], self.name) + m[3], tag)
        if element == "th" and "scope=" not in tag and not end:
            return tag.replace("<th", '<th scope="col"', 1)
        if element == "img":
            return _picture(tag, self.sources.pictures)
        return tag


def _picture(tag, pictures):
    """A picture of a notebook with what is to be seen in it, and its size, which keeps its place free while
    it is not yet loaded."""
    digest = re.search(r'src="[^"]*?(\w+)\.png"', tag)
    if digest and digest[1] in pictures:
        alt, width, height = pictures[digest[1]]
        tag = re.sub(r'\s(?:alt|style)="[^"]*"', "", tag)
        size = f'width="{width}" height="{height}"'
        tag = tag.replace("<img", f'<img alt="{html.escape(alt)}" {size} loading="lazy"', 1)
    return tag


# --- links ----------------------------------------------------------------------------------------------


def address(href: str, name: str) -> str:
    """A link as it stands in a notebook or guide on the page `name`, as a link of the site."""
    path, _, fragment = href.partition("#")
    if posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) in FILES:
        return f"{path}.txt"
    if re.match(r"[a-z]+:", href) or not path.endswith((".ipynb", ".md")):
        return href.replace("#cell-id=", "#cell-")
    path = re.sub(r"\bREADME\.html$", "index.html", path.rpartition(".")[0] + ".html")
    return path + ("#" + fragment.replace("cell-id=", "cell-") if fragment else "")


def relative(target: str, name: str) -> str:
    """The address of a target ("chapters/01_ddpm.html#eq-1-2"), from the page `name` ("chapters/02_ddim")."""
    path, mark, fragment = target.partition("#")
    if path == f"{name}.html" and fragment:
        return mark + fragment
    return posixpath.relpath(path, posixpath.dirname(name) or ".") + mark + fragment


# --- references by number -------------------------------------------------------------------------------

NUMBER = r"\d{1,2}\.\d{1,2}(?![\d]|\.\d)"
CHAPTER = r"\d[a-d]?(?!\w|\.\d)"
LIST = r"{0}(?:(?:, (?:and |or )?| and | to | or ){0})*"
NUMBERS = LIST.format(NUMBER)
REFERENCE = re.compile(
    rf"(?P<section>\b[Ss]ections? {NUMBERS})|(?P<task>\b[Tt]asks? {NUMBERS})"
    rf"|(?P<chapter>\b[Cc]hapters? {LIST.format(CHAPTER)})|(?P<eq>\({NUMBERS}\))"
    rf"|(?P<equation>\b[Ee]quations? {NUMBERS})"
)
# What stands before a section of another text: its letter, its year, whose it is, a comma after its name.
OTHERS = re.compile(
    r"(?:\b[TBPSI]\b|\d{4}[a-z]?\b|\b(?:their|whose|paper|tutorial|summary|[Ss]urvey|textbook|post)\b)"
    r"[^.;:]{0,24}$|(?<!\d), \(?$|“[^”]*$"
)


def references(text: str, name: str, targets, said: str = "") -> str:
    """Text with the references to numbered things as links, where they are this book's.

    name: of the page. targets: as of `targets.targets`. said: what stands before it in its paragraph.
    """

    def linked(found):
        kind, before = found.lastgroup, (said + text[: found.start()])
        if kind == "eq":
            kind = _in_brackets(found[0], before, name)
        elif _of_others(kind, before, text[found.end() :]):
            kind = None
        if not kind:
            return found[0]
        kind = "eq" if kind == "equation" else kind
        number = CHAPTER if kind == "chapter" else NUMBER
        return re.sub(number, lambda one: _link(kind, one[0], name, targets), found[0])

    return REFERENCE.sub(linked, text)


def _in_brackets(found, before, name):
    """What numbers in brackets are: of sections where they are a range or the header tells what is for later,
    else of equations; those that may be measured values, or another text's, are nothing."""
    if "is for later" in before or " to " in found:
        return "section"
    called = re.search(r"\b[Ee]q(?:s\.|\.|uations?)(?: \([\d.]+\)(?:,| and| to| or))* $", before)
    doubtful = found.startswith("(0.") or name.startswith("chapters/A_") or name.startswith("reference/")
    return "eq" if called or not doubtful else None


def _of_others(kind, before, after):
    if kind in ("section", "equation"):
        return bool(OTHERS.search(before) or re.match(r" of (?!(?:this|chapter)\b)", after))
    return kind == "chapter" and bool(re.search(r"textbook's $|\"$", before) or after.startswith(" of 14"))


def _link(kind, number, name, targets):
    target = targets.get((kind, number))
    return f'<a class="reference" href="{relative(target, name)}">{number}</a>' if target else number
