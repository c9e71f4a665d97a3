"""The documentation is true: its code runs, prints what it shows, and its pages and pictures exist.

The `python` blocks of a page run in order in one namespace. A `text` block that follows one directly is what
that block prints. Most pages run uncompiled, to spare the compiler; those in COMPILED and the gallery's recipes run as
users run them.
"""

import contextlib
import importlib.util
import posixpath
import re
from pathlib import Path
from types import ModuleType

import pytest
from conftest import uncompiled

import stnkit
from docs.blocks import BLOCK, run

DOCS = Path(__file__).parents[1] / "docs"
README = DOCS.parent / "README.md"
PAGES = {path.relative_to(DOCS / "pages").as_posix(): path for path in sorted((DOCS / "pages").rglob("*.md"))}
TEXTS = {**PAGES, "README.md": README} if README.exists() else PAGES
COMPILED = {  # those that pass tensors of torch or arrays of JAX, warp many pixels, or say what a user waits for
    "README.md", "quickstart.md", "guides/jax.md", "guides/large.md", "guides/torch.md", "guides/transformers.md",
    "migrate/jax.md", "migrate/kornia.md", "migrate/torch.md",
}  # fmt: skip
IN_KERAS = ("guides/keras.md", "migrate/keras.md")  # which `in_keras` runs on every backend
RECIPES = [name for name in PAGES if name.startswith("gallery/") and name != "gallery/index.md"]

PUBLIC = (  # modules whose names a user imports; `stnkit.torch` and `stnkit.jax` have those of `stnkit`
    "stnkit", "stnkit.dask", "stnkit.ndimage", "stnkit.nn", "stnkit.tiles", "stnkit.transforms",
    "stnkit.torch.functional", "stnkit.torch.nn", "stnkit.torch.onnx", "stnkit.jax.nn", "stnkit.jax.scipy",
    "stnkit.keras", "stnkit.keras.ops",
)  # fmt: skip


# torch loads rules of its forward mode by torch.jit.script, and copies trees by a type, which it deprecates itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in RECIPES and name not in IN_KERAS])
def test_code_of_page(name: str) -> None:
    if name == "migrate/kornia.md":
        pytest.importorskip("kornia")
    with contextlib.nullcontext() if name in COMPILED else uncompiled():
        run(TEXTS[name])


def test_navigation_names_every_page_once() -> None:
    config = (DOCS / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- (?:[^:\n]+: )?([\w/]+\.md)$", config, re.MULTILINE)
    assert sorted(named) == list(PAGES)


def test_every_page_is_linked_from_another() -> None:
    linked = set()
    for name, page in PAGES.items():
        for target in re.findall(r"\]\(([\w./]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            linked |= {posixpath.normpath(posixpath.join(posixpath.dirname(name), target))} - {name}
    assert linked | {"index.md"} == set(PAGES)


def anchors(text: str) -> set[str]:
    """Return what a link to a page may name: its headings as `toc` writes them, and the objects that it documents."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", word) for word in words} | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def test_every_link_leads_to_a_heading_or_an_object() -> None:
    texts = {name: page.read_text(encoding="utf-8") for name, page in PAGES.items()}
    for name, text in texts.items():
        for target, anchor in re.findall(r"\]\(([\w./]+\.md)?#([^)]+)\)", text):
            page = posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if target else name
            assert anchor in anchors(texts[page]), f"{name}: {target}#{anchor}"


@pytest.mark.parametrize("module", PUBLIC)
def test_reference_has_one_place_for_every_public_name(module: str) -> None:
    pages = [page.read_text(encoding="utf-8") for name, page in PAGES.items() if name.startswith("reference/")]
    named = re.findall(rf"^::: {re.escape(module)}\.(\w+)$", "\n".join(pages), re.MULTILINE)
    modules = {name.rpartition(".")[2] for name in PUBLIC}
    assert sorted(named) == sorted(set(importlib.import_module(module).__all__) - modules)


@pytest.mark.parametrize("module", ["stnkit.torch", "stnkit.jax"])
def test_a_framework_has_the_functions_of_the_reference(module: str) -> None:
    rules = importlib.import_module(module)
    assert all(callable(getattr(rules, name)) for name in stnkit.__all__ if name != "compile_ahead")


def test_command_line_page_names_every_option() -> None:
    pytest.importorskip("cyclopts")
    from stnkit.cli import app as cli

    page = (DOCS / "pages" / "reference" / "cli.md").read_text(encoding="utf-8")
    own = {"default_parameter": cli.app.default_parameter}  # which names no negative flags
    commands = cli.app["warp"], cli.app["info"], cli.app["compile"], cli.demo["learn"], cli.demo["align"]
    arguments = [argument for command in commands for argument in command.assemble_argument_collection(**own)]
    options = {name for argument in arguments for name in argument.names if name.startswith("--")}
    assert set(re.findall(r"(?<![\w-])--[a-z]+", page)) - {"--help"} == options


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """Return the script that draws the pictures, with the names it can draw."""
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_drawn_and_shown(pictures: ModuleType) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES.values())
    assert set(re.findall(r"\]\((?:\.\./)*pictures/(\w+)\.svg\)", text)) == set(pictures.PICTURES)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("name", RECIPES)
def test_code_of_recipe_and_the_pictures_of_what_it_makes(name: str, pictures: ModuleType) -> None:
    for size in ("", "_small"):
        assert len(pictures.svg(f"gallery_{Path(name).stem}{size}", "light")) < 60_000


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_short(name: str) -> None:
    code = "".join(block["code"] for block in BLOCK.finditer(PAGES[name].read_text(encoding="utf-8")))
    assert 0 < sum(map(bool, code.splitlines())) <= 16  # data and training come from the file beside the page


@pytest.mark.parametrize("name", ["coordinates", "floors"])
def test_a_picture_has_the_same_bytes_each_time(name: str, pictures: ModuleType) -> None:
    first = pictures.svg(name, "light")
    pictures.svg.cache_clear()
    assert pictures.svg(name, "light") == first


def test_the_kept_picture_is_small() -> None:
    sources = {".md", ".css", ".py", ".pyc"}
    kept = [path for path in (DOCS / "pages").rglob("*") if path.is_file() and path.suffix not in sources]
    assert [path.name for path in kept] == ["hero.png"]
    assert kept[0].stat().st_size < 100_000


def test_files_that_the_pages_name_exist() -> None:
    """Paths in the text and in the instructions for changes are those of the repository."""
    for page in [*TEXTS.values(), DOCS.parent / "CONTRIBUTING.md"]:
        for path in re.findall(r"`((?:stnkit|tests|bench|docs)/[\w./]+)`", page.read_text(encoding="utf-8")):
            assert (DOCS.parent / path).exists(), f"{page.name}: {path}"
