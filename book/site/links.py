"""The check of the finished site: every link, anchor, script, style and picture is there, and none needs a
network.
"""

import html
import posixpath
import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

TAG = re.compile(r"""<([a-zA-Z][\w-]*)((?:[^>"']|"[^"]*"|'[^']*')*)>""")
ATTRIBUTE = re.compile(r"""([\w:-]+)=(?:"([^"]*)"|'([^']*)')""")
# What is not looked into: the text of scripts, and of formulas, which have no links.
HIDDEN = re.compile(r"(?s)<!--.*?-->|(<script\b[^>]*>).*?</script>|<math\b.*?</math>|<style\b.*?</style>")
OUTWARD = re.compile(r"(?:https?:)?//|mailto:")
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("use", "href")}
LOADING = {"stylesheet", "preload", "icon", "modulepreload", "prefetch"}  # of <link>


def problems(folder) -> list[str]:
    """What is wrong with the pages of a folder, a sentence each that names the page and what is missing."""
    folder = Path(folder)
    found = []
    for path in sorted(folder.rglob("*.html")):
        page = path.relative_to(folder).as_posix()
        ids, uses = _read(path)
        found += [f"{page}: the id {one} is there twice" for one, n in Counter(ids).items() if n > 1]
        for element, href, loads in uses:
            if wrong := _wrong(folder, page, href, loads):
                found.append(f"{page}: <{element}> {wrong}")
    for path in sorted(folder.rglob("*.css")):
        style = path.relative_to(folder).as_posix()
        for url in re.findall(r"""url\(\s*["']?([^"')]+)""", path.read_text(encoding="utf-8")):
            if wrong := _wrong(folder, style, url, True):
                found.append(f"{style}: {wrong}")
    return found


@cache
def _read(path):
    """The ids of a page, and ``(element, address, whether it is loaded with the page)`` of each use."""
    ids, uses = [], []
    for element, inside in TAG.findall(HIDDEN.sub(lambda m: m[1] or "", path.read_text(encoding="utf-8"))):
        given = {key: html.unescape(a or b) for key, a, b in ATTRIBUTE.findall(inside)}
        if "id" in given:
            ids.append(given["id"])
        loads = bool(LOADING & set(given.get("rel", "").split()))
        for key in ("href", "src"):
            if key in given:
                uses.append((element, given[key], loads or (element, key) in LOADED))
    return ids, uses


def _wrong(folder, page, href, loads):
    """What is wrong with an address on a page; nothing: None."""
    if OUTWARD.match(href):
        return f"loads {href} from a network" if loads else None
    if href.startswith(("data:", "javascript:")):
        return None
    path, _, fragment = unquote(href).partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path.split("?")[0])) if path else page
    if not (folder / target).is_file():
        return f"points at {href}, and there is no such file"
    if fragment and target.endswith(".html") and fragment not in _read(folder / target)[0]:
        return f"points at {href}, and {target} has no anchor {fragment}"
    return None
