"""What the scripts' command lines share: options of a run, one line for what is wrong, progress, and threads."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from training import Plan, Progress

Report = Callable[[Progress], None]


def parser(about: str, data: str) -> argparse.ArgumentParser:
    """Make a parser with the options that every experiment has."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--data", type=Path, required=True, help=data)
    options.add_argument("--folder", type=Path, default=Path("runs"), help="for checkpoints and results (runs)")
    options.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more; each is a run of its own (0)")
    options.add_argument("--steps", type=int, default=150_000, help="of each run (150000, as in the paper)")
    options.add_argument("--momentum", type=float, default=0.0, help="of the gradient descent (0, as in the paper)")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for torch and stnkit")
    return options


def run(main: Callable[[argparse.Namespace], None], options: argparse.ArgumentParser) -> int:
    """Run a script; return 2, with one line of standard error, for what a user can set right; 130 if interrupted."""
    given = options.parse_args()
    try:
        if given.steps < 1 or given.threads < 1 or min(given.seed) < 0 or not 0 <= given.momentum < 1:
            msg = "--steps and --threads must be at least 1, --seed at least 0, and --momentum from 0 to below 1"
            raise ValueError(msg)
        torch.set_num_threads(given.threads)
        numba.set_num_threads(min(given.threads, numba.config.NUMBA_NUM_THREADS))  # of the distortions, in NumPy
        main(given)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"{options.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def reporter(plan: Plan) -> Report:
    """Return what says, on one line of standard error, how far a run has come."""
    started: list[float] = []

    def report(progress: Progress) -> None:
        now = time.perf_counter()
        first = not started
        started.extend([now, progress.step] if first else [])
        line = f"{plan.file}: epoch {progress.epoch}, step {progress.step} of {plan.steps}"
        if progress.errors:
            line += f", loss {progress.losses[-1]:.4f}, test error {progress.errors[-1]:.2%}"
        if progress.step > started[1]:
            left = (now - started[0]) / (progress.step - started[1]) * (plan.steps - progress.step)
            line += f", {left / 60:.0f} min left"
        ends = "\n" if progress.step == plan.steps or not sys.stderr.isatty() else ""
        print(f"\r{line}" if sys.stderr.isatty() else line, end=ends, file=sys.stderr, flush=True)

    return report
