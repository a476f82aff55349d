"""The built site, as files and in headless Chromium."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import axe_playwright_python
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

import archive
import keys
import traces
from rappbook import published
from tests.conftest import CHROMIUM, PATIENCE, ROOT, Links
from tests.test_archive import REPORT, git, run, unpacked
from tests.test_book_other_data import write_table
from traced_tables import Page

pytestmark = pytest.mark.slow

BASE = ("01_anomaly_detection", "02_when_reconstruction_fails", "03_rapp", "04_base_models")
RIVALS = ("05_classical", "06_deep_kernels", "07_gans", "08_self_supervised")
CHAPTERS = (*BASE, *RIVALS)
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
PAGES = ("intro", *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]))
PAGES = tuple(name for name in PAGES if name not in ("your_table", "your_rows"))  # left out of the book on images


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of each request."""


@pytest.fixture(scope="module")
def pages(book):
    return {name: Links((book / "html" / f"{name}.html").read_text(encoding="utf-8")) for name in PAGES}


def test_new_rows_make_the_pages_that_show_rows_stale_and_no_others(book, monkeypatch):
    assert keys.stale(runs := keys.runs(keys.asked("mnist-5k", "", "", "tiny", ""), book)) == []
    assert {run.output for run in runs} == set(book.glob("runs/**/*.ipynb"))
    monkeypatch.setattr(keys, "row_files", lambda root: [root / "README.md"])
    chapters = {run.notebook.stem for run in keys.stale(keys.runs(keys.asked("mnist-5k", "", "", "tiny", ""), book))}
    shown = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if "published.our_rows" in path.read_text()}
    assert shown <= chapters
    assert {"09_who_wins_where", "10_paper_tables"} <= chapters
    assert not {"01_anomaly_detection", "03_rapp"} & chapters


def test_every_link_and_image_leads_somewhere(book, pages):
    """Those of the pages, and to the rows and the code that they lead to, anchors too."""
    ids = functools.cache(lambda path: Links((book / "html" / path).read_text(encoding="utf-8")).ids)
    for page in pages.values():
        for target in page.targets:
            path, _, anchor = target.partition("#")
            path = path.split("?")[0]
            if re.match(r"\w+:|//|#$|search\.html", target) or not (path or anchor):
                continue
            assert not path or (book / "html" / path).exists(), target
            if anchor and (not path or path.endswith(".html")):
                assert anchor in (ids(path) if path else page.ids), target


def test_no_output_is_shown_by_its_type(book):
    for page in PAGES:
        assert "IPython.core.display" not in (book / "html" / f"{page}.html").read_text(encoding="utf-8"), page


def test_every_figure_has_alt_text_and_a_caption(book, pages):
    for name in CHAPTERS:
        text = (book / "html" / f"{name}.html").read_text(encoding="utf-8")
        labels = [image["alt"] for image in pages[name].images if "_images" in image["src"]]
        labels += re.findall(r'<svg class="drawing" role="img" aria-label="([^"]*)"', text)
        assert len(labels) >= 2
        assert all(len(label) > 40 for label in labels)
        assert text.count("<figcaption>") == len(labels)


def test_the_intro_shows_the_result_computed_in_chapter_03(book):
    intro = (book / "html" / "intro.html").read_text()
    notebook = nbformat.read(next(book.glob("runs/*/*/03_rapp.ipynb")), as_version=4)
    tables = [o["data"]["text/markdown"] for c in notebook.cells if "glance" in c.metadata.get("tags", [])
              for o in c.outputs if "text/markdown" in o["data"]]  # fmt: skip
    numbers = re.findall(r"0\.\d{3}\s±\s0\.\d{3}", "".join(tables))
    assert len(numbers) == 6
    assert all(number in intro for number in numbers)


@pytest.mark.parametrize("name", CHAPTERS[1:])
def test_each_chapter_says_what_it_was_made_with(book, name):
    text = re.sub(r"<[^>]+>", " ", (book / "html" / f"{name}.html").read_text())
    for word in ("mnist-5k", "SHA-256", "profile", "tiny", "seeds", "epochs", "device", "cpu",
                 "seconds", "versions", "torch", *(["precision"] if name in BASE else [])):  # fmt: skip
        assert word in text, word
    assert re.search(r"seeds\s+0, 1, 2", text)


