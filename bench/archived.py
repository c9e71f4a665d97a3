"""Whether kernels of an archive give the bits of those that are compiled here for the same level, on random calls.

`python -m bench.archived FILE` calls what the groups of the set `common` have in two processes: one takes kernels from
the archive, and one is told to compile for its level. `--every N` takes each N-th choice.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import stnkit
from stnkit.cli import selection, sets
from stnkit.kernels.compiler import monitor
from stnkit.kernels.objects.archive import Archive
from stnkit.kernels.objects.levels import LEVELS


def drawn(draw: np.random.Generator, name: str, form: object) -> object:
    """Draw an argument: numbers about 0, coordinates in and around the image, maps near the identity."""
    if not hasattr(form, "dtype"):
        return form  # a size, or None
    shape, dtype = form.shape, form.dtype
    if dtype.kind in "iub":
        return draw.integers(0, 200, shape).astype(dtype)
    if name in ("grid", "control_points"):
        return draw.uniform(-1.2, 1.2, shape).astype(dtype)
    values = draw.standard_normal(shape) / (1 if name not in ("theta", "flow") else 5)
    if name == "theta":
        values += np.eye(*shape[-2:])
    return values.astype(dtype)


def sums(every: int) -> dict[str, str]:
    """Call everything; return a hash of each call's results."""
    found = {}
    for part in sets.COMMON:
        for choice in list(dict.fromkeys(part.choices()))[::every]:
            function = getattr(stnkit, choice.operation)
            names = selection.names(function)
            for number, (arguments, options) in enumerate(selection.calls(choice)):
                draw = np.random.default_rng(7)
                given = [drawn(draw, name, form) for name, form in zip(names, arguments, strict=True)]
                try:
                    results = function(*given, **options)
                except (TypeError, ValueError):
                    continue  # which stnkit refuses
                arrays = results if isinstance(results, tuple) else (results,)
                digest = hashlib.sha256()
                for array in arrays:
                    digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
                found[f"{choice} {number}"] = digest.hexdigest()
    return found


def called(words: dict[str, str], every: int) -> dict[str, dict[str, str]]:
    """Call everything in a new process."""
    command = [sys.executable, "-m", "bench.archived", "--here", "--every", str(every), "-"]
    done = subprocess.run(command, env=os.environ | words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("file", type=Path)
    words.add_argument("--every", type=int, default=1, metavar="N")
    words.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = words.parse_args()
    if options.here:
        print(json.dumps({"sums": sums(options.every), "origins": monitor.origins}))
        return
    level = LEVELS[Archive(options.file).about["level"]]
    shipped = called({"STNKIT_ARCHIVE": str(options.file)}, options.every)
    compiled = called({"NUMBA_CPU_NAME": level.processor, "NUMBA_CPU_FEATURES": level.tuning}, options.every)
    there = {key for key, origin in shipped["origins"].items() if origin == monitor.ARCHIVE}
    differ = [call for call, value in shipped["sums"].items() if compiled["sums"][call] != value]
    print(f"{len(shipped['sums'])} calls of {len(there)} kernels from the archive; {len(differ)} differ")
    print(*differ, sep="\n")
    sys.exit(bool(differ) or not there)


if __name__ == "__main__":
    main()
