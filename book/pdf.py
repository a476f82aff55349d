"""``make pdf``: the book as it was built last, as one PDF, printed by Chromium."""

import argparse
import json
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import build
from rapp.cache import write_atomically


def pages(folder: Path, beside: Path) -> Path:
    """One HTML page of the whole book.

    Args:
        folder: the build folder.
        beside: an empty folder for the page and what it shows.

    Raises:
        ValueError: there is no book yet, or Sphinx warns.
    """
    keys = folder / "html" / ".built" / "keys.json"
    if not keys.is_file():
        raise ValueError(f"there is no book in {folder}: say make book first")
    runs = folder / "runs" / json.loads(keys.read_text())[0]
    notebooks = [path for name in build.order() if (path := runs / f"{name}.ipynb").exists()]
    build.stage(notebooks, beside / "book", "", "")
    if trouble := build.render(beside / "book", beside / "html", "singlehtml"):
        raise ValueError(trouble.strip())
    return beside / "html" / "intro.html"


# Links to a page that is not in the PDF would lead to the folder that it was printed from.
UNLINK = """document.querySelectorAll("a[href]").forEach(a => {
  if (a.protocol === "file:" && a.pathname !== location.pathname) a.removeAttribute("href")
})"""


def printed(page: Path, out: Path, date: datetime) -> None:
    """Print a page into a PDF file, which is whole or absent; the same page and date make the same bytes.

    Args:
        page: the HTML page.
        out: the PDF file.
        date: of its making, as it says.

    Raises:
        ValueError: there is no Chromium.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise ValueError("make pdf needs Chromium, and neither chromium nor google-chrome is on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=300_000)
        tab = browser.new_page(color_scheme="light")
        tab.set_default_timeout(300_000)
        tab.goto(f"file://{page.resolve()}")
        tab.evaluate("MathJax.startup.promise")
        tab.evaluate(UNLINK)
        content = tab.pdf(prefer_css_page_size=True, print_background=True)
        browser.close()
    said = f"{date:%Y%m%d%H%M%S}".encode()  # as long as what it replaces, for a PDF finds its parts by their position
    content = re.sub(rb"(/(?:CreationDate|ModDate) \(D:)\d{14}", rb"\g<1>" + said, content)
    write_atomically(out, lambda beside: beside.write_bytes(content))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="the build folder")
    folder = parser.parse_args().build
    try:
        with tempfile.TemporaryDirectory() as beside:
            page = pages(folder, Path(beside))
            built = (folder / "html" / ".built" / "keys.json").stat().st_mtime
            printed(page, folder / "rapp.pdf", datetime.fromtimestamp(built, UTC))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The book as a PDF: {folder / 'rapp.pdf'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
