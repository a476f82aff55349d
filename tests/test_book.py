"""The built site, as files and in headless Chromium."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

PAGES = ("intro", "02_when_reconstruction_fails", "03_rapp", "notation", "status", "references")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.targets, self.ids, self.images = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.ids.add(about.get("id"))
        if tag == "img":
            self.images.append(about)
        for name in ("href", "src"):
            if about.get(name):
                self.targets.append(about[name])


@pytest.fixture(scope="module")
def pages(book):
    return {name: Links((book / "html" / f"{name}.html").read_text(encoding="utf-8")) for name in PAGES}


def test_every_link_and_image_leads_somewhere(book, pages):
    for page in pages.values():
        for target in page.targets:
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:|//|#$|search\.html", target) or not (path or anchor):
                continue
            if path:
                assert (book / "html" / path.split("?")[0]).exists(), target
            there = pages.get(Path(path).stem) if path else page
            assert not (anchor and there) or anchor in there.ids, target


def test_every_figure_has_alt_text_and_a_caption(book, pages):
    for name in ("02_when_reconstruction_fails", "03_rapp"):
        figures = [image for image in pages[name].images if "_images" in image["src"]]
        assert len(figures) >= 3
        assert all(len(image["alt"]) > 40 for image in figures)
        assert (book / "html" / f"{name}.html").read_text().count("<figcaption>") == len(figures)


def test_the_intro_shows_the_result_computed_in_chapter_03(book):
    intro = (book / "html" / "intro.html").read_text()
    notebook = nbformat.read(next(book.glob("runs/*/*/03_rapp.ipynb")), as_version=4)
    tables = [o["data"]["text/markdown"] for c in notebook.cells if "glance" in c.metadata.get("tags", [])
              for o in c.outputs if "text/markdown" in o["data"]]  # fmt: skip
    numbers = re.findall(r"0\.\d{3}\s±\s0\.\d{3}", "".join(tables))
    assert len(numbers) == 6
    assert all(number in intro for number in numbers)


@pytest.mark.parametrize("name", ["02_when_reconstruction_fails", "03_rapp"])
def test_each_chapter_says_what_it_was_made_with(book, name):
    text = re.sub(r"<[^>]+>", " ", (book / "html" / f"{name}.html").read_text())
    for word in ("mnist-5k", "SHA-256", "profile", "tiny", "seeds", "0, 1, 2", "epochs", "precision", "device", "cpu",
                 "seconds", "versions", "torch"):  # fmt: skip
        assert word in text, word


def test_status_lists_every_notebook_with_its_seconds(book):
    text = (book / "html" / "status.html").read_text()
    for name in ("02_when_reconstruction_fails", "03_rapp"):
        assert name in text
    assert len(re.findall(r"<td><p>\d+</p></td>|<td class=\"\w+-right\"><p>\d+</p></td>", text)) >= 2


def test_executed_notebooks_carry_their_parameters_in_the_path(book):
    (folder,) = {path.parent for path in book.glob("runs/**/*.ipynb")}
    assert folder.relative_to(book / "runs").parts == ("mnist-5k", "tiny")


def test_a_second_make_does_nothing(book, make):
    before = (book / "html" / "intro.html").stat().st_mtime_ns
    result = make("book", "PROFILE=tiny", f"BUILD={book}")
    assert result.stdout.strip() == f"The book: {book}/html/index.html"
    assert (book / "html" / "intro.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["DATASET=minst"], "error: dataset 'minst' is unknown; allowed: mnist-5k, mnist, fashion-mnist"),
        (["PROFILE=fast"], "error: profile 'fast' is unknown; allowed: tiny, quick, paper"),
        (["PROFILE=tiny", "PARAMS=target=11"], "error: target 11 is no class of mnist-5k; allowed: 0, 1"),
        (["PROFILE=tiny", "PARAMS=epochs=-1"], "error: epochs=-1 must be a whole number of at least 1"),
        (["PROFILE=tiny", "PARAMS=epoch=3"], "error: PARAMS: 'epoch' is unknown; allowed: dataset, target"),
        (["PROFILE=tiny", "PARAMS=target='1"], 'error: PARAMS: "target=\'1": No closing quotation'),
        (["PROFILE=tiny", "PARAMS=dataset=mnist"], "error: PARAMS: say DATASET=mnist instead"),
        (["PROFILE=tiny", "PARAMS=seeds=[1]"], "error: seeds=[1] must be a whole number"),
        (["PROFILE=tiny", "PARAMS=target"], "error: PARAMS: 'target' must have the form name=value"),
    ],
)
def test_wrong_names_end_with_one_line_and_leave_the_book(book, make, words, says):
    before = sorted((p, p.stat().st_mtime_ns) for p in (book / "html").iterdir())
    result = make("book", *words, f"BUILD={book}")
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert lines[0].startswith(says)
    assert sorted((p, p.stat().st_mtime_ns) for p in (book / "html").iterdir()) == before


def test_a_page_with_a_warning_leaves_the_previous_book(book, tmp_path):
    import subprocess
    import sys

    from tests.conftest import ROOT

    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_build"))
    (tmp_path / "book" / "notation.md").write_text("# Notation\n\n{numref}`no-such-figure`\n")
    (tmp_path / "out" / "html").mkdir(parents=True)
    (tmp_path / "out" / "html" / "index.html").write_text("the previous book")
    run = next(book.glob("runs/*/tiny"))
    command = [sys.executable, str(tmp_path / "book" / "build.py"), "--runs", str(run)]
    command += ["--out", str(tmp_path / "out" / "html"), "--key", "k"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "the previous one is untouched" in result.stderr
    assert "no-such-figure" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["html", "index.html"]
    assert (tmp_path / "out" / "html" / "index.html").read_text() == "the previous book"


def test_plain_papermill_runs_a_notebook_with_other_parameters(tmp_path):
    import subprocess
    import sys

    from tests.conftest import ROOT

    out = tmp_path / "out.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(ROOT / "notebooks" / "02_when_reconstruction_fails.ipynb"),
        str(out),
    ]
    command += ["-p", "target", "8", "-p", "profile", "tiny", "-p", "seeds", "1", "--kernel", "python3"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "novel class is **8**" in json.dumps(json.loads(out.read_text()), ensure_ascii=False)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: the pages are not opened in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_in_a_browser(book, browser, name, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    outside, complaints = [], []
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"file://{book}/html/{name}.html")
    page.wait_for_load_state("load")
    if name in ("02_when_reconstruction_fails", "03_rapp", "notation"):
        page.wait_for_selector("mjx-container", timeout=20_000)
        assert page.locator("mjx-merror").count() == 0
        assert page.locator("span.math:not(:has(mjx-container))").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    broken = "[...document.images].filter(i => !i.complete || i.naturalWidth == 0).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert outside == []
    assert complaints == []
    page.close()
