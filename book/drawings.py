"""Figures as part of the page: each SVG file that a page shows is put into the page itself, in the page's colours.

An image in a file of its own knows neither the theme nor its text colour, so in dark mode it stays a light box. Inside
the page its paper is transparent and its greys are shares of the text's colour.
"""

import html
import re
from pathlib import Path

from rappbook.figures.style import PAPER

IMAGE = re.compile(r"<img\b[^>]*?\bsrc=\"([^\"]+\.svg)\"[^>]*>")
GREY = re.compile(r"#([0-9a-f]{2})\1\1(?![0-9a-f])")  # "#4d4d4d"


def inline(page: Path) -> None:
    """Put the figures of a rendered page into it. Images under ``_static`` stay files."""
    text, number = page.read_text(encoding="utf-8"), 0

    def drawing(found: re.Match) -> str:
        nonlocal number
        file = page.parent / found[1]
        if "_static/" in found[1] or not file.is_file():
            return found[0]
        number += 1
        alt = re.search(r"\balt=\"([^\"]*)\"", found[0])
        return in_page(file.read_text(encoding="utf-8"), html.unescape(alt[1]) if alt else "", f"drawing{number}-")

    new = IMAGE.sub(drawing, text)
    if number:
        page.write_text(new, encoding="utf-8")


def in_page(svg: str, alt: str, prefix: str) -> str:
    """An SVG file's drawing for a page.

    Args:
        svg: what matplotlib wrote.
        alt: what the drawing shows, for who cannot see it.
        prefix: of the drawing's ids, which a page must not hold twice.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=\bid=\")|(?<=href=\"#)|(?<=url\(#)", prefix, svg)
    svg = GREY.sub(_share_of_ink, svg.replace(PAPER, "none"))
    svg = re.sub(
        r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", rf'<svg class="drawing" role="img" {_label(alt)} \1>', svg, count=1
    )
    return re.sub(r"\s*\n\s*", " ", svg).strip()


def _label(alt: str) -> str:
    return f'aria-label="{html.escape(alt)}"'


def _share_of_ink(grey: re.Match) -> str:
    """A grey as a share of the text's colour; white stays white, for it is the colour of words on something dark."""
    share = 100 - round(int(grey[1], 16) / 2.55)
    return f"color-mix(in srgb, currentColor {share}%, transparent)" if share else grey[0]
