"""Settings of the documentation: ``make docs`` builds it, strictly, and shows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from generate import write_reference  # noqa: E402

from ecdd import __version__  # noqa: E402

project = "ECDD"
author = "the ECDD maintainers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types as a reader wants them
autodoc_inherit_docstrings = False
default_role = "code"  # a name between single backticks
highlight_language = "text"

html_theme = "furo"
html_title = f"ECDD {release}"
html_static_path: list[str] = []
html_copy_source = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}


def setup(app: Any) -> None:
    """Write the reference from the code before the pages are read."""
    app.connect("builder-inited", lambda _app: write_reference(HERE / "reference"))
