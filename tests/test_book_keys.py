"""What makes which chapter stale, and how a build goes through them: without running any of them."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import joblib
import pytest

import book
import keys
from rapp.data import table_file
from tests.conftest import ROOT

CHAPTERS = {  # name: parameters, code
    "01_first": ("dataset = 'digits'", "print(dataset)"),
    "02_when_reconstruction_fails": ("dataset = 'digits'", "published.per_class(dataset)"),
    "03_rapp": ("dataset = 'digits'", "published.beside(rows, theirs)"),
    "04_base_models": ("dataset = 'digits'", "published.committed(dataset, profile)"),
    "10_tables": ("results = 'paper'", "published.our_rows(results)"),
    "11_why_nap_works": ("dataset = 'digits'", "1"),
    "12_ranks": ("dataset = 'digits'", "ranking.ranks(dataset)"),
    "why": ("seeds = 3", "dataset = 'digits'  # this is no parameter"),
}


def notebook(path, parameters, code, **metadata):
    """A notebook of one parameters cell and one other; its prose speaks of everything, which counts for nothing."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["published.our_rows\n", "dataset = 1"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [parameters]},
        {"cell_type": "code", "metadata": {}, "source": [code]},
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": metadata}))


@pytest.fixture
def project(tmp_path):
    """A small project folder of the same form as this one."""
    root = tmp_path / "project"
    files = {
        "rapp/pathway.py": "", "rapp/baselines/svdd.py": "", "rapp/notes.txt": "", ".constraints.txt": "",
        "book/execute.py": "", "book/build.py": "", "book/intro.md": "", "book/paper/table2.csv": "",
        "book/rappbook/figures/style.py": "", "book/results/plan.csv": "", "book/results/quick.csv": "",
        "book/results/scores/vae.csv.gz": "", "tests/test_x.py": "", "README.md": "",
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "notebooks").mkdir()
    for name, (parameters, code) in CHAPTERS.items():
        notebook(root / "notebooks" / f"{name}.ipynb", parameters, code)
    return root


def runs(root, datasets="digits", label="", profile="tiny", params=""):
    return keys.runs(keys.asked("mnist-5k", datasets, label, profile, params), root / "out", root)


def make_all(found):
    """Put executed notebooks where a build would."""
    for run in found:
        run.output.parent.mkdir(parents=True, exist_ok=True)
        run.output.write_text(json.dumps({"cells": [], "metadata": {"rapp": {"key": run.key}}}))


def stale(found):
    return [run.notebook.stem for run in keys.stale(found)]


ALL = list(CHAPTERS)
ROWS = ["04_base_models", "10_tables", "12_ranks"]


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("notebooks/03_rapp.ipynb", ["03_rapp"]),
        ("rapp/pathway.py", ALL),
        ("rapp/baselines/svdd.py", ALL),
        ("book/rappbook/figures/style.py", ALL),
        ("book/execute.py", ALL),
        (".constraints.txt", ALL),
        ("book/paper/table2.csv", ALL),
        ("rapp/a_new_one.py", ALL),
        ("rapp/data/paper.toml", ALL),  # names and sources that pages print
        ("book/results/quick.csv", ROWS),
        ("book/results/scores/vae.csv.gz", ROWS),
        ("book/results/a_new_one.csv", ROWS),
        ("book/results/plan.csv", []),
        ("rapp/notes.txt", []),
        ("book/build.py", []),
        ("book/intro.md", []),
        ("tests/test_x.py", []),
        ("README.md", []),
    ],
)
def test_a_change_makes_what_depends_on_it_stale_and_nothing_else(project, file, names):
    make_all(runs(project))
    assert stale(runs(project)) == []
    path = project / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(before + "\n")
    assert stale(runs(project)) == names
    if before or file in ("rapp/pathway.py", "book/results/quick.csv"):
        path.write_text(before)
        assert stale(runs(project)) == []  # what counts is the content, not the time


