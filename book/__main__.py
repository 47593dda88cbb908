"""The command `toolkit`, which is also `python -m book`."""

import sys
from importlib import import_module
from importlib.util import find_spec

from book import threads

# Name -> (module, attribute, line of help). The attribute is a function, or a typer app of its own. A module
# that is not there is left out; all import what is heavy inside their functions, since --help loads them all.
COMMANDS = {
    "check": ("book.lessons.commands", "check", "Tell, per task, done, not yet or not tried."),
    "hint": ("book.lessons.commands", "hint", "Show the next hint for a task."),
    "hunt": ("book.grading.commands", "hunt", "Make a bug hunt: a listing with mistakes, drawn by a seed."),
    "statistics": ("book.grading.commands", "statistics", "Tell what a class got wrong; compare two runs."),
    "build": ("book.lessons.commands", "build", "Build exercises from solutions."),
    "release": ("book.grading.commands", "release", "Write the exercises of a course, as students get them."),
    "grade": ("book.grading.commands", "grade", "Grade a class: marks, reasons and feedback pages."),
    "contest": ("book.contest.commands", "contest", "Digits in few calls: run an entry, see the table."),
    "book": ("book.chapters", "command", "Run the chapters and write them back."),
    "states": ("book.site.states", "command", "Draw the states of widgets for the site."),
    "slides": ("book.slides", "command", "Make slides of a chapter."),
    "site": ("book.site.build", "command", "Write the book as a static site."),
    "cite": ("toolkit.citing", "cite", "Print the BibTeX entry of a sampler's paper."),
}


def make_app():
    """The command line.  Raises ImportError where typer is not installed."""
    import typer
    from typer.core import TyperGroup

    class Commands(TyperGroup):
        """The commands of the table, imported when they are asked for."""

        def list_commands(self, ctx):
            return [name for name, (module, *_) in COMMANDS.items() if find_spec(module)]

        def get_command(self, ctx, cmd_name):
            if cmd_name not in self.list_commands(ctx):
                return None
            module, attribute, line = COMMANDS[cmd_name]
            target = getattr(import_module(module), attribute)
            if not isinstance(target, typer.Typer):
                function, target = target, typer.Typer(add_completion=False, rich_markup_mode=None)
                target.command(cmd_name)(function)
            command = typer.main.get_command(target)
            command.name, command.short_help = cmd_name, line
            return command

    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def toolkit():
        """Fast sampling of diffusion models: check exercises, ask for hints, build the book."""

    return app


def forgive(*streams) -> None:
    """Let a console that has no letter for a κ show a ? in its place, instead of ending the command."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def main():
    """Run the command; one sentence where only the samplers are installed."""
    threads.choose()
    forgive(sys.stdout, sys.stderr)
    try:
        app = make_app()
    except ImportError as error:
        sys.exit(f"The command needs {error.name}, which comes with the book: pip install '.[book]'")
    app(prog_name="toolkit")


if __name__ == "__main__":
    main()