def test_status_lists_every_notebook_with_its_seconds(book):
    text = (book / "html" / "status.html").read_text()
    others = ("09_who_wins_where", "10_paper_tables", "11_why_nap_works", "why_numbers_differ", "your_own_autoencoder")
    for name in (*CHAPTERS, *others):
        assert name in text
    assert len(re.findall(r"<td><p>\d+</p></td>|<td class=\"\w+-right\"><p>\d+</p></td>", text)) >= 5


def test_executed_notebooks_carry_their_parameters_in_the_path(book):
    (folder,) = {path.parent for path in book.glob("runs/**/*.ipynb")}
    assert folder.relative_to(book / "runs").parts == ("mnist-5k", "tiny")


def test_a_second_make_does_nothing(book, make):
    before = (book / "html" / ".built" / "key").stat().st_mtime_ns
    result = make("book", "PROFILE=tiny", f"BUILD={book}")
    assert result.stdout.strip() == f"The book: {book}/html/index.html"
    assert result.stderr == ""
    assert (book / "html" / ".built" / "key").stat().st_mtime_ns == before
    assert keys.built_key(book) == keys.site_key(book, ["mnist-5k/tiny"])


@pytest.mark.parametrize("words", [["PARAMS=target=11"], ["LABEL=kind", "DATASET=bad.csv"]])
def test_what_is_wrong_leaves_the_book(book, make, tmp_path, words):
    """By ``make``, as a user would; what else can be wrong goes the same way and is tried in this process."""
    path = write_table(tmp_path / "bad.csv", f2=[np.nan] + [1.0, 2.0] * 199 + [3.0])
    before = sorted((p, p.stat().st_mtime_ns) for p in (book / "html").iterdir())
    result = make("book", "PROFILE=tiny", *(word.replace("bad.csv", path) for word in words), f"BUILD={book}")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("error: ")
    assert sorted((p, p.stat().st_mtime_ns) for p in (book / "html").iterdir()) == before


