"""A section of a text as Markdown: each of its points and claims as one entry of a list."""

from book.appendix import neighbours, places, rows
from book.claims import Claim


def answers(row: rows.Row) -> list[places.Place]:
    """The places of a row: those that it names, then those of its claims."""
    named = " ".join(spots for _, _, spots in row.parts).split()
    return without_tables(
        [places.at(one) for one in (*row.at, *named)] + [places.of(one) for one in row.claims]
    )


def without_tables(found) -> list[places.Place]:
    """Places, each once; chapters' tables of claims only if there is nothing else."""
    found = list(dict.fromkeys(found))
    return [one for one in found if not places.is_table(one)] or found


def tasks(of_rows) -> list[str]:
    """The tasks that practise rows: those that carry an id of theirs, and those that the rows name."""
    wanted = {row.id for row in of_rows}
    found = {task for task, practised in places.tasks().items() if wanted & set(practised)}
    return sorted(found | {task for row in of_rows for task in row.tasks}, key=places.order)


def section(of: rows.Section) -> str:
    """All entries of a section, under its heading; what is prose comes last."""
    lines, told = [f"### {of.heading}", ""], []
    for row in of.rows:
        if row.says and row.kind not in rows.PROSE:
            lines.append(point(row))
        new = [one for one in row.claims if one not in told]
        told += new
        lines += [tested(one, of.text) for one in new]
        if row.rest:
            lines.append(f"- *Not done, of {row.id}:* {row.rest}.")
    prose = [row.id for row in of.rows if row.kind in rows.PROSE and row.says]
    if prose:
        lines.append(f"- In the errata of prose, below: {', '.join(prose)}.")
    return "\n".join(lines)


def point(row: rows.Row) -> str:
    """A row in our words, with what is right where no claim says so, and where it is answered."""
    cite = f" ({row.cite})" if row.cite else ""
    right = f" *Right:* {row.right.rstrip('.')}{cite}." if row.right else ""
    verdicts = ", ".join(dict.fromkeys(f"**{one.told}**" for one in row.claims))
    decided = f" The claim on it: {verdicts}." if verdicts and not right else ""
    links = ", ".join([*(places.at(one).link for one in row.at), *map(places.task_link, tasks([row]))])
    words = row.says if row.says.endswith("?") else f"{row.says}."
    said = f"“{words}”" if right else words
    return f"- {said}{right}{decided}{f' → {links}' if links else ''} ({row.id})"


def tested(one: Claim, text: str = "") -> str:
    """A claim with its verdict, what was found, and links; with its source where that is not this text."""
    source = "" if text in rows.said_in(one) else f" ({plain(one.source)})"
    finding, verdict = plain(one.finding), f"**{one.verdict.capitalize()}.**"
    if one.verdict == "holds if":  # most findings begin with the condition: "If the data are images"
        bare = finding.removeprefix("If ")
        verdict, finding = "**Holds if**" if bare != finding else "**Holds if …**", bare
    carried = set(rows.ids(one))
    practised = [task for task, its in places.tasks().items() if carried & set(its)]
    links = ", ".join([places.of(one).link, *map(places.task_link, practised)])
    turns = "".join(f" *With {name}: {verdict}.*" for name, verdict in neighbours.turned(one).items())
    return f"- “{plain(one.says.rstrip('.'))}.”{source} {verdict} {finding}{turns} → {links} ({one.id})"


def plain(text: str) -> str:
    """A text of a claim as Markdown: what it would read as HTML is escaped."""
    return text.replace("<", "&lt;")
