"""Slides: what the chapter has for a first reading, each on one slide that can be read, with no network."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from book import chapters, slides
from book.__main__ import make_app
from book.formulas import mathml
from tests.book.notebooks.lab import CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = [path for path in chapters.chapters(ROOT) if chapters.number(path)]
NAMES = [path.stem.partition("_")[0] for path in CHAPTERS]
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=NAMES)


@pytest.fixture(scope="module")
def decks():
    """The page of each chapter's deck, made when it is asked for."""
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed")
    made = {}
    return lambda path: made.setdefault(path, slides.page(slides.deck(chapters.read(path))))


def chapter(*cells):
    """A chapter of these cells: Markdown, or the alt text of a picture."""
    made = []
    for n, cell in enumerate(cells):
        if cell.startswith("picture: "):
            data = {"image/png": "iVBORw0KGgo=", "text/plain": cell}
            meta = {"image/png": {"alt": cell[9:]}}
            output = nbformat.v4.new_output("display_data", data=data, metadata=meta)
            made.append(nbformat.v4.new_code_cell("draw()", outputs=[output], id=f"cell-{n}"))
        else:
            made.append(nbformat.v4.new_markdown_cell(cell, id=f"cell-{n}"))
    return nbformat.v4.new_notebook(cells=made)


def shown(path):
    """The text and the pictures that a first reading of a chapter meets."""
    pieces = [piece for piece, later in chapters.pieces(chapters.read(path)) if not later]
    text = "\n\n".join(piece for piece in pieces if isinstance(piece, str))
    text = re.sub(r"(?s)<details>.*?</details>", "", text)
    alts = [
        output.metadata["image/png"]["alt"]
        for piece in pieces
        if not isinstance(piece, str)
        for output in piece.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return text, alts


@every_chapter
def test_each_equation_figure_and_prediction_is_on_one_slide(path):
    text, alts = shown(path)
    made = slides.slides(chapters.read(path))
    told = "\n".join(slide.text for slide in made)
    for number in re.findall(r"\\tag\{([^}]*)\}", text):
        assert told.count(f"\\tag{{{number}}}") == 1, number
    assert told.count("**Predict") == len(re.findall(r"\*\*Predict", text))
    pictures = [slide for slide in made if slide.pictures]
    assert len(pictures) == len(alts)
    for slide, alt in zip(pictures, alts):
        assert " ".join(alt.split())[:40].replace("[", "(") in slide.text.replace("[", "(")


@every_chapter
def test_no_slide_is_a_page_of_the_chapter(path):
    for slide in slides.slides(chapters.read(path)):
        text = re.sub(r"!\[.*?\]\(attachment:[^)]*\)", "", slide.text)
        assert slide.title and slide.text, slide
        prose = re.sub(rf"(?s)\$\$.*?\$\$|{chapters.INLINE}", "", text)
        assert len(prose.split()) <= 150 and "](" not in prose and "<" not in prose, slide
        assert len(re.findall(r"\\tag\{", text)) + len(slide.pictures) <= 1


@every_chapter
def test_a_page_needs_nothing_and_leaves_no_tex(path, decks):
    page = decks(path)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page) and "url(" not in page
    assert not re.findall(r">\s*(?:\\\w+|\\\||&amp;)\s*</m", page)
    assert all(len(alt.split()) >= 5 for alt in re.findall(r'<img [^>]*alt="([^"]*)"', page))
    assert page == slides.page(slides.deck(chapters.read(path)))


def test_what_is_for_later_is_left_out_and_the_answer_is_in_the_notes():
    made = slides.slides(
        chapter(
            "# 9 · A title\n\n**After this chapter you can** see; and say.\n\nA table of symbols.",
            "## 9.1 First\n\nA sentence that leads, eq. (1) of Ho et al. 2020 in it. Hence\n\n"
            "<!-- eq:a.b -->\n$$ a=b \\tag{9.1}$$\n\nwith $b$ as above. More.\n\n**Predict:** how many?",
            "picture: A curve that falls from one to zero.",
            "<details><summary>Answer</summary>Three of them, since the fourth has left the picture by then. "
            "Why?</details>\n\nThe rest.",
            "## 9.2 Later ◦\n\nLong. $$ c \\tag{9.2}$$",
            "## 9.3 In words\n\nOne. Two. Three.",
            "## 9.4 Claims under test\n\nA table.",
        )
    )
    assert [slide.title for slide in made] == [
        "9 · A title",
        "9.1 First",
        "9.1 First",
        "9.1 First",
        "9.3 In words",
    ]
    header, equation, question, picture, words = made
    assert header.text == "**After this chapter you can**\n\n- see\n- say"
    assert equation.text.startswith("A sentence that leads, eq. (1) of Ho et al. 2020 in it. Hence\n\n$$")
    assert equation.text.endswith("with $b$ as above.")
    assert "Three" in question.notes and "Three" not in question.text
    assert picture.text.endswith("Three of them, since the fourth has left the picture by then.")
    assert picture.notes.endswith("The rest.") and words.text == "One. Two."


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("See eq. (3) of Song et al. 2021. Then go.", 2),
        ("As $a. B$ says, `x. Y` too. It holds.", 2),
        ("At 0.5 it is 1.2. **Notice** that.", 2),
        ("One", 1),
    ],
)
def test_sentences(text, count):
    assert len(slides.sentences(text)) == count and " ".join(slides.sentences(text)) == text


