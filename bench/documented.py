"""Write down which kernels the documentation, the demonstrations and the examples call: a part of archives.

Run `python -m bench.documented` after a change of these; what is not compiled yet is compiled. It says how many of the
kernels are in the archive that is used, if there is one. With `--list` nothing is written: it prints as JSON the names
of the kernels, and where each was taken from.
"""

import contextlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

from docs.blocks import run
from stnkit.cli import sets
from stnkit.kernels.compiler import monitor
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu import factories
from stnkit.kernels.objects import shipped

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").rglob("*.md"))]
NEEDED = {"kornia": "kornia", "keras": "tensorflow"}  # by pages, which are left out where that is not installed
TESTS = ("test_demo.py", "test_learn.py", "test_examples.py")  # which run these on little data


def recorded() -> list[sets.Single]:
    """Run everything; return the kernels that were called."""
    found: dict[sets.Single, None] = {}
    made = factories.made

    def note(factory, spec):
        found[sets.Single(factory, spec)] = None
        return made(factory, spec)

    factories.made = note
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for page in PAGES:
                if page.stem not in NEEDED or importlib.util.find_spec(NEEDED[page.stem]):
                    run(page)
        import pytest

        files = [str(ROOT / "tests" / name) for name in TESTS]
        if pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", "-o", "filterwarnings=", *files]):
            sys.exit("the demonstrations and examples fail")
    finally:
        factories.made = made
    return list(found)


def main() -> None:
    """Write the file, or list what would stand there."""
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")  # which the tests would set when threads are there already
    kernels = recorded()
    if sys.argv[1:] == ["--list"]:
        names = [factory(spec).key for factory, spec in kernels]
        print(json.dumps({name: monitor.origins.get(name) for name in names}))
        return
    sets.DOCUMENTED.write_text(sets.kept(kernels), encoding="utf-8")
    print(f"{len(kernels)} kernels: {os.path.relpath(sets.DOCUMENTED)}")
    archive = shipped.archive(digest())
    if archive is not None:
        names = set(archive)
        there = sum(factory(spec).key in names for factory, spec in kernels)
        print(f"{there} of these, {there / len(kernels):.1%}, are in {archive.path}")


if __name__ == "__main__":
    main()
