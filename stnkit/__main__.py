"""The console entry: `stnkit`, or `python -m stnkit`."""

import sys
from importlib.util import find_spec

NEEDED = ("cyclopts", "rich", "PIL", "matplotlib", "threadpoolctl")


def main() -> int:
    """Run the command line and return its exit status.

    Returns
    -------
    int
        0, or 2 if what was asked for cannot be done; the reason is then one line on standard error. `cli.app.run` has
        others.

    """
    try:
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            print(
                f'stnkit: the command line needs {", ".join(missing)}; install: pip install "stnkit[cli]"',
                file=sys.stderr,
            )
            return 2
        from stnkit.cli.app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported
        print("stnkit: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
