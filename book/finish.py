"""What is done to a rendered page: its drawings are put into it, and who hears it or cites it finds what they need.

An image in a file of its own knows neither the theme nor its text colour, so in dark mode it stays a light box. Inside
the page its paper is transparent and its greys are shares of the text's colour.
"""

import html
import re
from pathlib import Path
from typing import Any

import yaml

import made
import traces
from rappbook.figures.style import PAPER
from traced_tables import Page

IMAGE = re.compile(r"<img\b[^>]*?\bsrc=\"([^\"]+\.svg)\"[^>]*>")
DOWNLOAD = re.compile(r'(<a href="_sources/[^"]+") target="_blank"')
BLUE = re.compile(r"#0(?:173|072)b2")  # of normal samples and of the input's side: rapp.css lightens it on a dark page
GREY = re.compile(r"#([0-9a-f]{2})\1\1(?![0-9a-f])")  # "#4d4d4d"


def finish(site: Path, citation: Path) -> None:
    """Finish every page of a rendered site.

    Args:
        site: folder of the pages.
        citation: CITATION.cff.
    """
    tags = citation_tags(yaml.safe_load(citation.read_text(encoding="utf-8"))["preferred-citation"])
    for page in site.glob("*.html"):
        text = with_drawings(page.read_text(encoding="utf-8"), site)
        text = text.replace("<table class=", '<table tabindex="0" class=')  # a wide one scrolls, by keyboard, too
        text = text.replace('<div role="list" class="citation-list">', '<div class="citation-list">')  # it holds links
        text = text.replace('<dl>\n<dd><em class="sig-param">', '<dl role="presentation">\n<dd><em class="sig-param">')
        if (notebook := site / "_sources" / f"{page.stem}.ipynb").exists():
            text = made.with_sources(text, notebook)
        if (site / "_sources").exists():  # not what is to be printed
            text, rows = traces.with_links(text, Page(page.stem, **made.given(notebook)))
            if rows:
                (site / "_rows").mkdir(exist_ok=True)
                (site / "_rows" / page.name).write_text(rows, encoding="utf-8")
        text = DOWNLOAD.sub(r"\1 download", text)  # else a server that calls a notebook JSON has it shown as text
        page.write_text(text.replace("</head>", f"{tags}</head>", 1), encoding="utf-8")


def citation_tags(paper: dict[str, Any]) -> str:
    """The paper's citation as meta tags, which reference managers read."""
    lines = [
        ("title", paper["title"]),
        ("publication_date", paper["year"]),
        ("conference_title", paper["collection-title"]),
    ]
    lines += [("author", f"{who['family-names']}, {who['given-names']}") for who in paper["authors"]]
    return "".join(f'<meta name="citation_{name}" content="{html.escape(str(value))}">\n' for name, value in lines)


def with_drawings(text: str, folder: Path) -> str:
    """A page's text with its SVG images in it; those under ``_static`` stay files."""
    number = 0

    def drawing(found: re.Match) -> str:
        nonlocal number
        file = folder / found[1]
        if "_static/" in found[1] or not file.is_file():
            return found[0]
        number += 1
        alt = re.search(r"\balt=\"([^\"]*)\"", found[0])
        return in_page(file.read_text(encoding="utf-8"), alt[1] if alt else "", f"drawing{number}-")

    return IMAGE.sub(drawing, text)


def in_page(svg: str, alt: str, prefix: str) -> str:
    """An SVG file's drawing for a page.

    Args:
        svg: what matplotlib wrote.
        alt: what the drawing shows, for who cannot see it, as HTML.
        prefix: of the drawing's ids, which a page must not hold twice.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=\bid=\")|(?<=href=\"#)|(?<=url\(#)", prefix, svg)
    svg = GREY.sub(_share_of_ink, svg.replace(PAPER, "none"))
    svg = BLUE.sub(r"var(--rapp-x, \g<0>)", svg)
    view = re.search(r"viewBox=\"[\d. ]+\"", svg)
    head = f'<svg class="drawing" role="img" aria-label="{alt}" {view[0] if view else ""}>'
    return re.sub(r"\s*\n\s*", " ", head + svg[svg.index(">") + 1 :]).strip()


def _share_of_ink(grey: re.Match) -> str:
    """A grey as a share of the text's colour; white stays white, for it is the colour of words on something dark."""
    share = 100 - round(int(grey[1], 16) / 2.55)
    return f"color-mix(in srgb, currentColor {share}%, transparent)" if share else grey[0]