def test_a_file_that_is_gone_or_has_another_name_makes_stale(project):
    make_all(runs(project))
    (project / "rapp" / "pathway.py").rename(project / "rapp" / "path.py")
    assert stale(runs(project)) == ALL


@pytest.mark.parametrize("damage", ["absent", "half", "empty", "of another program"])
def test_a_notebook_that_is_not_whole_is_stale(project, damage):
    found = runs(project)
    make_all(found)
    output = found[2].output
    if damage == "absent":
        output.unlink()
    else:
        whole = output.read_text()
        output.write_text({"half": whole[: len(whole) // 2], "empty": ""}.get(damage, '{"metadata": {}}'))
    assert stale(found) == ["03_rapp"]


def test_a_table_makes_its_own_chapters_stale_alone(project):
    table = project / "parts.of.mine.csv"
    table.write_text("a,kind\n")
    words = {"datasets": f"digits {table}", "label": "kind"}
    make_all(runs(project, **words))
    assert stale(runs(project, **words)) == []
    table.write_text("a,kind\n1,ok\n")
    changed = keys.stale(runs(project, **words))
    assert {run.dataset for run in changed} == {str(table)}
    assert [run.notebook.stem for run in changed] == [name for name in ALL if name not in ("10_tables", "why")]
    table.unlink()
    assert len(keys.stale(runs(project, **words))) == len(changed)
    assert {run.label for run in runs(project, **words) if run.dataset == "digits"} == {""}
    assert {run.label for run in runs(project, **words) if run.dataset == str(table)} == {"kind"}


def test_order_and_chapters_that_are_the_same_on_all_data(project):
    found = [(run.dataset, run.notebook.stem) for run in runs(project, datasets="kmnist digits")]
    of_data = [name for name in ALL if name not in ("10_tables", "why")]
    assert found == [("kmnist", name) for name in ALL] + [("digits", name) for name in of_data]
    assert [run.dataset for run in runs(project, datasets="digits digits")] == ["digits"] * len(ALL)
    assert {run.dataset for run in runs(project, datasets="")} == {"mnist-5k"}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("digits", "", "tiny", ""), r"digits/tiny"),
        (("digits", "", "quick", "target=8"), r"digits/quick-\w{8}"),
        (("a/parts.of.mine.csv", "kind", "tiny", ""), r"parts-\w{8}/tiny"),
        (("../it's.csv", "the kind's", "tiny", "target='a b' seeds=2"), r"it's-\w{8}/tiny-\w{8}"),
        ((".csv", "", "tiny", ""), r"csv-\w{8}/tiny"),
    ],
)
def test_a_folder_carries_what_its_chapters_are_run_with(words, name):
    assert re.fullmatch(name, keys.folder_name(*words))


def test_other_words_give_another_folder():
    words = [
        ("a.csv", "kind", "tiny", "target=8"),
        ("a.csv", "kinds", "tiny", "target=8"),
        ("b/a.csv", "kind", "tiny", "target=8"),
        ("a.csv", "kind", "tiny", "target='8 '"),
        ("a.csv", "kind", "tiny", "target=8 seeds=1"),
        ("a.csv", "kind", "quick", "target=8"),
        ("a.csv kind", "", "tiny", "target=8"),
    ]
    assert len({keys.folder_name(*each) for each in words}) == len(words)


def test_a_data_set_with_labels_of_its_own_takes_no_label(project):
    assert keys.folders(keys.asked("digits", "", "kind", "tiny", "")) == ["digits/tiny"]
    assert [run.key for run in runs(project, label="kind")] == [run.key for run in runs(project)]


@pytest.mark.parametrize("words", [("a b", "tiny"), ("", "tiny"), ("digits", "tiny quick"), ("digits", "")])
def test_names_are_one_word_each(words):
    with pytest.raises(ValueError, match=r"must be one word each; several data sets are DATASETS="):
        keys.asked(words[0], "", "", words[1], "")


