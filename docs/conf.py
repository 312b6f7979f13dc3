"""How `make docs` builds the site. Law: pages read well as plain Markdown; a link that leads nowhere is an error."""

project = "Armstream"
author = "The Armstream engineers"
project_copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # as forges make them, so that a page's links hold there too
nitpicky = True

html_theme = "furo"
html_title = "Armstream"
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
