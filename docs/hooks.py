"""Draw the site's pictures while it is built, so that none of them is kept beside its source.

A page names a picture once, as `pictures/NAME.svg` or `../pictures/NAME.svg`; the hook puts a light and a dark drawing
in its place. With `STNKIT_DOCS_GALLERY=0` those of the gallery, whose recipes take most of the time, stay empty.
"""

import os
import re

import pictures
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DRAWN = re.compile(r"!\[(?P<text>[^]]*)\]\((?P<folder>(?:\.\./)*pictures)/(?P<name>\w+)\.svg\)")
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the drawn pictures to the site's files."""
    drawn = os.environ.get("STNKIT_DOCS_GALLERY") != "0"
    for name in pictures.PICTURES:
        for theme in pictures.THEMES:
            content = pictures.svg(name, theme) if drawn or not name.startswith("gallery_") else EMPTY
            files.append(File.generated(config, f"pictures/{name}-{theme}.svg", content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Show each picture in the colours of the page."""
    both = "".join(rf"![\g<text>](\g<folder>/\g<name>-{theme}.svg#only-{theme})" for theme in pictures.THEMES)
    return DRAWN.sub(both, markdown)
