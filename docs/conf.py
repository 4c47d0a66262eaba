"""How Sphinx makes the site of these pages: `make docs`."""

from __future__ import annotations

import os
import re
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

project = "shardpack"
copyright = "the authors of shardpack"  # noqa: A001  # Sphinx's name
release = version = version_of("shardpack")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = False  # annotations name private types, too

# The pages are Markdown that GitHub shows as well.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# A docstring has a name in single backticks: a link where the site has it, code where it has not.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray"]  # which is larger than all that the pages need
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"shardpack {release}"
html_static_path = ["_static"]
html_favicon = "_static/shardpack.svg"
html_css_files = ["shardpack.css"]
html_theme_options = {"sidebar_hide_name": False, "top_of_page_buttons": []}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/versions.html",
        "sidebar/scroll-end.html",
    ]
}
html_context = {"versions": os.environ.get("SHARDPACK_DOCS_VERSIONS", "").split()}
templates_path = ["_templates"]
html_show_sourcelink = False

pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# A button copies what is typed, without the prompt and without what comes out.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

# Files beside this folder that have a page of their own on the site, which is a stub here: its text is the file's.
ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "benchmarks/README.md": "site/measurements",
    "benchmarks/density.md": "site/density-tables",
    "CHANGELOG.md": "site/changelog",
    "CONTRIBUTING.md": "site/contributing",
    "examples/README.md": "site/examples",
    "SECURITY.md": "site/security",
    "tests/vectors/kpl-1.1.1/README.md": "site/vectors",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def _link_inside(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Give a stub its text, and point links that leave this folder at what the site has of their targets."""
    file = next((ROOT / name for name, page in OUTSIDE.items() if page == docname), None)
    here = (ROOT / "docs" / docname).parent
    text = source[0] if file is None else file.read_text(encoding="utf-8")
    folder = here if file is None else file.parent

    def linked(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups()
        path = (folder / target).resolve()
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if name in OUTSIDE:
            path = ROOT / "docs" / f"{OUTSIDE[name]}.md"
        elif not mark and not path.is_relative_to(ROOT / "docs"):
            return words if path.exists() else found[0]  # source text, which is no page
        return f"{mark}[{words}]({os.path.relpath(path, here)}{anchor or ''})"

    source[0] = LINK.sub(linked, text)


def _for_everybody(app: Sphinx, error: Exception | None) -> None:
    """Mend what axe-core finds in the pages of Sphinx and Furo, for those who use a keyboard or a screen reader."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = SIGNATURE.sub(_without_list, path.read_text(encoding="utf-8"))
        for old, new in MENDED.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
MENDED = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    "<pre>": '<pre tabindex="0">',  # it scrolls, and not everybody has a mouse
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<th class="head"><p></p></th>': '<td class="head"></td>',  # a corner of a table
    '<div id="search-results">': '<h1>Search</h1><div id="search-results">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="On this page">',
}


def _without_list(signature: re.Match[str]) -> str:
    """A signature of many lines, which Sphinx writes as a list of definitions without terms."""
    text = signature[0].replace("<dl>", '<span class="sig-lines">').replace("</dl>", "</span>")
    return text.replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_inside)
    app.connect("build-finished", _for_everybody)
