"""Any torch: without a name that it never promised, numbers are the same; and one that is too old says so."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stnkit
from stnkit.torch import _compat

HERE, ROOT = Path(__file__).parent, Path(stnkit.__file__).parent


def run(*arguments):
    """Run Python in a process of its own, uncompiled."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=1200, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_name_of_torchs_own_is_needed():
    """Calls, both orders of derivatives, forward mode, vmap and compiled code are right without any one of them."""
    assert run(str(HERE / "hidden_torch.py"), *_compat.NAMES) == ""


def test_this_torch_has_every_name():
    """Else calls are slower than they need be; a torch without CUDA has no streams."""
    expected = [] if torch.backends.cuda.is_built() else ["_C._cuda_getCurrentRawStream"]
    assert expected == _compat.MISSING


def private(path):
    """Return the attributes and modules of torch in a file that begin with an underscore."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "torch":
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = ast.unparse(node).split(".")
            names = names if names[0] in ("torch", "forward_ad", "functional", "nn") else []
        else:
            continue
        yield from (f"{path.name}: {name}" for name in names if name.startswith("_"))


def test_one_room_knows_names_of_torchs_own():
    files = [path for path in (ROOT / "torch").rglob("*.py") if path.name != "_compat.py"]
    assert len(files) > 20
    assert [name for path in files for name in private(path)] == []
    assert list(private(ROOT / "torch" / "_compat.py")) != []


def unions(path):
    """Return where a file asks for one of several types by a union, which the compiler of torch 2.8 cannot read."""
    for node in ast.walk(ast.parse(path.read_text())):
        asks = isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        if asks and isinstance(node.args[1], ast.BinOp):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}; name a tuple of types"


def test_the_oldest_compiler_can_read_what_it_follows():
    rooms = ("", "antialias", "api", "calls", "torch", "torch/derivatives", "transforms", "validation")
    followed = [path for room in rooms for path in sorted((ROOT / room).glob("*.py"))]
    assert len(followed) > 50
    assert [place for path in followed for place in unions(path)] == []


def test_a_torch_that_is_too_old():
    script = """
import torch
torch.__version__ = "1.13.1"
import stnkit
try:
    stnkit.grid_sample(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 2))
except ImportError as error:
    print(error)
"""
    oldest = ".".join(map(str, _compat.OLDEST))
    said = run("-c", script)
    assert said == f"stnkit works with torch {oldest} or newer; this is torch 1.13.1: pip install -U torch\n"
