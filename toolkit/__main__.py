"""The command `toolkit`, which is also `python -m toolkit`."""

from importlib import import_module
from importlib.util import find_spec

import typer
from typer.core import TyperGroup

# Name -> (module, attribute, line of help). The attribute is a function, or a typer app of its own. A module
# that is not there is left out; all import what is heavy inside their functions, since --help loads them all.
COMMANDS = {
    "check": ("toolkit.lessons.commands", "check", "Tell, per task, done, not yet or not tried."),
    "hint": ("toolkit.lessons.commands", "hint", "Show the next hint for a task."),
    "build": ("toolkit.lessons.commands", "build", "Build exercises from solutions."),
    "release": (
        "toolkit.grading.commands",
        "release",
        "Write the exercises of a course, as students get them.",
    ),
    "grade": ("toolkit.grading.commands", "grade", "Grade a class: marks, reasons and feedback pages."),
    "book": ("toolkit.lessons.book", "command", "Run the chapters and write them back."),
}


class Commands(TyperGroup):
    """The commands of the table, imported when they are asked for."""

    def list_commands(self, ctx):
        return [name for name, (module, *_) in COMMANDS.items() if find_spec(module)]

    def get_command(self, ctx, cmd_name):
        if cmd_name not in self.list_commands(ctx):
            return None
        module, attribute, line = COMMANDS[cmd_name]
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(cmd_name)(function)
        command = typer.main.get_command(found)
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


if __name__ == "__main__":
    app(prog_name="toolkit")