def test_formulas_become_characters_that_browsers_draw():
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed")
    assert "𝔼" in mathml(r"\mathbb E") and "ℝ" in mathml(r"\mathbb R")
    assert "ℒ" in mathml(r"\mathcal L") and mathml(r"\Big\|x\|").count("‖") == 2
    assert mathml("x_s''").count("&#x02032;") == 2 and "<msup><msub" not in mathml("x_s''")
    assert mathml(r"\begin{aligned}a&=b\\c&=d\end{aligned}").count("<mtr>") == 2


def test_the_command_writes_pages_and_decks_that_can_be_edited(tmp_path):
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed")
    run = lambda *given: CliRunner().invoke(make_app(), ["slides", *given, "--to", str(tmp_path)])
    assert run("07", "07b").exit_code == 0
    assert {path.name[:3] for path in tmp_path.glob("*.slides.html")} == {"07_", "07b"}
    assert run("07", "--notebook").exit_code == 0
    (written,) = tmp_path.glob("*.slides.ipynb")
    before = (tmp_path / "07_flow_maps.slides.html").read_text("utf8")
    deck = json.loads(written.read_text("utf8"))
    deck["cells"][0]["source"] = ["# Another title"]
    written.write_text(json.dumps(deck), "utf8")
    assert run(str(written)).exit_code == 0
    after = (tmp_path / "07_flow_maps.slides.html").read_text("utf8")
    assert "Another title</h1>" in after and "Another title</h1>" not in before
    refused = run("77")
    assert refused.exit_code == 2 and "no such chapter" in refused.output


def test_nbconvert_makes_as_many_slides_of_the_deck():
    exporters = pytest.importorskip("nbconvert.exporters")
    deck = slides.deck(chapters.read(CHAPTERS[NAMES.index("04")]))
    html, _ = exporters.SlidesExporter().from_notebook_node(deck)
    wanted = sum(cell.metadata.slideshow.slide_type == "slide" for cell in deck.cells)
    assert len(re.findall(r"<section[^>]*><section", html)) == wanted


# --- in a browser ---------------------------------------------------------------------------------------

# Of each slide: what sticks out of the window, the least size of its text, and the share of its picture.
MEASURE = """() => all.map((slide, n) => {
  show(n);
  const box = slide.querySelector(".body");
  const seen = [...slide.querySelectorAll("h1, h2, p, li, td, th, math, img")];
  const out = seen.filter(e => { const r = e.getBoundingClientRect();
    return r.right > innerWidth || r.bottom > innerHeight || r.left < 0 || r.top < 0 });
  const texts = [...box.querySelectorAll("p, li, td, th, .rows > math")];
  const img = box.querySelector("img"), r = img && img.getBoundingClientRect();
  const scale = img && Math.min(r.width / img.naturalWidth, r.height / img.naturalHeight);
  return {n: n + 1, out: out.map(e => e.outerHTML.slice(0, 60)),
    over: Math.max(box.scrollWidth - box.clientWidth, box.scrollHeight - box.clientHeight),
    size: Math.min(99, ...texts.map(e => parseFloat(getComputedStyle(e).fontSize))) / innerHeight,
    picture: img && scale * Math.max(img.naturalWidth / innerWidth, img.naturalHeight / innerHeight)};
})"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_slides_can_be_read_from_the_last_row(decks, tmp_path):
    """Nothing over an edge, text of at least a 36th of the height, pictures over half of a side."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab, asked = browser.new_page(), []
        tab.on("request", lambda request: asked.append(request.url))
        for path in CHAPTERS:
            file = tmp_path / f"{path.stem}.html"
            file.write_text(decks(path), "utf8")
            for size in [(1280, 720)] + [(1024, 768)] * (path.stem[:3] in ("01_", "04_", "07_")):
                tab.set_viewport_size({"width": size[0], "height": size[1]})
                tab.goto(file.as_uri())
                for slide in tab.evaluate(MEASURE):
                    where = (path.stem, size, slide)
                    assert not slide["out"] and slide["over"] <= 0, where
                    assert slide["size"] >= 1 / 36, where
                    assert slide["picture"] is None or slide["picture"] >= 0.5, where
        assert all(url.startswith(("file:", "data:")) for url in asked)
        tab.evaluate("show(0)")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("n")
        assert tab.url.endswith("#slide-2") and tab.locator("section:visible").count() == 1
        tab.keyboard.press("a")
        assert tab.locator("section:visible").count() == tab.locator("section").count()
        browser.close()
