"""Books of other data, and chapters run again: what they hold, and the one line that ends what is wrong."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import execute
import keys
import rerun
from tests.conftest import ROOT, Links

pytestmark = pytest.mark.slow

NOTEBOOK = ROOT / "notebooks" / "01_anomaly_detection.ipynb"


@pytest.fixture
def told(capsys, monkeypatch):
    """Run a script of ``book/`` in this process, with words as make takes them; the one line that it ends with."""

    def run(script, *words):
        options = [f"--{word.split('=', 1)[0].lower()}={word.split('=', 1)[1]}" for word in words if "=" in str(word)]
        monkeypatch.setattr(sys, "argv", ["make", *(str(word) for word in words if "=" not in str(word)), *options])
        assert script.main() != 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("rapp: ")]
        return line

    return run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["DATASET=minst"], "error: dataset 'minst' is unknown; allowed: mnist-5k, mnist, fashion-mnist, kmnist"),
        (["PROFILE=fast"], "error: profile 'fast' is unknown; allowed: tiny, quick, paper"),
        (["PARAMS=target=11"], "error: target 11 is no class of digits; allowed: 0, 1"),
        (["PARAMS=epochs=-1"], "error: epochs=-1 must be a whole number of at least 1"),
        (["PARAMS=epoch=3"], "error: PARAMS: 'epoch' is unknown; allowed: dataset, label, target"),
        (["PARAMS=target='1"], 'error: PARAMS: "target=\'1": No closing quotation'),
        (["PARAMS=dataset=mnist"], "error: PARAMS: say DATASET=mnist instead"),
        (["PARAMS=seeds=[1]"], "error: seeds=[1] must be a whole number"),
        (["PARAMS=epochs=1 epochs=2"], "error: PARAMS: 'epochs=2' is the second value of epochs; say one"),
        (["PARAMS=target"], "error: PARAMS: 'target' must have the form name=value"),
    ],
)
def test_wrong_names_end_with_one_line(tmp_path, told, words, says):
    line = told(execute, NOTEBOOK, tmp_path / NOTEBOOK.name, "DATASET=digits", "PROFILE=tiny", *words)
    assert line.startswith(says)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"] * len(list(tmp_path.iterdir()))


def test_plain_papermill_runs_a_notebook_with_other_parameters(tmp_path):
    out = tmp_path / "out.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(ROOT / "notebooks" / "02_when_reconstruction_fails.ipynb"),
        str(out),
    ]
    command += [
        "-p",
        "target",
        "8",
        "-p",
        "profile",
        "tiny",
        "-p",
        "seeds",
        "1",
        "--kernel",
        "python3",
        "--start-timeout",
        "600",
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "novel class is **8**" in json.dumps(json.loads(out.read_text()), ensure_ascii=False)


def write_table(path, **changes):
    """A table of two classes, the rarer of which is shifted."""
    rng = np.random.default_rng(0)
    novel = np.arange(400) >= 340
    frame = pd.DataFrame(rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 2 * novel[:, None]).add_prefix("f")
    frame["colour"] = rng.choice(["red", "blue"], 400)
    frame["kind"] = np.where(novel, "faulty", "ok")
    frame.assign(**changes).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def sites(make, tmp_path_factory):
    """One site of two data sets, one of them a table, with two reruns of one chapter."""
    build = tmp_path_factory.mktemp("sites")
    words = ("PROFILE=tiny", f"BUILD={build}")
    data = write_table(build / "parts.csv")
    result = make("book", *words, f"DATASETS=digits {data}", "LABEL=kind", "PARAMS=seeds=2", "JOBS=2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "02_when_reconstruction_fails: needs images, and parts.csv is a table; left out" in result.stderr
    assert "stored rows, and book/results/ has none of parts.csv at profile quick; left out" in result.stderr
    for params in ("target=8 seeds=1", "target=3 seeds=1 epochs=1"):
        result = make("rerun", *words, "NOTEBOOK=04", "DATASET=digits", f"PARAMS={params}")
        assert result.returncode == 0, result.stdout + result.stderr
        assert str(build / "html" / "reruns") in result.stdout
    return build / "html"


def test_one_site_has_a_section_per_data_set(sites):
    root = Links((sites / "sites.html").read_text())
    (section,) = [link for link in root.targets if link.endswith("/index.html") and link.startswith("parts-")]
    there = (sites / section).parent
    assert (there / "03_rapp.html").exists()
    assert (there / "04_base_models.html").exists()
    assert not (there / "02_when_reconstruction_fails.html").exists()
    assert not (there / "09_who_wins_where.html").exists()
    assert (sites / "11_why_nap_works.html").exists()
    assert not (there / "11_why_nap_works.html").exists()
    assert (sites / "your_own_autoencoder.html").exists()
    assert not (there / "your_own_autoencoder.html").exists()
    assert (sites / "10_paper_tables.html").exists()
    assert not (there / "10_paper_tables.html").exists()  # the same on all data
    assert (there / "your_table.html").exists()
    assert not (sites / "your_table.html").exists()
    front = (there / "intro.html").read_text()
    assert "The most suspicious of the test rows" in front
    assert "Nothing was dropped or changed" in front
    assert not re.search(r"digit|MNIST", re.sub(r"<(script|style).*?</\1>", "", front, flags=re.DOTALL))
    assert not (there / "playground.html").exists()
    assert "left out: needs images" in (there / "status.html").read_text()
    assert "../index.html" in Links((there / "sites.html").read_text()).targets
    text = (there / "03_rapp.html").read_text()
    assert "target class faulty" in text
    assert "in another chapter" in text


def test_a_table_without_labels_has_a_book_of_its_rows(make, tmp_path):
    data = write_table(tmp_path / "parts.csv")
    result = make("book", "PROFILE=tiny", f"BUILD={tmp_path}", f"DATASET={data}", "PARAMS=seeds=1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no LABEL=… was given" in result.stderr
    assert result.stderr.count("running (") == 1
    front = (tmp_path / "html" / "intro.html").read_text()
    assert "The rows to look at first" in front
    assert "no row was scored by a model that had seen it" in front
    assert (tmp_path / "html" / "your_rows.html").exists()
    assert not list((tmp_path / "html").glob("0*.html"))
    assert not (tmp_path / "html" / "your_table.html").exists()


def test_reruns_live_side_by_side_and_are_listed(sites):
    pages = sorted(str(path.relative_to(sites)) for path in sites.glob("reruns/*/04_base_models.html"))
    assert pages == [
        "reruns/04-digits-tiny-target-3-seeds-1-epochs-1/04_base_models.html",
        "reruns/04-digits-tiny-target-8-seeds-1/04_base_models.html",
    ]
    listed = Links((sites / "sites.html").read_text()).targets
    assert all(page in listed for page in pages)
    assert "novel class <strong>8</strong>" in (sites / pages[1]).read_text()


def test_every_link_of_the_whole_site_leads_somewhere(sites):
    for file in sites.rglob("*.html"):
        if "_static" in file.parts:
            continue
        for target in Links(file.read_text(encoding="utf-8")).targets:
            path = target.partition("#")[0].split("?")[0]
            if path and not re.match(r"\w+:|//|search\.html", target):
                assert (file.parent / path).exists(), (file, target)


def test_no_page_loads_anything_from_elsewhere(sites):
    """Nor those that no test opens in a browser, such as the search's."""
    loads = re.compile(r"<(?:script|img|iframe|link|source|video)\b[^>]*\b(?:src|srcset|href)=\"(?:https?:)?//[^>]+")
    for file in sites.rglob("*.html"):
        assert loads.findall(file.read_text(encoding="utf-8")) == [], file
    for file in sites.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)[\s\"']*(?:https?:)?//", file.read_text(encoding="utf-8")), file


