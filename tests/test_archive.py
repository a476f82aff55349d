"""``make archive``: one zip with all that it takes to read, check and rebuild the book."""

import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime

import pytest

import archive
import build as site
from tests.conftest import ROOT

DATE = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
PACKAGE = {"metadata": {"name": "numpy", "version": "0.0.1"}}
REPORT = {
    "environment": {"python_full_version": "3.11.2", "platform_machine": "x86_64", "sys_platform": "linux"},
    "install": [
        {"metadata": {"name": "rapp", "version": "0.1.0"}, "download_info": {"url": "file:///a/b", "dir_info": {}}},
        PACKAGE | {"download_info": {"url": "https://a/b", "archive_info": {"hashes": {"sha256": 64 * "a"}}}},
    ],
}


@pytest.fixture
def build(tmp_path):
    """A build folder with the least that an archive takes."""
    for name, text in {
        "html/index.html": "<p>a page</p>", "html/_sources/a.ipynb": "{}",
        "html/.built/keys.json": '["mnist-5k/tiny", "digits/tiny"]',
        "rapp.pdf": "%PDF-", "runs/mnist-5k/tiny/a.ipynb": "{}", "runs/mnist-5k/tiny/b.failed.ipynb": "{}",
        "runs/mnist-5k/tiny/b.running.ipynb": "{}", "runs/digits/tiny/a.ipynb": "{}", "runs/reruns/c/a.ipynb": "{}",
        "runs/digits/quick/a.ipynb": "{}",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def unpacked(file, folder):
    """The one folder in a zip, checked by the program that its README.txt names."""
    zipfile.ZipFile(file).extractall(folder)
    (inside,) = folder.iterdir()
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=inside, check=True)
    listed = {line.split("  ", 1)[1] for line in (inside / "SHA256SUMS").read_text().splitlines()}
    files = {path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()}
    assert listed == files - {"SHA256SUMS"}
    return inside


def test_an_archive_holds_site_notebooks_and_project_and_its_checksums_hold(build, tmp_path):
    found = archive.files_of(build) | {"README.txt": b"a text", "requirements.lock": b"a lock"}
    archive.pack(found, "rapp-1", DATE, build / "rapp-1.zip")
    inside = unpacked(build / "rapp-1.zip", tmp_path / "empty")
    names = {"README.txt", "SHA256SUMS", "requirements.lock", "rapp.pdf", "site", "notebooks", "project"}
    assert {path.name for path in inside.iterdir()} == names
    notebooks = {path.relative_to(inside / "notebooks").as_posix() for path in inside.glob("notebooks/**/*.ipynb")}
    assert notebooks == {"a.ipynb", "digits-tiny/a.ipynb", "reruns/c/a.ipynb"}
    assert not list((inside / "site").glob(".*"))
    for name in ("Makefile", "book/results/table2.csv", "rapp/pathway.py", ".constraints.txt"):
        assert (inside / "project" / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_same_files_make_the_same_bytes(build):
    found = archive.files_of(build) | {"README.txt": b"a text", "requirements.lock": b"a lock"}
    for name in ("one.zip", "two.zip"):
        archive.pack(dict(reversed(found.items())) if name == "two.zip" else found, "rapp-1", DATE, build / name)
    assert (build / "one.zip").read_bytes() == (build / "two.zip").read_bytes()


def test_an_archive_is_whole_or_absent(build):
    with pytest.raises(FileNotFoundError):
        archive.pack({"a": b"1", "b": build / "nothing"}, "rapp-1", DATE, build / "rapp-1.zip")
    assert not [path for path in build.iterdir() if "zip" in path.name]


def test_the_lock_has_versions_and_hashes_and_no_address():
    first, numpy, differs = archive.locked(REPORT).splitlines()
    assert first == "# Python 3.11.2, x86_64, linux"
    assert numpy == f"numpy==0.0.1 --hash=sha256:{64 * 'a'}"
    assert differs.startswith("# this book was built with numpy ")
    assert "://" not in archive.locked(REPORT)


def run(monkeypatch, capsys, build):
    """``make archive`` without make; its exit status and what it says."""
    monkeypatch.setattr(sys, "argv", ["archive.py", f"--build={build}"])
    status = archive.main()
    told = capsys.readouterr()
    return status, told.err or told.out


def git(**words):
    """A git that says so."""
    said = {"rev-parse": "0123456789\n", "status": "", "show": "1795000000\n", "ls-files": "Makefile\0"} | words
    return lambda *command: said[command[0]]


def test_what_stands_in_the_way_is_one_line(build, monkeypatch, capsys):
    monkeypatch.setattr(archive, "from_git", git(status=" M rapp/cell.py\n M README.md\n"))
    status, told = run(monkeypatch, capsys, build)
    assert (status, told.count("\n")) == (2, 1)
    assert told.startswith("error: rapp/cell.py is not committed: commit first")
    monkeypatch.setattr(archive, "from_git", git())
    monkeypatch.setattr(archive.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "a\nb c\n"))
    status, told = run(monkeypatch, capsys, build)
    assert (status, told.count("\n")) == (2, 1)
    assert told.startswith("error: pip could not tell the packages' hashes (b c); try again")
    shutil.rmtree(build / "html")
    status, told = run(monkeypatch, capsys, build)
    assert (status, told.count("\n")) == (2, 1)
    assert told.startswith("error: there is no book with its PDF")
    assert not list(build.glob("*.zip"))


def test_outside_of_a_checkout_there_is_no_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="needs git and a checkout"):
        archive.from_git("rev-parse", "HEAD")


def test_references_to_a_page_that_the_pdf_leaves_out_are_words():
    text = "{doc}`sites`, {doc}`the list of versions <sites>`, {doc}`what it is <notation>`, {doc}`notation`"
    left = "“All versions”, the list of versions, {doc}`what it is <notation>`, {doc}`notation`"
    assert site.loosened(text, set(), {"sites": "All versions"}) == left


def test_the_replication_statement_keeps_its_sections_when_it_is_filled():
    text = (site.BOOK / "replication.md").read_text(encoding="utf-8")
    filled = site.replication_filled(text)
    outside = re.sub(r"^(`{3,}).*?^\1`*$", "", filled, flags=re.M | re.S)
    assert re.findall(r"^## .*$", outside, re.M) == re.findall(r"^## .*$", text, re.M)
    assert re.search(r"\d trainings on \w+, about [\d,.]+ hours", outside)
    assert "{{" not in outside
