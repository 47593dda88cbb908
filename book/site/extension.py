"""Sphinx's part: formulas as MathML, sections with the anchors of their numbers; each page, before it is
written, goes through `finish`.
"""

import html
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from book.formulas import mathml, untagged
from book.site import finish
from book.site.targets import SECTION, anchor

FORMULA = re.compile(r"(?s)\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+?)\$")


def inline(tex: str) -> str:
    """A formula in a sentence."""
    return mathml(tex)


def displayed(tex: str) -> str:
    """A formula in a line of its own; its number is a link to itself, which can be copied."""
    tex, number = untagged(tex)
    drawn = f'<div class="formula">{mathml(tex.strip(), "block")}</div>'
    if not number:
        return f'<div class="equation">{drawn}</div>'
    name = anchor("eq", number)
    link = f'<a class="number" href="#{name}" aria-label="Equation {number}">({number})</a>'
    return f'<div class="equation" id="{name}">{drawn}{link}</div>'


def _visit_inline(writer, node):
    writer.body.append(inline(node.astext()))
    raise nodes.SkipNode


def _visit_displayed(writer, node):
    writer.body.append(displayed(node.astext()))
    raise nodes.SkipNode


class Anchors(SphinxTransform):
    """The id of a section that has a number is made of the number: it stays when the title changes."""

    default_priority = 10  # before anything looks at ids

    def apply(self, **options):
        kind = "task" if self.env.docname.startswith("exercises/") else "section"
        for section in self.document.findall(nodes.section):
            if number := SECTION.match(f"## {section[0].astext()}"):
                name = anchor(kind, number[1])
                section["ids"].insert(0, name)
                self.document.ids[name] = section


class FormulasInHtml(SphinxTransform):
    """Formulas between the tags of folded text, which Markdown leaves as it is."""

    default_priority = 10

    def apply(self, **options):
        for raw in self.document.findall(nodes.raw):
            if raw.get("format") == "html" and "output" not in raw["classes"]:
                drawn = FORMULA.sub(_drawn, raw.astext())
                raw.clear()
                raw += nodes.Text(drawn)


def _drawn(found):
    block, within = found.groups()
    return displayed(html.unescape(block)) if block else inline(html.unescape(within))


def _finished(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = finish.page(context["body"], pagename, app.config.book_sources)


def setup(app: Sphinx) -> dict:
    """What Sphinx calls."""
    app.add_config_value("book_sources", None, "", types=())
    app.add_html_math_renderer("book", (_visit_inline, None), (_visit_displayed, None))
    app.add_transform(Anchors)
    app.add_transform(FormulasInHtml)
    app.connect("html-page-context", _finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
