"""Glossary, notation, bibliography and errata, made of what the book holds, each from its one source."""

import html
import re
import tomllib
import unicodedata
from pathlib import Path

from book import chapters
from book.site import finish
from book.site.targets import name

GLOSSARY = Path(__file__).with_name("glossary.toml")
SYMBOLS = re.compile(r"(?m)^\| (?:symbol|word) \| meaning \|\n(?:\|.*\n?)+")
LETTERS = {"o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ss": "ß", "aa": "å", "AA": "Å", "ae": "æ", "i": "ı"}
ACCENTS = dict(zip("\"'`^~cv", "\u0308\u0301\u0300\u0302\u0303\u0327\u030c"))  # combining characters


def pages(root, targets) -> dict[str, str]:
    """Page name -> Markdown, or HTML within it."""
    notebooks = {name(path): chapters.read(path) for path in chapters.chapters(root)}
    return {
        "glossary": glossary(targets),
        "notation": notation(notebooks, targets),
        "bibliography": bibliography(notebooks, targets),
        "errata": errata(notebooks["A"]),
    }


# --- words ----------------------------------------------------------------------------------------------


def glossary(targets) -> str:
    """The terms of glossary.toml in alphabetical order, each with a link to where it is introduced.

    Raises BookError for a term whose section the book has not.
    """
    terms = tomllib.loads(GLOSSARY.read_text(encoding="utf-8"))["term"]
    lines = []
    for term in sorted(terms, key=lambda one: one["name"].casefold()):
        kind = "section" if "section" in term else "chapter"
        if (kind, term[kind]) not in targets:
            where = f"{kind} {term[kind]}, which is not there"
            raise chapters.BookError(GLOSSARY, [f"{term['name']} is introduced in {where}"])
        target = finish.relative(targets[kind, term[kind]], "glossary")
        lines.append(
            f'<dt id="term-{_slug(term["name"])}">{html.escape(term["name"])}</dt>\n'
            f'<dd>{html.escape(term["says"])} <a href="{target}">{kind.capitalize()} {term[kind]}</a></dd>'
        )
    return "# Glossary\n\nA word, what it means here, and where it is introduced.\n\n" + _listed(lines)


def _listed(lines, kind="terms"):
    return f'<dl class="{kind}">\n' + "\n".join(lines) + "\n</dl>\n"


def _slug(text):
    return re.sub(r"\W+", "-", text.casefold()).strip("-")


def notation(notebooks, targets) -> str:
    """The tables of symbols and words at the chapters' beginnings."""
    parts = [
        "# Notation",
        r"One notation throughout: $x_t=\alpha_tx_0+\sigma_t\varepsilon$, "
        r"$\lambda_t=\log(\alpha_t/\sigma_t)$. How seven other notations are translated into it, "
        "[chapter 0](chapters/00_start_here.ipynb) tells. "
        "What a chapter adds stands in the table at its beginning; here are these tables together.",
    ]
    for number, notebook in notebooks.items():
        title = notebook.cells[0].source.partition("\n")[0].removeprefix("# ")
        tables = SYMBOLS.findall("\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"))
        if tables:
            page = targets["chapter", number].removesuffix(".html") + ".ipynb"
            parts += [f"## Chapter {title}", *tables, f"From [chapter {number}]({page})."]
    return "\n\n".join(parts)


# --- papers ---------------------------------------------------------------------------------------------


def bibliography(notebooks, targets) -> str:
    """The entries of toolkit/references.bib by author, each with the chapters that cite it, and samplers."""
    from toolkit.citing import entries
    from toolkit.sampling import every_sampler

    texts = {number: _cited(notebook) for number, notebook in notebooks.items()}
    samplers = every_sampler()
    lines = []
    for key, fields in sorted(_fields(entries()).items(), key=lambda item: _order(item[1])):
        where = [
            f'<a href="{finish.relative(targets["chapter", number], "bibliography")}">{number}</a>'
            for number, text in texts.items()
            if _is_cited(fields, text)
        ]
        made = [one for one, sampler in samplers.items() if sampler.cite == key]
        told = [f"In chapter{'s' * (len(where) > 1)} {', '.join(where)}."] if where else []
        told += [f"Samplers: {', '.join(f'<code>{one}</code>' for one in made)}."] if made else []
        lines.append(f'<dt id="{key}">{_entry(fields)}</dt>\n<dd>{" ".join(told)}</dd>')
    head = "The papers that chapters and samplers cite. `toolkit cite NAME` prints the entry for a sampler."
    return f"# Bibliography\n\n{head}\n\n{_listed(lines, 'papers')}"


def _cited(notebook):
    """The text of a chapter, without punctuation, as titles are compared."""
    return _bare(" ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))


def _bare(text):
    return " ".join(re.sub(r"[^\w.]+", " ", text.casefold()).split())


def _is_cited(fields, text):
    if fields.get("eprint", "–") in text:
        return True
    return _bare(fields["title"]).rstrip(".") in text


def _fields(entries):
    """Key -> {field: its text}, accents and braces of BibTeX resolved."""
    found = {}
    for key, text in entries.items():
        pairs = re.findall(r"(\w+) = \{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", text)
        found[key] = {field: _plain(value) for field, value in pairs}
    return found


def _plain(tex):
    """BibTeX's text as characters."""
    tex = re.sub(r"\{?\\([\"'`^~cv])\s*\{?\\?(\w)\}?\}?", lambda m: m[2] + ACCENTS[m[1]], tex)
    tex = re.sub(r"\{?\\(ss|aa|AA|ae|[oOlLi])\b\s*\}?", lambda m: LETTERS[m[1]], tex)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", tex).replace("--", "–").replace(r"\&", "&"))


def _order(fields):
    return [unicodedata.normalize("NFD", fields["author"]).casefold(), fields["year"]]


def _entry(fields):
    """One line for an entry: authors, title, where, year, arXiv."""
    names = [" ".join(reversed(one.split(", ", 1))) for one in fields["author"].split(" and ")]
    names = ["others" if one == "others" else one for one in names]
    authors = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    place = fields.get("journal") or fields.get("booktitle") or fields.get("publisher")
    volume = " ".join(fields[key] for key in ("volume", "pages") if key in fields)
    where = ", ".join(part for part in (place, volume, fields["year"]) if part)
    if "eprint" in fields:
        where += f'. arXiv:<a href="https://arxiv.org/abs/{fields["eprint"]}">{fields["eprint"]}</a>'
    return f"{html.escape(authors)}. <i>{html.escape(fields['title'])}</i>. {where}."


# --- errata ---------------------------------------------------------------------------------------------


def errata(appendix) -> str:
    """The appendix's list of slips in the five texts, as a page of its own."""
    for cell in appendix.cells:
        if found := re.match(r"## (A\.\d+) Errata of prose[^\n]*\n", cell.source):
            table = cell.source[found.end() :].replace("](../", "](./")
            table = re.sub(r"\]\((?=\w+\.ipynb)", "](chapters/", table)
            return (
                "# Errata\n\nWhat of the five texts fails a test, [appendix A]"
                "(chapters/A_claims_tested.ipynb) tells section by section; slips of libraries stand in "
                "[divergences](docs/divergences.md). "
                f"Here is section {found[1]} of the appendix.\n\n{table}"
            )
    raise chapters.BookError("A_claims_tested.ipynb", ["has no section “Errata of prose”"])
