"""Markdown of a published file becomes HTML that can do nothing: no raw HTML, no link, no image passes."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

_DROPPED = "h1"
_LEVELS = {"h2": "h3", "h3": "h4"}


def prose(text: str) -> Markup:
    """Return Markdown as HTML below a heading of level 2; its own title is left out, because the page has one."""
    parser = MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink", "html_block", "html_inline", "entity"])
    tokens = parser.parse(text)
    kept = []
    is_dropped = False
    for token in tokens:
        if token.type == "heading_open":
            is_dropped = token.tag == _DROPPED
        token.tag = _LEVELS.get(token.tag, token.tag)
        if not is_dropped:
            kept.append(token)
        if token.type == "heading_close":
            is_dropped = False
    # The parser has escaped every text of the file; what is marked safe is its own markup.
    return Markup(parser.renderer.render(kept, parser.options, {}))  # noqa: S704
