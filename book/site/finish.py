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


def page(body: str, name: str, sources) -> str:
    """The main part of a page, finished.  name: of the page, without ending. sources: `sources.Sources`."""
    pieces, closed = TAG.split(body), []
    for i, piece in enumerate(pieces):
        if i % 2:
            pieces[i] = _tag(piece, name, sources, closed)
        elif not closed:
            pieces[i] = references(piece, name, sources.targets)
    return "".join(pieces)


def _tag(tag, name, sources, closed):
    """A tag as it is to be written; `closed` are the open elements in which references stay words."""
    found = re.match(r"<(/?)(\w+)", tag)
    if not found:
        return tag
    end, element = found.groups()
    if element in CLOSED:
        closed.pop() if end and closed else closed.append(element)
    if end:
        return tag
    if element == "a":
        return re.sub(r'(\bhref=")([^"]*)(")', lambda m: m[1] + address(m[2], name) + m[3], tag)
    if element == "img":
        return _picture(tag, sources.alts)
    return tag


def _picture(tag, alts):
    digest = re.search(r'src="[^"]*?(\w+)\.png"', tag)
    if digest and digest[1] in alts:
        tag = re.sub(r'\salt="[^"]*"', "", tag)
        tag = tag.replace("<img", f'<img alt="{html.escape(alts[digest[1]])}" loading="lazy"', 1)
    return tag


# --- links ----------------------------------------------------------------------------------------------


def address(href: str, name: str) -> str:
    """A link as it stands in a notebook or guide, as a link of the site."""
    if re.match(r"[a-z]+:|#", href):
        return href
    path, _, fragment = href.partition("#")
    if path.endswith((".ipynb", ".md")):
        path = path.rpartition(".")[0] + ".html"
        path = re.sub(r"\bREADME\.html$", "index.html", path)
    fragment = fragment.replace("cell-id=", "cell-")
    return path + ("#" + fragment if fragment else "")


def relative(target: str, name: str) -> str:
    """The address of a target, from the page of this name."""
    path, mark, fragment = target.partition("#")
    if path == f"{name}.html":
        return mark + fragment or path
    return posixpath.relpath(path, posixpath.dirname(name) or ".") + mark + fragment


NUMBER = r"\d{1,2}\.\d+(?![\d]|\.\d)"
LIST = r"{0}(?:(?:, (?:and |or )?| and | to | or ){0})*"
REFERENCE = re.compile(
    rf"(?P<section>\b[Ss]ections? {LIST.format(NUMBER)})|(?P<task>\b[Tt]asks? {LIST.format(NUMBER)})"
    rf"|(?P<chapter>\b[Cc]hapters? {LIST.format('[0-9][a-d]?(?![0-9a-z])')})|(?P<eq>\({NUMBER}\))"
)


def references(text: str, name: str, targets) -> str:
    """Text with the references to numbered things as links, where they are this book's."""

    def linked(found):
        kind = found.lastgroup
        number = r"\d[a-d]?" if kind == "chapter" else NUMBER

        def link(one):
            target = targets.get((kind, one[0]))
            return f'<a class="reference" href="{relative(target, name)}">{one[0]}</a>' if target else one[0]

        return re.sub(number, link, found[0])

    return REFERENCE.sub(linked, text)
