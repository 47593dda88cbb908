"""For `pytest --nbval chapters`: claims are decided in the kernel that has run the page of their experiment.

A page shows the numbers of most experiments that have a claim, and such an experiment runs once in a process:
asked here, after the last cell, its claims cost next to nothing.  `make test` asks here, by
`-p tests.book.notebooks.claimed`; `tests/book/test_claims.py` asks in a process of its own, of every claim.
"""

from pathlib import Path
from queue import Empty

import pytest
from nbval.plugin import IPyNbFile

from book import folders

ROOT = Path(__file__).resolve().parents[3]

ASK = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.book.deciding import claims_of, undecided
_undecided = undecided(claims_of(Path({notebook!r})))
assert not _undecided, "\\n".join(_undecided)
"""


class Claims(pytest.Item):
    """The test of the claims whose experiments a notebook shows."""

    def runtest(self):
        kernel = self.parent.kernel
        asked = kernel.kc.execute(
            ASK.format(root=str(ROOT), notebook=str(self.path)), store_history=False, allow_stdin=False
        )
        while True:
            try:
                reply = kernel.kc.get_shell_msg(timeout=5)
            except Empty:
                if not kernel.is_alive():
                    pytest.fail("the notebook's kernel has ended", pytrace=False)
                continue
            if reply["parent_header"].get("msg_id") == asked:
                break
        if reply["content"]["status"] != "ok":
            pytest.fail(f"{self.path.name}: {reply['content'].get('evalue')}", pytrace=False)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}: claims decided as recorded"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    last = {item.parent: item for item in items if isinstance(item.parent, IPyNbFile)}
    with_claims = folders.chapters("experiments.py")
    for parent, item in last.items():
        if parent.path.parent == ROOT / "chapters" and parent.path.name[:2] in with_claims:
            items.insert(items.index(item) + 1, Claims.from_parent(parent, name="claims"))
