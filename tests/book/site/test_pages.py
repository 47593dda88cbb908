"""The built site holds the whole book: every page, formula, picture, output and reference, and no answer."""

import html
import re
from collections import Counter
from pathlib import Path

import pytest

from book import chapters
from book.site import finish, links, lists, notebooks, reference, states, targets
from toolkit import citing

ROOT = Path(__file__).resolve().parents[3]
CHAPTERS = chapters.chapters(ROOT)
EXERCISES = sorted((ROOT / "exercises").glob("*.ipynb"))
by_name = {"ids": lambda path: path.stem}
pytestmark = pytest.mark.slow


def shown(site, page):
    return (site / page).read_text(encoding="utf-8")


def article(site, page):
    """The main part of a page."""
    return re.search(r"(?s)<article\b.*?</article>", shown(site, page))[0]


def words(text):
    """Text as it is read: without tags, one blank between words."""
    return " ".join(html.unescape(re.sub(r"(?s)<[^>]*>", " ", text)).split())


def letters(text):
    """Text without tags and blanks: a link within it makes no difference."""
    shown = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", text)
    return "".join(html.unescape(re.sub(r"(?s)<[^>]*>", "", shown)).split())


def markdown(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


# --- what is there --------------------------------------------------------------------------------------


def test_every_part_of_the_book_has_a_page_that_the_front_page_leads_to(site):
    pages = [f"{path.parent.name}/{path.stem}" for path in (*CHAPTERS, *EXERCISES)]
    pages += ["INSTRUCTORS", "docs/grading", "docs/divergences", "CONTRIBUTING", "CHANGELOG"]
    pages += ["reference/index", "glossary", "notation", "bibliography", "errata"]
    front = shown(site, "index.html")
    for page in pages:
        assert (site / f"{page}.html").is_file() and f'href="{page}.html"' in front, page
    public = {path.stem for path in (ROOT / "toolkit").glob("[!_]*.py")}
    there = {path.stem.removeprefix("toolkit.") for path in (site / "reference").glob("toolkit.*.html")}
    assert there == public


def test_no_link_is_broken_and_nothing_comes_from_a_network(site):
    assert links.problems(site) == []


def test_every_page_has_one_title_a_language_and_a_way_past_the_navigation(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert len(re.findall(r"<h1\b", text)) == 1 or path.name == "search.html", path
        assert re.search(r'<html [^>]*lang="en"', text), path
        if path.parent.name != "playground":
            assert 'class="skip-to-content' in text and "<article" in text, path


def test_every_column_of_a_table_is_headed_and_no_head_is_empty(site):
    for path in site.rglob("*.html"):
        for head in re.findall(r"(?s)<th\b([^>]*)>(.*?)</th>", path.read_text(encoding="utf-8")):
            assert "scope=" in head[0] and (words(head[1]) or "<math" in head[1]), path


# --- a chapter's page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS, **by_name)
def test_formulas_are_drawn_and_numbered_ones_can_be_linked_to(path, site):
    notebook, page = chapters.read(path), article(site, f"chapters/{path.stem}.html")
    tags = chapters.TAG.findall(markdown(notebook))
    assert re.findall(r'class="equation" id="eq-([\d-]+)"', page) == [tag.replace(".", "-") for tag in tags]
    assert page.count('class="number"') == len(tags)
    displayed = len(re.findall(r"(?s)\$\$.+?\$\$", markdown(notebook)))
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') == displayed
    for formula in re.findall(r"(?s)<math\b.*?</math>", page):
        assert not re.search(r"\\[a-zA-Z{|]", words(formula)), formula
    left = re.sub(r"(?s)<(code|pre|math|script|svg)\b.*?</\1>", "", page)
    assert not re.search(r"\$\S[^$]*\$", words(left))


@pytest.mark.parametrize("path", CHAPTERS, **by_name)
def test_pictures_keep_their_alt_texts_and_outputs_their_words(path, site):
    notebook, page = chapters.read(path), article(site, f"chapters/{path.stem}.html")
    alive = states.widgets(path, site / "states", "../states", lambda said: None)
    wanted, text = Counter(), letters(page)
    for cell in notebook.cells:
        for output in cell.get("outputs", []) if cell.id not in alive else ():
            if "image/png" in output.get("data", {}):
                wanted[output.metadata["image/png"]["alt"]] += 1
            elif output.output_type == "stream":
                assert letters(html.escape(output.text)) in text, cell.id
            elif "text/html" in output.data:
                assert letters(output.data["text/html"]) in text, cell.id
    got = Counter(html.unescape(alt) for alt in re.findall(r'<img [^>]*?\balt="([^"]*)"', page))
    assert wanted <= got
    for image in re.findall(r"<img [^>]*_images/[^>]*>", page):
        assert 'loading="lazy"' in image and re.search(r'width="\d+" height="\d+"', image)


@pytest.mark.parametrize("path", EXERCISES, **by_name)
def test_an_exercise_folds_its_hints_and_holds_no_answer(path, site):
    page = article(site, f"exercises/{path.stem}.html")
    hints = markdown(chapters.read(path)).count("<summary>Hint")
    assert hints >= 3 and page.count("<summary>Hint") == hints and "<details open" not in page
    text, given = letters(page), "".join(cell.source for cell in chapters.read(path).cells)
    for cell in chapters.read(ROOT / "solutions" / path.name).cells:
        for answer in re.findall(r"(?s)### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source):
            secret = [line.strip() for line in answer.splitlines() if len(line.strip()) > 20]
            shown = [line for line in secret if line not in given and letters(html.escape(line)) in text]
            assert not shown, path
    assert (site / "exercises" / path.name).read_bytes() == path.read_bytes()


# --- references -----------------------------------------------------------------------------------------

KNOWN = {
    ("eq", "1.4"): "chapters/01_ddpm.html#eq-1-4",
    ("eq", "0.3"): "chapters/00_start_here.html#eq-0-3",
    ("section", "1.4"): "chapters/01_ddpm.html#section-1-4",
    ("section", "4.20"): "chapters/04b_family.html#section-4-20",
    ("task", "2.3"): "exercises/02_ddim.html#task-2-3",
    ("chapter", "2"): "chapters/02_ddim.html",
    ("chapter", "3b"): "chapters/03b_solvers.html",
    ("chapter", "8"): "chapters/08_practice.html",
}


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("by eq. (1.4) and task 2.3.", ["eq-1-4", "task-2-3"]),
        ("(1.4) gives what chapter 2 uses", ["eq-1-4", "02_ddim.html"]),
        ("sections 1.4 and 4.20.", ["section-1-4", "section-4-20"]),
        ("chapters 2 and 3b.", ["02_ddim.html", "03b_solvers.html"]),
        ("a step of (0.3) is long", []),  # a value, as far as a rule can see
        ("equation (0.3)", ["eq-0-3"]),
        ("Equation 1.4 is of order 2, (Lu et al. 2022, equation 1.4) is not", ["eq-1-4"]),
        ("version 1.4, section 1.4.2, chapter 2.5", []),
        ("(S, section 1.4): what another text says", []),
        ("(Song et al. 2021, section 1.4)", []),
        ("as that of P (section 1.4) does", []),
        ("section 1.4 of the textbook", []),
        ("chapter 4b (1.4 to 4.20)", ["section-1-4", "section-4-20"]),
        ("section 1.4 of this chapter", ["section-1-4"]),
        ("their section 1.4 and the textbook's chapter 8", []),
        ("chapter 8 of 14", []),
        ("<b>◦ is for later</b>: the bound (1.4)", ["section-1-4"]),
        ("<code>chapter 2</code>, <a href='x.html'>section 1.4</a>, <h2>1 chapter 2</h2>", []),
        ("<p>(S,</p><p>section 1.4)</p>", ["section-1-4"]),  # a new paragraph
    ],
)  # fmt: skip
def test_a_reference_is_a_link_where_it_is_this_books(text, linked):
    class Sources:
        targets, pictures = KNOWN, {}

    made = finish.page(text, "chapters/05_distillation", Sources)
    got = re.findall(r'<a class="reference" href="([^"]*)"', made)
    assert [one.rpartition("#")[2].rpartition("/")[2] for one in got] == linked
    assert letters(made) == letters(text)


def test_every_number_that_the_text_calls_an_equation_of_a_chapter_leads_there(site):
    found = targets.targets(ROOT)
    for path in CHAPTERS:
        page = article(site, f"chapters/{path.stem}.html")
        said = set(re.findall(r"\beq\. \((\d+\.\d+)\)", markdown(chapters.read(path))))
        for number in said:
            assert ("eq", number) in found, f"{path.name}: eq. ({number}) is nowhere"
            assert finish.relative(found["eq", number], f"chapters/{path.stem}") in page, number


def test_links_between_notebooks_lead_to_the_cell(site):
    linked = notebooks.LINK.findall((ROOT / "chapters/A_claims_tested.ipynb").read_text(encoding="utf-8"))
    assert len(linked) > 300
    page = article(site, "chapters/A_claims_tested.html")
    for file, cell in set(linked):
        path = file.removesuffix(".ipynb") + ".html" if file else ""
        assert f'href="{path}#cell-{cell}"' in page, (file, cell)


# --- lists ----------------------------------------------------------------------------------------------


def test_the_bibliography_has_every_entry_without_bibtex_and_most_lead_back(site):
    page = article(site, "bibliography.html")
    keys = re.findall(r'<dt id="([^"]+)">', page)
    assert sorted(keys) == sorted(citing.entries())
    assert not re.search(r"[{}\\]", words(page))
    led = re.findall(r"(?s)<dd>(.*?)</dd>", page)
    assert sum("chapters/" in one for one in led) > 0.9 * len(led)


def test_the_glossary_is_sorted_and_tells_each_term_once(site):
    page = article(site, "glossary.html")
    terms = [html.unescape(term) for term in re.findall(r'<dt id="term-[^"]*">(.*?)</dt>', page)]
    assert len(terms) == len(set(terms)) > 60 and terms == sorted(terms, key=str.casefold)
    for said in re.findall(r"(?s)<dd>(.*?)</dd>", page):
        assert 5 <= len(words(said).split()) <= 60 and 'href="chapters/' in said


def test_a_term_of_no_section_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "glossary.toml"
    path.write_text('[[term]]\nname = "x"\nsection = "99.9"\nsays = "y"\n')
    monkeypatch.setattr(lists, "GLOSSARY", path)
    with pytest.raises(chapters.BookError, match="x is introduced in section 99.9, which is not there"):
        lists.glossary(KNOWN)


def test_accents_of_bibtex():
    tex = r"H{\"o}lder, S{\o}ren {\v{S}}a{\v c}, L{\'e}vy {DDPM} 1--2"
    assert lists._plain(tex) == "Hölder, Søren Šač, Lévy DDPM 1–2"


def test_notation_shows_the_chapters_tables(site):
    page = article(site, "notation.html")
    tables = [path for path in CHAPTERS if lists.SYMBOLS.search(markdown(chapters.read(path)))]
    assert len(tables) >= 6 and page.count("<table") == len(tables)


def test_the_reference_has_the_docstring_of_every_public_name(site):
    for module in reference.modules():
        text = letters(article(site, f"reference/{module}.html"))
        for one in reference.things(module):
            doc = getattr(one.thing, "loop", one.thing).__doc__ or ""
            assert "".join(doc.replace("`", "").split()) in text, one.name


# --- the check of links ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="no.html">x</a>', "<a> points at no.html, and there is no such file"),
        ('<a href="other.html#no">x</a>', "<a> points at other.html#no, and other.html has no anchor no"),
        ('<a href="#no">x</a>', "<a> points at #no, and page.html has no anchor no"),
        ('<img src="https://x.org/a.png" alt="">', "<img> loads https://x.org/a.png from a network"),
        ('<script src="//x.org/a.js"></script>', "<script> loads //x.org/a.js from a network"),
        ('<link rel="stylesheet" href="no.css">', "<link> points at no.css, and there is no such file"),
        ('<i id="a"></i><i id="a"></i>', "the id a is there twice"),
        ('<a href="https://x.org">x</a> <a href="other.html#yes">y</a> <a href="">z</a>', None),
    ],
)  # fmt: skip
def test_a_broken_link_is_named_with_its_page(tmp_path, body, said):
    (tmp_path / "page.html").write_text(body)
    (tmp_path / "other.html").write_text('<p id="yes">')
    assert links.problems(tmp_path) == ([f"page.html: {said}"] if said else [])


def test_a_style_that_loads_from_a_network_is_named(tmp_path):
    (tmp_path / "a.css").write_text("i { src: url(https://x.org/f.woff2) } b { background: url(data:x) }")
    assert links.problems(tmp_path) == ["a.css: loads https://x.org/f.woff2 from a network"]