def test_a_page_with_a_warning_leaves_the_previous_book(book, tmp_path):
    for folder in ("book", "rapp"):  # the architecture's page reads the modules
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("_build"))
    (tmp_path / "book" / "notation.md").write_text("# Notation\n\n{numref}`no-such-figure`\n")
    out = tmp_path / "out"
    (out / "html").mkdir(parents=True)
    (out / "html" / "index.html").write_text("the previous book")
    shutil.copytree(book / "runs", out / "runs")
    command = [sys.executable, str(tmp_path / "book" / "build.py"), "--build", str(out), "mnist-5k/tiny"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "the previous one is untouched" in result.stderr
    assert "no-such-figure" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (out / "html").rglob("*")] == ["index.html"]
    assert list((out / "sites").iterdir()) == []
    assert (out / "html" / "index.html").read_text() == "the previous book"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_in_a_browser(book, opened, name, width):
    page = opened(book / "html" / f"{name}.html", width)
    if name in (*CHAPTERS, "notation"):
        page.wait_for_selector("mjx-container")
        assert page.locator("mjx-merror").count() == 0
        assert page.locator("span.math:not(:has(mjx-container))").count() == 0
        page.evaluate("MathJax.startup.promise")
        wide = """[...document.querySelectorAll('mjx-container[display="true"]')]
                  .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.parentElement.id)"""
        assert page.evaluate(wide) == [], "an equation is wider than its column: break it"
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    broken = "[...document.images].filter(i => !i.complete || i.naturalWidth == 0).map(i => i.src)"
    assert page.evaluate(broken) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(book, opened, name, scheme):
    page = opened(book / "html" / f"{name}.html", color_scheme=scheme, reduced_motion="reduce")
    # A colour on its way from light to dark has no contrast to be judged by.
    page.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")
    page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations'], preload: false})")["violations"]
    assert [(what["id"], what["nodes"][0]["html"]) for what in found if what["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("name", ["intro", "playground", "03_rapp", "10_paper_tables"])
def test_pages_can_be_read_at_twice_the_size_and_on_a_small_phone(book, opened, name):
    for width in (640, 360):  # 640: 1280 at 200 %
        page = opened(book / "html" / f"{name}.html", width)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_drawings_lie_in_the_page_in_its_colours(book):
    text = (book / "html" / "03_rapp.html").read_text(encoding="utf-8")
    drawings = re.findall(r'<svg class="drawing".*?</svg>', text, flags=re.DOTALL)
    assert len(drawings) >= 3
    ids = [name for drawing in drawings for name in re.findall(r'\bid="([^"]+)"', drawing)]
    assert len(ids) == len(set(ids))
    for drawing in drawings:
        assert "currentColor" in drawing
        assert set(re.findall(r"url\(#([^)]+)\)", drawing)) <= set(ids)


def test_the_front_pages_numbers_are_those_of_their_rows(book):
    """Each of ours, made again from the rows by hand; the build has no say in it."""
    tables = BeautifulSoup((book / "html" / "intro.html").read_text(), "html.parser").find_all("table")
    lines = [[cell.get_text(" ", strip=True).replace("\xa0", " ") for cell in row.find_all("td")] for row in
             tables[0].find_all("tr")]  # fmt: skip
    ours = [line for line in lines if line and line[0] == "ours"]
    assert [line[1] for line in ours] == ["AE", "VAE", "AAE"]
    rows = pd.read_csv(ROOT / "book" / "results" / "table2.csv", dtype={"target": str})
    rows = rows[(rows["dataset"] == "mnist") & (rows["setting"] == "multimodal") & (rows["target"] == "1")]
    rows = rows[rows["options"].isna() & (rows["contamination"] == 0)]
    for _, model, runs, *shown, trained in ours:
        epochs, precision = trained.replace(" epochs", "").split(", ")
        part = rows[
            (rows["model"] == model.lower()) & (rows["epochs"] == int(epochs)) & (rows["precision"] == precision)
        ]
        for score, number in zip(("recon", "sap", "nap"), shown, strict=True):
            values = part.loc[part["score"] == score, "auroc"]
            assert len(values) == int(runs)
            assert number == f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def shown_tables(page):
    """The tables of a page, each as dicts of its columns' texts."""
    found = []
    for table in BeautifulSoup(page.read_text(), "html.parser").find_all("table"):
        head, *lines = [[cell.get_text(" ", strip=True).replace("\xa0", " ") for cell in row.find_all(["th", "td"])]
                        for row in table.find_all("tr")]  # fmt: skip
        found.append([dict(zip(head, line, strict=False)) for line in lines])
    return found


def test_fifty_numbers_of_the_papers_tables_are_those_of_their_rows(book):
    """Numbers drawn from the page of the paper's tables, each made again from the published rows by plain pandas."""
    rows = pd.read_csv(ROOT / "book" / "results" / "table2.csv", dtype={"target": str}, na_filter=False)
    rows[["auroc", "contamination"]] = rows[["auroc", "contamination"]].astype(float)
    rows = rows[rows["contamination"] == 0]
    papers = {theirs: {ours for ours, name in published.NAMES.items() if name == theirs} for theirs in
              published.NAMES.values()}  # fmt: skip
    multimodal, unimodal, *others = [table for table in shown_tables(book / "html" / "10_paper_tables.html")
                                     if table and {"recon", "SAP", "NAP"} <= set(table[0])]  # fmt: skip
    ours = [table for table in others if "runs" in table[0] and ("layers" in table[0] or "whose" not in table[0])]
    single, ten = sorted(ours, key=lambda table: "layers" in table[0])
    found = []
    for setting, table in (("multimodal", multimodal), ("unimodal", unimodal)):
        for line in table:
            epochs, *more = line["epochs"].split(", ")
            part = rows[rows["dataset"].isin(papers[line["dataset"]]) & (rows["setting"] == setting)]
            part = part[(part["model"] == line["model"]) & (part["epochs"].astype(str) == epochs)]
            precision = next((word.removeprefix("precision=") for word in more if "precision" in word), "float32")
            part = part[(part["precision"] == precision) & (part["options"] == "")]
            classes = part.groupby("seed")["target"].transform("nunique")
            found += [
                (line[name], part[2 * classes >= part["target"].nunique()], name) for name in ("recon", "SAP", "NAP")
            ]
    for line in single + [line for line in ten if line["whose"] == "ours" and line["layers"].startswith("paper")]:
        part = rows[(rows["dataset"] == "mnist") & (rows["setting"] == "multimodal")]
        part = part if "layers" in line else part[part["target"] == "1"]
        part = part[(part["model"] == line["model"].lower()) & (part["precision"] == line["precision"])]
        part = part[(part["epochs"].astype(str) == line["epochs"]) & (part["options"] == "")]
        if "layers" in line:  # seeds of which all ten digits are there
            part = part[part.groupby("seed")["target"].transform("nunique") == 10]
        found += [(line[name], part, name) for name in ("recon", "SAP", "NAP")]
    found = [each for each in found if re.match(r"\d", each[0])]
    for i in np.random.default_rng(0).permutation(len(found))[:50]:
        text, part, name = found[i]
        means = part[part["score"] == name.lower()].groupby("target")["auroc"].mean()  # of each class
        assert text.split(" ")[0] == f"{means.mean():.3f}", (text, name)
    assert len(found) > 100


def test_fifty_numbers_of_the_site_are_means_of_the_rows_they_lead_to(book):
    """Numbers drawn from all pages, each made again from the file and the conditions that its link leads to."""
    found, behind = [], {}
    for page in (book / "html").glob("*.html"):
        links = BeautifulSoup(page.read_text(), "html.parser").find_all("a", "rapp-rows")
        found += [(page.stem, link.get_text(), link["data-of"], *link["href"].split("#")) for link in links]
    assert {name for name, *_ in found} >= {"intro", "playground", "10_paper_tables", "12_tables_nobody_picked"}
    for i in np.random.default_rng(0).permutation(len(found))[:50]:
        _, text, column, rows, place = found[i]
        if rows not in behind:
            behind[rows] = BeautifulSoup((book / "html" / rows).read_text(), "html.parser")
        section = behind[rows].find(id=place)
        part = pd.read_csv(ROOT / section["data-file"], dtype=str, na_filter=False)
        part["line"] = (part.index + 2).astype(str)
        for name, values in json.loads(section["data-where"]).items():
            part = part[part[name].isin(values)]
        shown = text.split("±")[0].strip().replace(",", "")
        values = part[column].astype(float)
        mean = (
            values.groupby(part["target"]).mean().mean() if "target" in part else values.mean()
        )  # of each class first
        assert f"{mean:+.{len(shown.split('.')[1])}f}".lstrip("+") == shown, found[i]
    assert len(found) > 1_000


def test_a_number_that_is_not_the_mean_of_its_rows_leads_nowhere(book):
    """A number on the page that was changed by hand gets no link; its neighbours keep theirs."""
    page = (book / "html" / "12_tables_nobody_picked.html").read_text()
    plain = re.sub(r"<a class=\"rapp-rows\"[^>]*>([^<]*)</a>", r"\1", page)
    about = Page("12_tables_nobody_picked")
    assert traces.with_links(plain, about)[0] == page
    number = re.search(r'<a class="rapp-rows"[^>]*>([^<]*)</a>', page)[1]
    wrong = traces.with_links(plain.replace(f">{number}<", ">0.123<", 1), about)[0]
    assert wrong.count("rapp-rows") < page.count("rapp-rows")
    assert ">0.123</a>" not in wrong


def test_every_output_says_what_made_it(book):
    for notebook in (book / "html" / "_sources").glob("*.ipynb"):
        text = (book / "html" / f"{notebook.stem}.html").read_text()
        cells = {cell.id: cell for cell in nbformat.read(notebook, as_version=4).cells}
        lines = re.findall(r'this was made</summary><p>Cell <code>([^<]+)</code> of <a href="([^"]+)"', text)
        assert lines, notebook.stem
        for cell, source in lines:
            assert cells[cell].outputs
            assert (book / "html" / source).exists()
        assert f"make rerun NOTEBOOK={notebook.stem[:2]}" in text or not notebook.stem[:2].isdigit()


@pytest.mark.parametrize("name", [*CHAPTERS, "your_own_autoencoder"])
def test_a_notebooks_download_starts(book, browser, name):
    """From a server, as people see it: from a disk a browser shows the file instead."""
    handler = functools.partial(Silent, directory=book / "html")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{server.server_port}/{name}.html")
        with tab.expect_download(timeout=PATIENCE) as download:
            tab.evaluate("document.querySelector('a[href*=_sources][href$=ipynb]').click()")
        assert download.value.suggested_filename == f"{name}.ipynb"
        assert nbformat.read(download.value.path(), as_version=4).cells
        tab.close()
        server.shutdown()


def test_the_front_page_is_light_and_can_be_cited(book, opened):
    page = opened(book / "html" / "intro.html")
    sizes = "performance.getEntriesByType('resource').map(r => [r.name, r.decodedBodySize])"
    loaded = {name.rsplit("/", 1)[1].split("?")[0] for name, _ in page.evaluate(sizes)}
    assert not {name for name in loaded if name.startswith("net-")}
    assert page.get_attribute('meta[name="citation_title"]', "content").startswith("RaPP: Novelty Detection")
    assert page.locator('meta[name="citation_author"]').count() == 7


def test_the_book_is_one_pdf(book):
    pytest.importorskip("playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: nothing prints the book")
    command = [sys.executable, str(ROOT / "book" / "pdf.py"), f"--build={book}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content = (book / "rapp.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"file:///" not in content
    built = datetime.fromtimestamp((book / "html" / ".built" / "keys.json").stat().st_mtime, UTC)
    assert content.count(f"Date (D:{built:%Y%m%d%H%M%S}".encode()) == 2  # of the site, not of the clock
    assert not (book / "nothing").exists()
    done = subprocess.run([*command[:2], f"--build={book / 'nothing'}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: there is no book in {book / 'nothing'}: say make book first\n",
    )


def test_the_book_as_an_archive_opens_without_us(book, tmp_path, monkeypatch, capsys, browser):
    """Unpacked in an empty folder, no page asks for anything outside of it, and no file names this machine."""
    build = tmp_path / "build"
    shutil.copytree(book / "html", build / "html")
    shutil.copytree(book / "runs", build / "runs")
    (build / "rapp.pdf").write_text("%PDF-")
    status = git(status="")
    asked = archive.from_git
    monkeypatch.setattr(archive, "from_git", lambda *words: (status if words[0] == "status" else asked)(*words))
    monkeypatch.setattr(archive, "ask_pip", lambda _: REPORT)
    assert run(monkeypatch, capsys, build)[0] == 0
    (file,) = build.glob("rapp-*.zip")
    inside = unpacked(file, tmp_path / "empty")
    shutil.rmtree(build)
    tab, asked_for = browser.new_page(), []
    tab.on("request", lambda request: asked_for.append(request.url))
    tab.goto(f"file://{inside / 'site' / 'index.html'}")
    tab.wait_for_url("**/intro.html*")
    assert tab.locator("table").count()
    tab.close()
    assert all(url.startswith((f"file://{inside}", "data:", "blob:")) for url in asked_for)
    here = {str(ROOT), str(Path.home()), str(book)}
    for path in [*inside.glob("site/**/*"), *inside.glob("notebooks/*")]:
        if path.suffix in {".html", ".ipynb", ".js", ".txt", ".json", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert [name for name in here if f"{name}/" in text] == [], path
    assert json.loads((inside / "notebooks" / "03_rapp.ipynb").read_text())["cells"]
