"""Pictures of the chapters, shown again where a claim carries one."""

from book.appendix import places


class Borrowed:
    """A picture of a chapter as its committed notebook holds it: bytes and alt text."""

    def __init__(self, output: dict):
        self.png = "".join(output["data"]["image/png"])
        self.alt = output["metadata"]["image/png"]["alt"]

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}

    def __repr__(self):
        return self.alt


def picture(chapter: str, cell: str) -> Borrowed:
    """The first picture that a cell of a chapter ('03') shows.  Raises ValueError where there is none."""
    for one in places.cells_of(chapter):
        for output in one["outputs"] if one["id"] == cell else ():
            if "image/png" in output.get("data", {}):
                return Borrowed(output)
    raise ValueError(f"chapter {chapter} has no cell {cell!r} with a picture")