def test_a_notebook_that_needs_rows_shows_rows(project):
    path = project / "notebooks" / "01_first.ipynb"
    notebook(path, "dataset = 1", "1", rapp={"needs": "images"})
    assert not keys.chapter(path, project).shows_rows
    notebook(path, "dataset = 1", "1", rapp={"needs": "rows"})
    assert keys.chapter(path, project).shows_rows
    path.write_text("<<<<<<< HEAD\n")
    with pytest.raises(ValueError, match=r"01_first.ipynb is no notebook"):
        keys.chapter(path, project)


def test_every_function_that_reads_published_rows_is_known():
    """Of ``published``, whatever leads to book/results/; a chapter that calls a new one would not become stale."""
    tree = ast.parse((ROOT / "book" / "rappbook" / "published.py").read_text(encoding="utf-8"))
    text = {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    readers = {name for name, code in text.items() if "'results'" in code}
    while more := {name for name, code in text.items() for reader in readers if f"{reader}(" in code} - readers:
        readers |= more
    public = {name for name in readers if not name.startswith(("_", "publish"))}
    assert public > {"our_rows", "all_rows"}
    assert all(keys.SHOWS_ROWS.search(f"published.{name}(x)") for name in public), public


def test_the_chapters_of_this_book():
    of = {chapter.path.stem: chapter for chapter in keys.chapters()}
    assert "11_why_nap_works" in of
    general = {"10_paper_tables", "12_tables_nobody_picked", "why_numbers_differ"}
    assert {name for name, chapter in of.items() if chapter.is_general} == general
    shown = {name for name, chapter in of.items() if chapter.shows_rows}
    rivals = {"05_classical", "06_deep_kernels", "07_gans", "08_self_supervised"}
    assert {"04_base_models", "09_who_wins_where", "10_paper_tables"} | rivals <= shown
    assert not {"01_anomaly_detection", "03_rapp"} & shown
    assert set(book.AFTER) <= set(of)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("book/intro.md", True),
        ("book/results/plan.csv", True),  # the intro shows published rows, so any of these files is looked at again
        ("out/runs/digits/tiny/03_rapp.ipynb", True),
        ("out/runs/reruns/03-digits/03_rapp.ipynb", True),
        ("out/runs/digits/tiny/03_rapp.failed.ipynb", False),
        ("out/runs/reruns/03-digits/03_rapp.running.ipynb", False),
        ("out/runs/kmnist/tiny/03_rapp.ipynb", False),
        ("book/_build/x", False),
        ("book/rappbook/__pycache__/x", False),
        ("book/.x.swp", False),
        ("rapp/pathway.py", False),
        ("CITATION.cff", True),  # it is in every page's head
    ],
)
def test_the_site_depends_on_its_pages_and_executed_notebooks(project, file, changes):
    def key():
        return keys.site_key(project / "out", ["digits/tiny"], project)

    make_all(runs(project))
    before = key()
    assert before == key() != keys.built_key(project / "out")
    assert before != keys.site_key(project / "out", [], project)
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    (project / file).write_text("changed")
    assert (key() != before) is changes


@pytest.mark.parametrize(
    ("text", "makeflags", "jobs"),
    [
        ("", "", 2),
        ("", " -j1 --jobserver-auth=3,4", 1),
        ("", "k -j8 --jobserver-auth=3,4 -- PARAMS=x", 8),
        ("", " --jobserver-fds=3,4 -j", 2),  # GNU Make 3.81 keeps the number to itself
        ("3", " -j2", 3),
        (" 2 ", "", 2),
    ],
)
def test_notebooks_side_by_side(monkeypatch, text, makeflags, jobs):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert book.jobs_asked(text, makeflags) == jobs


