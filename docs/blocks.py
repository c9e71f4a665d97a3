"""The code of a page: run as it is printed, and compared with what the page says that it prints."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<shown>.*?)^```$)?", re.DOTALL | re.MULTILINE)


def run(page: Path) -> dict[str, Any]:
    """Run a page's blocks in order, compare what they print with what the page shows, and return their variables.

    They may import the files that are beside the page.
    """
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": page.stem}
    with _beside(page):
        for block in BLOCK.finditer(text):
            above = text.count("\n", 0, block.start("code"))  # so that a traceback names the page's own line
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * above + block["code"], str(page), "exec"), namespace)
            if block["shown"] is not None:
                where = f"{page.name}, line {above + 1}, printed:\n{printed.getvalue()}"
                assert printed.getvalue().rstrip() == block["shown"].rstrip(), where
    return namespace


@contextlib.contextmanager
def _beside(page: Path) -> Iterator[None]:
    folder = str(page.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
