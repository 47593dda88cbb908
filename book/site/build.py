"""The command `toolkit site OUT`: the book as pages that need no server, no network and no kernel."""

import tempfile
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer

from book import chapters
from book.site import links, sources

STATIC = Path(__file__).with_name("static")
TITLE = "Fast sampling of diffusion models"
SETTINGS = {
    "project": TITLE,
    "html_title": TITLE,
    "language": "en",
    "root_doc": "index",
    "extensions": ["myst_nb", "book.site.extension"],
    "nb_execution_mode": "off",
    "nb_code_prompt_show": "Show the code",
    "nb_code_prompt_hide": "Hide the code",
    "nb_render_markdown_format": "myst",
    "myst_enable_extensions": ["dollarmath"],
    "myst_dmath_double_inline": True,
    "myst_dmath_allow_labels": False,
    # A notebook is Markdown as JupyterLab reads it: what MyST adds to that is switched off.
    "myst_disable_syntax": ["myst_role", "myst_line_comment", "myst_block_break", "myst_target"],
    "myst_all_links_external": True,  # `finish` writes them as links of the site, and `links` checks them
    "smartquotes": False,  # the text has its own
    "html_theme": "furo",
    "html_math_renderer": "book",
    "html_static_path": [str(STATIC)],
    "html_css_files": sorted(path.name for path in STATIC.glob("*.css")),
    "html_js_files": [(path.name, {"defer": "defer"}) for path in sorted(STATIC.glob("*.js"))],
    "html_copy_source": False,
    "html_show_search_summary": False,  # it would be fetched, which a browser refuses for files
    "html_show_copyright": False,
    "html_permalinks": False,
    "html_use_index": False,
    "suppress_warnings": ["myst.header"],  # an exercise's tasks stand two levels below its title
}


class SiteError(ValueError):
    """What is wrong with the site, a sentence each."""


def build(out, root=None, jobs: int = 2, report=print) -> None:
    """Write the site into the folder `out`.

    root: the project, by default that of the current folder. jobs: processes that read and write pages.
    report: gets a sentence for each widget that is shown as a still picture.
    Raises SiteError, with a sentence for each problem.
    """
    from sphinx.application import Sphinx

    root, out = chapters.chapters(root)[0].parents[1], Path(out).resolve()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        found = sources.write(root, source, out, report)
        heard = StringIO()
        app = Sphinx(
            source, None, out, Path(folder) / "doctrees", "html",
            confoverrides=SETTINGS | {"book_sources": found}, status=None, warning=heard, parallel=jobs,
        )  # fmt: skip
        app.build(force_all=True)
        sources.copy_files(root, out)
    said = [line.replace(f"{source}/", "") for line in heard.getvalue().splitlines() if line.strip()]
    if said := said + links.problems(out):
        raise SiteError("\n".join(said))


def command(
    out: Annotated[Path, typer.Argument(help="The folder where the site goes; it is made.")],
    jobs: Annotated[int, typer.Option(help="How many processes write pages.", min=1)] = 2,
):
    """Write the book as a static site: open OUT/index.html in a browser, no network needed."""
    try:
        build(out, jobs=jobs)
    except (SiteError, chapters.BookError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(1) from None
    except ModuleNotFoundError as error:
        typer.echo(f"The site needs {error.name}: pip install '.[site]'", err=True)
        raise typer.Exit(2) from None
    print(out / "index.html")
