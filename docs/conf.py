"""Sphinx: `make docs`. Every page works from disk, without anything from the net."""

project = "cmr"
author = "The authors of cmr"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "cmr"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
highlight_language = "none"
myst_heading_anchors = 3
