"""The documentation's pages on Keras run on this backend, each tab on its own; and so does the example."""

import importlib
import json
import re
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from arrays import BACKEND

from docs.blocks import run
from stnkit.demo.data import load_digits

DOCS = Path(__file__).parents[2] / "docs"
TABS = {"jax": "JAX", "torch": "torch", "tensorflow": "TensorFlow"}


@pytest.mark.parametrize("name", ["guides/keras.md", "migrate/keras.md"])
def test_code_of_page(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(DOCS / "pages" / name)


def test_code_of_the_tab(capsys):
    page = (DOCS / "pages" / "guides" / "keras.md").read_text(encoding="utf-8")
    tabs = dict(re.findall(r'^=== "(\w+)"\n\n((?:    .*\n|\n)+)', page, re.MULTILINE))
    assert set(tabs) == set(TABS.values())
    (code,) = re.findall(r"```python\n(.*?)```", textwrap.dedent(tabs[TABS[BACKEND]]), re.DOTALL)
    assert f'"KERAS_BACKEND"] = "{BACKEND}"' in code
    exec(compile(code, "keras.md", "exec"), {})
    assert "1, 2, 3" in capsys.readouterr().out


def test_the_example(tmp_path, monkeypatch, capsys):
    """Two epochs of two digits, which are not distorted here; interrupted in the first, it begins anew."""
    arrays = {}
    for split in ("train", "test"):
        images, labels = load_digits(split)
        arrays |= {f"x_{split}": images[:2], f"y_{split}": labels[:2]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    script = importlib.import_module("keras_transformer")
    monkeypatch.setattr(script, "distorted", lambda digits, *_: np.pad(digits, ((0, 0), (7, 7), (7, 7)))[..., None])
    monkeypatch.chdir(tmp_path)
    words = ["script", "--data", "mnist.npz", "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", words)
    with monkeypatch.context() as cut:
        cut.setattr(script, "show", lambda *given, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        assert script.main() == 130
    name = f"keras-{BACKEND}-ST-FCN-seed0"
    assert not (tmp_path / "runs" / f"{name}.json").exists()
    assert script.main() == 0
    found = json.loads((tmp_path / "runs" / f"{name}.json").read_text())
    assert len(found["errors"]) == 2
    picture = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "runs" / f"{name}.png"))
    assert picture.shape == (3 * 42, 2 * 42, 3)
    assert "| ST-FCN |" in capsys.readouterr().out
    assert script.main() == 0  # which has nothing left to do
    monkeypatch.setattr(sys, "argv", [*words[:-1], "3"])
    assert script.main() == 2
    assert "of a run of 2 epochs" in capsys.readouterr().err
