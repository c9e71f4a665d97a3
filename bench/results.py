"""One run as JSON: what was measured, where, and with which versions."""

import json
import os
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import threads

FOLDER = Path(__file__).parent / "results"

Run = dict[str, Any]


def started(number: int, versions: dict[str, str | None], **choices: Any) -> Run:
    """Return a run that has measured nothing yet."""
    import stnkit
    from stnkit.cli.environment import processor

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "complete": False,
        **choices,
        "machine": {"processor": processor()["name"], "cores": threads.usable()},
        "threads": number,
        "versions": {"stnkit": stnkit.__version__} | {name: metadata.version(name) for name in ("numba", "numpy")},
        "peers": versions,
        "sections": [],
    }


def save(run: Run, path: Path) -> None:
    """Write a run; who reads the file meanwhile sees the one before or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, path)


def load(path: Path) -> Run:
    """Read a run."""
    run: Run = json.loads(path.read_text(encoding="utf-8"))
    return run


def newest() -> Path:
    """Return the file of the newest run of the whole benchmark."""
    for path in sorted(FOLDER.glob("[0-9]*.json"), reverse=True):  # others begin with what they measure
        run = load(path)
        if run["complete"] and run["whole"]:
            return path
    message = f"{FOLDER} holds no complete run: python -m bench makes one"
    raise ValueError(message)


def records(run: Run) -> dict[str, Any]:
    """Return what was measured of each case, by its name."""
    return {record["name"]: record for section in run["sections"] for record in section["cases"]}