def test_one_core_runs_one_notebook(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert book.jobs_asked("") == 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "2 3"])
def test_a_wrong_number_of_jobs_ends_with_one_line(text, capsys, tmp_path):
    assert book.main(["--build", str(tmp_path), f"--jobs={text}"]) == 2
    assert capsys.readouterr().err == f"error: JOBS={text} must be a whole number of at least 1\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("jobs", "cores"), [(1, None), (2, "4"), (3, "2"), (64, "1")])
def test_notebooks_side_by_side_share_the_cores(monkeypatch, jobs, cores):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    for name in ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert book.environment(jobs).get("LOKY_MAX_CPU_COUNT") == cores
    assert book.environment(jobs).get("OMP_NUM_THREADS") == cores
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "5")  # what a user says goes before
    assert book.environment(jobs)["LOKY_MAX_CPU_COUNT"] == "5"


def log_only(run, log, fails):
    """In place of executing a chapter, write when that began and ended; the exit status."""
    with open(log, "a") as file:
        print("+", f"{run.dataset}/{run.notebook.stem}", file=file, flush=True)
        time.sleep(1 if fails else 0.2)
        print("-", f"{run.dataset}/{run.notebook.stem}", file=file, flush=True)
    return 3 if run.notebook.stem in fails else 0


def in_steps(project, datasets, jobs, fails=()):
    """Go through a book's chapters with ``log_only``; the status, and what the log says."""
    log = project / "log"
    status = book.run_all(runs(project, datasets), jobs, partial(log_only, log=log, fails=fails))
    return status, [line.split() for line in log.read_text().splitlines()]


def test_one_after_the_other_in_order(project):
    """Those whose models others read come first."""
    status, steps = in_steps(project, "digits kmnist", 1)
    assert status == 0
    found = [(run.dataset, run.notebook.stem) for run in runs(project, "digits kmnist")]
    first = [name for name in found if name[1] in book.AFTER]
    order = ["/".join(name) for name in first + [name for name in found if name not in first]]
    assert [name for sign, name in steps if sign == "+"] == order
    assert [sign for sign, _ in steps] == ["+", "-"] * len(order)


