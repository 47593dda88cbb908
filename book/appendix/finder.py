"""All claims in one table, with a filter where a page can run a script."""

import html

from book.appendix import places, rows
from book.claims import VERDICTS, claims

COLUMNS = ("text", "section", "verdict", "chapter", "claim", "here")
FILTERS = ("text", "section", "verdict", "chapter")

# Puts a choice for each of FILTERS above the table. Without a script there is the table.
SCRIPT = """
for (const table of document.querySelectorAll("table.claims-finder:not([data-ready])")) {
  table.dataset.ready = "yes";
  const rows = [...table.tBodies[0].rows], chosen = {};
  const bar = document.createElement("p"), said = document.createElement("span");
  const values = (row, name) => row.dataset[name].split(";");
  const passes = (row, but) => Object.entries(chosen).every(
    ([name, value]) => name === but || !value || values(row, name).includes(value));
  const update = () => {
    for (const row of rows) row.style.display = passes(row) ? "" : "none";
    said.textContent = " " + rows.filter(row => passes(row)).length + " of " + rows.length + " lines";
    for (const select of bar.querySelectorAll("select")) {
      const others = rows.filter(row => passes(row, select.name));
      const left = new Set(others.flatMap(row => values(row, select.name)));
      for (const option of select.options) option.hidden = option.value !== "" && !left.has(option.value);
    }
  };
  for (const name of table.dataset.filters.split(";")) {
    const label = document.createElement("label"), select = document.createElement("select");
    select.name = name;
    select.add(new Option("all", ""));
    for (const value of new Set(rows.flatMap(row => values(row, name)))) select.add(new Option(value, value));
    select.onchange = () => { chosen[name] = select.value; update(); };
    label.append(name + " ", select, " ");
    bar.append(label);
  }
  said.setAttribute("role", "status");
  bar.append(said);
  table.before(bar);
  update();
}
"""


def lines() -> list[dict]:
    """One line a claim and text, as `COLUMNS` has them, in the order of the texts, then of the chapters."""
    order = [(text.letter, section.name, one) for text in rows.texts() for section in text.sections
             for row in section.rows for one in row.claims]  # fmt: skip
    order += [("others", one.source.split(":")[0], one) for one in rows.outside()]
    found = {}  # (text, claim) -> its line, with all its sections
    for letter, section, one in order:
        line = found.setdefault((letter, one.id), {"text": letter, "sections": [], "claim": one})
        line["sections"] += [section] * (section not in line["sections"])
    return list(found.values())


class Finder:
    """The table of all claims as a notebook shows it: HTML with a filter, or lines of text."""

    def __repr__(self):
        return "\n".join(
            f"{line['text']} {', '.join(line['sections'])} · {line['claim'].told} · {line['claim'].says}"
            for line in lines()
        )

    def _repr_html_(self):
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in COLUMNS)
        body = "".join(map(_row, lines()))
        return (
            f'<table class="claims-finder" data-filters="{";".join(FILTERS)}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table><script>{SCRIPT}</script>"
        )


def _row(line):
    one, sections = line["claim"], line["sections"]
    place = places.of(one)
    link = f'<a href="{html.escape(place.address)}">{place.section}</a>'
    texts = (line["text"], ", ".join(sections), one.told, str(int(one.chapter)), one.says)
    cells = [*map(html.escape, texts), link]
    data = dict(text=line["text"], section=";".join(sections), verdict=one.told, chapter=int(one.chapter))
    attributes = " ".join(f'data-{name}="{html.escape(str(value))}"' for name, value in data.items())
    return f"<tr {attributes}>" + "".join(f'<td style="text-align:left">{c}</td>' for c in cells) + "</tr>"


def finder() -> Finder:
    """All claims in one table, to be filtered by text, section, verdict and chapter."""
    return Finder()


def counts() -> dict[str, dict[str, int]]:
    """{letter of a text, or "others": {verdict: how many of its claims have it}}."""
    found = {}
    for line in lines():
        row = found.setdefault(line["text"], dict.fromkeys(VERDICTS.values(), 0))
        row[line["claim"].verdict] += 1
    found["all"] = dict.fromkeys(VERDICTS.values(), 0)
    for one in claims():
        found["all"][one.verdict] += 1
    return found