def test_another_build_of_the_book_keeps_the_reruns(sites, make):
    result = make("book", "PROFILE=tiny", f"BUILD={sites.parent}", "DATASETS=digits", "PARAMS=seeds=2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(sites.glob("reruns/*/04_base_models.html"))) == 2


@pytest.mark.parametrize(
    ("changes", "words", "says"),
    [
        ({}, [], "is a table: name its label column (LABEL=…)"),
        ({}, ["LABEL=kinds"], "has no column 'kinds'; did you mean 'kind'?"),
        ({"f2": [np.nan] + [1.0, 2.0] * 199 + [3.0]}, ["LABEL=kind"], "column 'f2' has 1 missing values"),
        ({"f2": [np.inf] + [1.0, 2.0] * 199 + [3.0]}, ["LABEL=kind"], "column 'f2' has 1 infinite values"),
        ({"kind": "ok"}, ["LABEL=kind"], "has one class ('ok')"),
        ({"f2": ["n/k"] + [1.0] * 399}, ["LABEL=kind"], "column 'f2' has text among numbers: 'n/k' in data row 1"),
        ({}, ["LABEL=kind", "PARAMS=target=11"], "target 11 is no class of bad.csv; allowed: faulty, ok"),
        ({}, ["LABEL=kind", "PARAMS=epochs=-1"], "epochs=-1 must be a whole number"),
    ],
)
def test_bad_tables_end_with_one_line(tmp_path, told, changes, words, says):
    data = write_table(tmp_path / "bad.csv", **changes)
    line = told(execute, NOTEBOOK, tmp_path / NOTEBOOK.name, f"DATASET={data}", "PROFILE=tiny", *words)
    assert says in line
    assert not (tmp_path / NOTEBOOK.name).exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["NOTEBOOK=99"], "error: NOTEBOOK='99' names no chapter; give NOTEBOOK=03 or the like, allowed: 01, 02, 03"),
        ([], "error: NOTEBOOK='' names no chapter"),
        (["NOTEBOOK=02", "PARAMS=target=11"], "error: target 11 is no class of digits"),
        (["NOTEBOOK=04", "PARAMS=contamination=0.1"], "error: PARAMS: chapter 04 has no 'contamination'; it has"),
    ],
)
def test_wrong_reruns_end_with_one_line(tmp_path, told, words, says):
    words = {"NOTEBOOK": "", **dict(word.split("=", 1) for word in words)}
    asked = [f"{name}={value}" for name, value in words.items()]
    line = told(rerun, "DATASET=digits", "PROFILE=tiny", f"BUILD={tmp_path}", *asked)
    assert line.startswith(says)
    assert list(tmp_path.iterdir()) == []


def test_of_two_builds_at_once_the_second_waits_and_says_so(tmp_path):
    output = tmp_path / "01_anomaly_detection.ipynb"
    command = [sys.executable, str(ROOT / "book" / "execute.py"), str(ROOT / "notebooks" / output.name), str(output)]
    command += ["--dataset", "digits", "--profile", "tiny"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=1800)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (waiting,) = [text for text in said if "another build is at it; waiting for it" in text]
    assert "the other build has made it" in waiting
    assert "papermill" in json.loads(output.read_text())["metadata"]


def test_make_j_and_jobs_say_how_many_run_side_by_side(tmp_path):
    """``make -j3`` hands its number over in a variable of its own, GNU Make 3.81 does not: there it is ``JOBS=3``."""
    script = (
        "import sys; sys.path.insert(0, 'book'); import book, os; print(book.jobs_asked('', os.getenv('MAKEFLAGS')))"
    )
    makefile = tmp_path / "Makefile"
    makefile.write_text(f'all:\n\t@{sys.executable} -c "{script}"\n')
    unset = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    is_old = " 3.8" in subprocess.run(["make", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    usual = min(2, os.cpu_count())
    for words, jobs in (
        ((), usual),
        (("-j1",), usual if is_old else 1),
        (("-j3",), usual if is_old else 3),
        (("-j",), usual),
    ):
        command = ["make", "--no-print-directory", "-f", makefile, *words]  # under `make test` a make within a make
        made = subprocess.run(command, cwd=ROOT, env=unset, capture_output=True, text=True)
        assert made.stdout.split() == [str(jobs)], made.stderr


def test_notebooks_run_on_a_cluster(make, tmp_path):
    distributed = pytest.importorskip("dask.distributed", reason="Dask is not installed")
    output = tmp_path / "01_anomaly_detection.ipynb"
    command = [sys.executable, str(ROOT / "book" / "execute.py"), str(ROOT / "notebooks" / output.name), str(output)]
    command += ["--dataset=digits", "--profile=tiny", "--key=the key"]
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        scheduler = cluster.scheduler_address
        result = subprocess.run([*command, f"--scheduler={scheduler}"], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert f"01_anomaly_detection: on {scheduler}" in result.stderr
        assert "papermill" in json.loads(output.read_text())["metadata"]
        assert keys.stored_key(output) == "the key"
        words = ("DATASET=digits", "PROFILE=tiny", f"BUILD={tmp_path}", f"SCHEDULER={scheduler}")
        wrong = make("book", *words, "PARAMS=target=11")
        assert wrong.returncode != 0
        assert wrong.stderr.count("error: target 11 is no class of digits") == 1  # found before anything is sent there
    gone = make("book", *words)
    assert gone.returncode != 0
    assert gone.stderr.count("cannot be reached") == 1
    assert "Traceback" not in wrong.stderr + gone.stderr