def test_side_by_side_but_for_those_that_read_models_of_others(project):
    status, steps = in_steps(project, "digits kmnist", 3)
    assert status == 0
    at_work, most, ended = set(), 0, set()
    for sign, name in steps:
        dataset, chapter = name.split("/")
        if sign == "+":
            assert not book.AFTER.get(chapter) or f"{dataset}/{book.AFTER[chapter]}" in ended, steps
        at_work = at_work | {name} if sign == "+" else at_work - {name}
        ended |= {name} if sign == "-" else set()
        most = max(most, len(at_work))
    assert 2 <= most <= 3
    assert len(ended) == len(runs(project, "digits kmnist"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_failure_starts_no_other(project, jobs):
    status, steps = in_steps(project, "digits", jobs, fails=("02_when_reconstruction_fails",))
    assert status == 3
    begun = [name for sign, name in steps if sign == "+"]
    assert "digits/03_rapp" not in begun
    # Others may begin until the failure is known, which takes a moment; but not half of the book.
    after = steps[steps.index(["-", "digits/02_when_reconstruction_fails"]) + 1 :]
    assert sum(sign == "+" for sign, _ in after) < len(runs(project, "digits")) / 2, steps
    assert len(steps) == 2 * len(begun)  # what had begun came to its end


def killed(run):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_a_failure_with_a_line(project, capfd):
    assert book.run_all(runs(project), 1, killed) == 1
    said = capfd.readouterr().err
    assert (
        said == "error: a process was killed, perhaps for lack of memory; at work were 02_when_reconstruction_fails\n"
    )


def hold(run):
    print(end="1", flush=True)
    time.sleep(600)


def is_gone(group):
    """Whether a group has no process left; multiprocessing's own tracker outlives its parent by a moment."""
    time.sleep(0.1)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("whole_group", [False, True])  # a signal to make's child; Ctrl-C reaches its children, too
def test_an_interrupted_build_leaves_nothing_running_and_says_nothing(project, whole_group):
    script = f"""
import signal, sys, book, keys
from tests.test_book_keys import hold
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it, and so would this
found = keys.runs(keys.asked("digits", "", "", "tiny", ""), keys.Path("out"), keys.Path({str(project)!r}))
try:
    book.run_all(found, 2, hold)
except KeyboardInterrupt:
    sys.exit(143)
"""
    build = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'book'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert build.stdout.read(2) == b"11"  # both are at work
    if whole_group:
        os.killpg(build.pid, signal.SIGINT)
    else:
        build.terminate()
    assert build.wait(timeout=60) == 143
    assert build.communicate(timeout=60) == (b"", b"")  # which come to their ends when no process holds them open
    assert any(is_gone(build.pid) for _ in range(600))


def test_quotes_and_spaces_arrive_as_they_are(project):
    what = keys.asked("it's.csv", "", "the 'kind'", "tiny", "target='a b' seeds=2")
    run = keys.runs(what, project / "out", project)[0]
    words = book.words_of(run, what, "")
    assert {"--dataset=it's.csv", "--label=the 'kind'", "--params=target='a b' seeds=2", "--scheduler="} <= set(words)
    assert f"--key={run.key}" in words


def test_make_hands_over_quotes_and_spaces_as_they_are(make, tmp_path):
    """Where a recipe would run Python there is a script that prints what it is given."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".rapp-installed").touch()
    os.utime(tmp_path / ".rapp-installed", (time.time() + 1000,) * 2)
    words = ["DATASET=it's.csv", "LABEL=the 'kind'", "PARAMS=target='a b' other=\"c\"", "SCHEDULER=tcp://h:1"]
    common = "[--dataset=it's.csv]{}[--label=the 'kind'][--profile=quick][--params=target='a b' other=\"c\"]"
    said = make("book", *words, "BUILD=my build", f"VENV={tmp_path}").stdout
    assert (
        said == "[book/book.py][--build=my build]" + common.format("[--datasets=]") + "[--jobs=][--scheduler=tcp://h:1]"
    )
    said = make("rerun", *words, "NOTEBOOK=0'2", f"VENV={tmp_path}").stdout
    assert said == "[book/rerun.py][--build=book/_build][--notebook=0'2]" + common.format("")
    assert make("rows", "JOBS=2", f"VENV={tmp_path}").stdout == "[book/rows.py][run][--home=.rows][--jobs=2]"
    assert make("table", "OUT=a b", f"VENV={tmp_path}").stdout == "[book/rows.py][table][--out][a][b]"
    assert "say OUT=folder, where rapp run put its cells" in make("results", f"VENV={tmp_path}").stderr


def test_the_check_imports_nothing_that_takes_long(tmp_path):
    script = "import sys, book, keys; keys.stale(keys.runs(keys.asked('digits', '', '', 'tiny', ''), keys.Path('x')));"
    script += "print({'torch', 'rapp', 'papermill', 'pandas', 'numpy', 'joblib'} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "book")}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_makefile_is_for_gnu_make_of_2006_and_for_people():
    """macOS has GNU Make 3.81, which knows not all of these; a page that anyone can read needs none of them."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    newer = (".ONESHELL", "$(file", "&:", "undefine", "private", "::=")
    for word in (*newer, "$(shell", "$(eval", "$(call", "$(foreach", "define"):
        assert word not in text, word
    assert text.count("\n") <= 125


def test_a_table_without_labels_is_known_by_the_names_that_rapp_reads():
    assert keys.SUFFIXES == table_file.SUFFIXES
    assert not any(keys.has_labels(f"t{suffix.upper()}", "") for suffix in keys.SUFFIXES)
    assert keys.has_labels("t.csv", "kind")
    assert keys.has_labels("mnist-5k", "")
