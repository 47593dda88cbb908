"""Pages that students and instructors read: complete, the same each time, and inert whatever is in them."""

import html.parser
import re
import shutil
from dataclasses import replace

import pytest

from book.grading import feedback, marking, text
from book.grading.results import DONE, NOT_TRIED, NOT_YET, Row, Student
from tests.book.grading.classroom import HOSTILE, ada, eve, many, nothing

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
TAGS = set(
    "html head meta title style body header main section article nav footer h1 h2 h3 h4 p ul li dl dt dd div "
    "span strong bdi a i table caption thead tbody tr th td details summary pre".split()
)
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(html.parser.HTMLParser):
    """Elements, attributes and texts of a page; `wrong`: what is not closed as it was opened."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self.open, self.wrong = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def ids(self):
        return [value for _, name, value in self.attributes if name == "id"]


def pages():
    yield feedback.page([ada()], "Homework 2")
    yield feedback.page([eve()], HOSTILE[0])
    yield feedback.page([nothing()], "Homework 2")
    yield feedback.summary([ada(), nothing(), eve(), *many()], HOSTILE[1], "feedback/{key}.html")
    for hostile in HOSTILE:
        yield feedback.page([eve(hostile)], hostile)
        yield feedback.summary([eve(hostile)], hostile)


def test_pages_are_whole_and_hold_nothing_that_runs_or_asks():
    for page in pages():
        read = Reader(page)
        assert read.wrong == [] and read.open == []
        assert set(read.tags) <= TAGS
        assert not [one for one in read.attributes if one[1].startswith("on") or one[1] == "src"]
        links = [value for _, name, value in read.attributes if name == "href"]
        assert all(re.fullmatch(r"#[\w-]+|feedback/[\w-]+\.html", link) for link in links)
        assert {link[1:] for link in links if link[0] == "#"} <= set(read.ids())
        assert len(set(read.ids())) == len(read.ids())
        assert ("meta", "content", CSP) in read.attributes and ("html", "lang", "en") in read.attributes
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", page)
        assert "url(" not in page and "@import" not in page
        page.encode("utf8")


def test_tables_have_headers_and_headings_do_not_jump():
    for page in pages():
        read = Reader(page)
        assert {value for tag, name, value in read.attributes if (tag, name) == ("th", "scope")} <= {
            "row",
            "col",
        }
        scoped = sum((tag, name) == ("th", "scope") for tag, name, _ in read.attributes)
        assert scoped == read.tags.count("th") and read.tags.count("table") == read.tags.count("caption")
        levels = [int(tag[1]) for tag in read.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:]))


def test_a_page_tells_everything_but_the_flags():
    page = feedback.page([ada()], "Homework 2")
    said = " ".join(" ".join(Reader(page).text).split())
    for one in (
        "Ada Lovelace", "6.5 of 16 points", "handed in late", "02_ddim-1.ipynb", "2.3 Fifty steps out of a",
        "△ not yet 2.5 of 4 points", "✓ done 2 of 2 points", "○ not tried 0 of 4 points",
        "The list should end at 0, and yours ends at 25.", "subsequence(100, 4) [100, 75, 50, 25] a list of",
        "an array of shape (3, 2)", "Your check cell was changed", "step 0 step 1 ok x_t = 0.123456",
        "Of several notebooks for lesson 02",
    ):  # fmt: skip
        assert one in said, one
    assert "toolkit.grids.subsequence" not in page and "another notebook" not in page
    assert "No notebook for lesson 02 was handed in." in feedback.page([nothing()], "x")


def test_a_page_is_for_one_student_and_for_all_lessons():
    other = replace(ada(), lesson="00", notebook="00_start_here.ipynb",
                    tasks=tuple(replace(t, task=f"0{t.task[1:]}") for t in ada().tasks))  # fmt: skip
    page = feedback.page([ada(), other], "x")
    assert page.index('id="lesson-00"') < page.index('id="lesson-02"') and "13</strong> of 32 points" in page
    assert page == feedback.page([other, ada()], "x")
    for wrong in ([], [ada(), nothing()]):
        with pytest.raises(ValueError, match="a page is for one student"):
            feedback.page(wrong, "x")


def test_a_submission_with_a_problem_is_not_graded_and_says_what_to_do():
    footer = "Numbers are compared within the task's tolerance, so give them in full."
    missing = feedback.page([nothing()], "x")
    assert "not tried" not in missing.split("</style>")[1] and missing.count("</span> not graded</span>") == 5
    assert "footer>" not in missing and "Hand in the notebook of this lesson, or ask your instr" in missing
    damaged = replace(nothing(), file="02_ddim.ipynb", problem="“02_ddim.ipynb” is not a notebook.")
    assert "<p>Hand the file in again, or ask your instructor.</p>" in feedback.page([damaged], "x")
    page = feedback.page([ada()], "x")
    assert footer in page and "Each task that could be run" in page and "costs nothing" not in page
    assert "ask your instructor" not in page and "not graded" not in page
    both = [replace(damaged, student=ada().student, lesson="00"), ada()]
    assert footer in feedback.page(both, "x")


def test_a_right_answer_that_is_a_text_is_called_so():
    assert marking.kind_of("nan") == "a text"
    row = Row("verdict", "nan", marking.kind_of("nan"))
    page = feedback.page([replace(ada(), tasks=(replace(ada().tasks[0], rows=(row,)),))], "x")
    assert ">a text</td>" in page


def test_what_was_printed_is_cut():
    long = replace(ada(), tasks=(replace(ada().tasks[0], printed="\x1b[31m" + "x" * 100_000),))
    page = feedback.page([long], "x")
    assert len(page) < 30_000 and "x" * 3000 in page and "more characters)" in page


# --- the class ------------------------------------------------------------------------------------------


def cells(page, heading):
    """The rows of the tables after a heading, as lists of texts."""
    part = page[page.index(heading) :]
    part = part[: part.index("</table>")]
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    found = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in rows[1:]]
    return [[re.sub(r"<[^>]*>|\s+", " ", cell).strip() for cell in row] for row in found]


def test_the_summary_counts():
    graded = [*many(), nothing(), ada()]
    page = feedback.summary(graded, "Class", "feedback/{key}.html")
    good = [one for one in graded if not one.problem]
    bins = cells(page, ">Scores<")
    assert len(bins) == 11 and sum(int(row[1]) for row in bins) == len(good)
    assert bins[0][:2] == ["all points", str(sum(one.score == one.points for one in good))]
    rows = cells(page, ">Tasks<")
    assert len(rows) == 5
    for k, row in enumerate(rows):
        states = [one.tasks[k].state for one in good]
        assert [int(cell.split()[0]) for cell in row[1:4]] == [
            states.count(s) for s in (DONE, NOT_YET, NOT_TRIED)
        ]
        lost = sum(one.tasks[k].points - one.tasks[k].score for one in good)
        assert row[4] == text.points(lost)
    mean = sum(one.score for one in good) / len(good)
    assert f"<dd>{text.points(mean)}</dd>" in page and ">mean of 16<" in page
    assert [row[0] for row in cells(page, ">Not graded<")] == ["Bob"]
    assert "two cells were made in another notebook; 2.3: this answer calls" in page
    assert 'href="feedback/ada-lovelace-12345.html">Ada Lovelace</a></bdi>, lesson 02' in page


def test_mistakes_that_differ_in_their_numbers_are_one():
    page = feedback.summary(many())
    rows = cells(page, ">Mistakes<")
    assert all(re.match(r"What should x be\? Yours gives \d|One term is missing", row[0]) for row in rows)
    keys = [(row[1], row[0][:10]) for row in rows]
    assert len(set(keys)) == len(keys) == 10
    students = [int(row[2]) for row in rows]
    assert students == sorted(students, reverse=True)
    assert sum(students) == sum(task.state == NOT_YET for one in many() for task in one.tasks)


def test_the_summary_of_nothing_and_of_one():
    assert "Everybody" in feedback.summary([])
    page = feedback.summary([replace(nothing(), tasks=())])
    assert ">mean of 0<" in page and feedback.summary([ada(), nothing()]) == feedback.summary(
        [nothing(), ada()]
    )


# --- text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, shown",
    [
        ("a\r\nb\rc\n\td", "a\nb\nc\n\td"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B", "red x"),
        ("\x9b31mred \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "red link"),
        ("a\x00b\x7f\x85\ufeff\ud800\uffff", "ab"),
        ("e\u0301 \u202eabc\u2066", "é abc"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_plain(given, shown):
    assert text.plain(given) == shown


def test_limits_of_texts():
    assert text.plain("x" * 100, 10) == "x" * 10 + "\n… (90 more characters)"
    assert text.plain("x" * 10, 10) == "x" * 10
    assert text.line(" a\n b\t", 10) == "a b" and text.line("x" * 300, 10) == "x" * 9 + "…"
    assert [text.points(v) for v in (2, 2.5, 4 / 3, 0.0, -0.0, 10, 100.0)] == [
        "2",
        "2.5",
        "1.33",
        "0",
        "0",
        "10",
        "100",
    ]
    assert [text.counted(v, "point") for v in (1, 2, 0.5)] == ["1 point", "2 points", "0.5 points"]
    for slow in ("\x1b]" * 50_000, "\x1b[" * 50_000, "\x1b]" + "x" * 100_000, "\u0301" * 100_000):
        text.plain(slow)


# --- a real browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[test]"
    )
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CONTRASTS = """() => [...document.querySelectorAll('body *')].filter(e => e.innerText?.trim()).map(e => {
  let under = e;
  while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)' && under.parentElement)
    under = under.parentElement;
  return [getComputedStyle(e).color, getComputedStyle(under).backgroundColor];
})"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
# The width says where things stand, and the scheme which colours they have: no need of both at once.
@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 380), ("light", 1100)])
def test_in_a_browser_scripts_stay_inert_and_text_stays_readable(browser, tmp_path, width, scheme):
    made = {
        "page": feedback.page([eve()], "Homework 2"),
        "ada": feedback.page([ada()], "Homework 2"),
        "summary": feedback.summary([ada(), nothing(), eve(), *many()], "Class", "page.html"),
    }
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for name, content in made.items():
        (tmp_path / f"{name}.html").write_text(content, "utf8")
        page, asked, said = context.new_page(), [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("dialog", lambda dialog, said=said: (said.append(dialog.message), dialog.dismiss()))
        page.goto((tmp_path / f"{name}.html").as_uri())
        page.wait_for_timeout(100)
        assert "owned" not in page.title().replace(HOSTILE[0], "")
        assert asked == [page.url] and said == []
        assert page.evaluate("document.scripts.length + document.images.length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for ink, paper in set(map(tuple, page.evaluate(CONTRASTS))):
            a, b = sorted((luminance(ink), luminance(paper)))
            assert (b + 0.05) / (a + 0.05) >= 4.5, (ink, paper)
        page.close()
    context.close()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_the_policy_alone_stops_a_script(browser, tmp_path):
    """As if the escaping had a hole: the page's policy stands behind it."""
    harm = "<script>document.title='owned'</script><img src='https://example.org/x.png'>"
    (tmp_path / "page.html").write_text(
        feedback.page([ada()], "x").replace("</main>", harm + "</main>"), "utf8"
    )
    page, asked = browser.new_page(), []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(100)
    assert "owned" not in page.title() and asked == [page.url]
    page.close()


def test_names_in_any_script_are_kept():
    page = feedback.page([replace(ada(), student=Student("x", "عمر بن محمد"))], "x")
    assert "<bdi>عمر بن محمد</bdi>" in page
