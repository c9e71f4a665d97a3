"""The errors of the runs in a folder beside those of the paper, its table 1 and appendix A.4.

python docs/examples/table.py            writes the table of docs/examples/results into the documentation
python docs/examples/table.py FOLDER     prints the table of another folder
"""

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "pages" / "guides" / "experiments.md"
OPEN, CLOSE = "<!-- table: written by docs/examples/table.py -->\n", "<!-- end of the table -->"
KINDS = ("R", "RTS", "P", "E", "TC")

PAPER = {  # per cent wrong; there is no entry where the paper has no such run
    ("FCN", ""): {"R": 2.1, "RTS": 5.2, "P": 3.1, "E": 3.2, "TC": 13.2},
    ("CNN", ""): {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 1.4, "TC": 3.5},
    ("ST-FCN", "affine"): {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 2.7, "TC": 2.0},
    ("ST-FCN", "projective"): {"R": 1.3, "RTS": 0.9, "P": 1.4, "E": 2.6},
    ("ST-FCN", "tps"): {"R": 1.1, "RTS": 0.8, "P": 1.4, "E": 2.4},
    ("ST-CNN", "affine"): {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.2, "TC": 1.7},
    ("ST-CNN", "projective"): {"R": 0.8, "RTS": 0.6, "P": 0.8, "E": 1.3},
    ("ST-CNN", "tps"): {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.1},
}
HEAD = """\
| data | network | momentum | test error | in the paper | steps | seeds | minutes each |
| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |
"""


def name(kind: str, network: str, transform: str) -> str:
    """Return what the files of a cell are called."""
    return "-".join(filter(None, (kind, network, transform)))


def text(folder: Path, kinds: Iterable[str] = KINDS) -> str:
    """Return the table as Markdown: each network's mean test error, the paper's, the steps and the seeds."""
    rows = [
        row(kind, f"{network} {transform}".strip(), found, errors.get(kind))
        for kind in kinds
        for (network, transform), errors in PAPER.items()
        for found in runs(folder, name(kind, network, transform))
    ]
    return HEAD + "\n".join(rows)


def runs(folder: Path, cell: str) -> list[list[dict[str, Any]]]:
    """Return the results of a cell, those that differ in nothing but the seed together."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{cell}-*.json"))]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in found:
        if one["name"] == cell:
            groups.setdefault(tuple(one[word] for word in ("momentum", "rate", "batch", "steps")), []).append(one)
    return [groups[key] for key in sorted(groups)]


def row(kind: str, network: str, found: list[dict[str, Any]], paper: float | None) -> str:
    """Return one line of the table."""
    cells = [
        kind,
        network,
        f"{found[0]['momentum']:g}",
        f"{100 * statistics.mean(one['errors'][-1] for one in found):.2f} %",
        "" if paper is None else f"{paper:.1f} %",
        f"{found[0]['steps']:,}",
        ", ".join(str(one["seed"]) for one in sorted(found, key=lambda one: one["seed"])),
        f"{statistics.mean(one['seconds'] for one in found) / 60:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def write(page: Path = PAGE) -> None:
    """Put the table of the kept results into the documentation."""
    before = page.read_text(encoding="utf-8")
    above, rest = before.split(OPEN)
    _, below = rest.split(CLOSE)
    page.write_text(f"{above}{OPEN}\n{text(RESULTS)}\n\n{CLOSE}{below}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(text(Path(sys.argv[1])))
    else:
        write()
