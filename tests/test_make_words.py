"""What people type after ``make`` arrives as they typed it, or is refused in one sentence."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

import keys
import rerun
from tests.conftest import ROOT

NAMES = [
    "my table.csv",
    "R&D.csv",
    "data(1).csv",
    "run#1.csv",
    "a;b.csv",
    "100%.csv",
    "o'brien.csv",
    "a:b.csv",
    "a*b.csv",
]
NAMES += ["a+b=c.csv", "a$b.csv", "a$(b).csv", "back`tick.csv", 'say "so".csv', "{site}.csv", "größe.csv", "-dash.csv"]


@pytest.fixture
def typed(tmp_path):
    """Run make with a Python that only writes down what it is called with, and return make's result and that."""
    python, said = tmp_path / "venv" / "bin" / "python", tmp_path / "said.json"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexec /usr/bin/env python3 -c 'import json, sys; json.dump(sys.argv[1:], "
                      f"open(\"{said}\", \"w\"))' \"$@\"\n")  # fmt: skip
    python.chmod(0o755)
    (tmp_path / "venv" / ".rapp-installed").touch()

    def run(target, **words):
        said.unlink(missing_ok=True)
        given = [f"{name}={value}" for name, value in {"VENV": tmp_path / "venv", **words}.items()]
        command = ["make", "--no-print-directory", target, *given]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done, json.loads(said.read_text()) if said.exists() else []

    return run


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["book", "rerun"])
def test_names_with_any_letters_reach_the_book(typed, target, name):
    done, words = typed(target, DATASET=name, LABEL="cost ($)", NORMAL="#1 'ok'", PARAMS='target="a $b"', NOTEBOOK="03")
    assert (done.returncode, done.stderr) == (0, "")
    assert {f"--dataset={name}", "--label=cost ($)=#1 'ok'", '--params=target="a $b"'} <= set(words)


@pytest.mark.parametrize(("name", "value"), [("VENV", "a b"), ("VENV", ""), ("BUILD", " ")])
def test_folders_that_make_cannot_take_are_refused(typed, name, value):
    done, words = typed("clean", **{name: value})
    assert done.returncode != 0
    assert f'{name}="{value.strip()}"' in done.stderr
    assert words == []


@pytest.mark.parametrize("name", ["a b", "a;b", "a$b"])
def test_clean_deletes_the_folder_that_was_named_and_no_other(typed, tmp_path, name):
    for folder in ("a", "b", "a b", "a;b", "a$b"):
        (tmp_path / folder).mkdir()
    assert typed("clean", BUILD=tmp_path / name)[0].returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "a b", "a;b", "a$b", "venv"} - {name}
    (tmp_path / name / "cache" / "data" / "steel").mkdir(parents=True)
    (tmp_path / name / "cache" / "models").mkdir()
    (tmp_path / name / "html").mkdir()
    assert typed("clean", BUILD=tmp_path / name)[0].returncode == 0
    kept = {str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*")}
    assert kept == {"cache", "cache/data", "cache/data/steel"}  # somebody fetched that by hand


def test_reruns_whose_words_a_folder_cannot_spell_share_none():
    words = [{"target": ">50K"}, {"target": "<=50K"}, {"others": "a b"}, {"others": "a_b"}, {"target": "50K"}]
    names = [rerun.folder_name(ROOT / "notebooks" / "03_rapp.ipynb", {"dataset": "digits"} | each) for each in words]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    assert names[-1] == "03-digits-target-50K"


@pytest.mark.parametrize("name", NAMES)
def test_folders_of_the_site_have_plain_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    what = keys.asked(name, "", "kind", "tiny", "")
    assert what.datasets == (name,)
    (folder,) = keys.folders(what)
    assert all(letter.isalnum() or letter in "/_'-" for letter in folder)


def test_a_name_with_a_space_that_is_no_file_is_refused():
    with pytest.raises(ValueError, match=r'DATASET="no such.csv", which is no file, .* must be one word each'):
        keys.asked("no such.csv", "", "kind", "tiny", "")


def test_what_is_normal_is_a_part_of_the_label():
    assert keys.folders(keys.asked("t.csv", "", "kind=ok", "tiny", "")) != keys.folders(
        keys.asked("t.csv", "", "kind", "tiny", "")
    )
    with pytest.raises(ValueError, match="NORMAL=ok needs LABEL="):
        keys.asked("t.csv", "", "=ok", "tiny", "")


def test_reruns_of_two_tables_of_one_name_have_two_pages():
    def page(**parameters):
        return rerun.folder_name(ROOT / "notebooks" / "03_rapp.ipynb", parameters)

    names = {page(dataset=path, label=label) for path in ("a/t.csv", "b/t.csv") for label in ("kind", "kind=ok")}
    assert len(names) == 4
    assert all(name.startswith("03-t-") for name in names)
    assert page(dataset="digits", profile="tiny", target=8) == "03-digits-tiny-target-8"


def test_help_needs_no_home(tmp_path):
    script = "import pwd, rapp.cli as cli; pwd.getpwuid = lambda uid: {}[uid]; cli.main(['run', '--help'])"
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "RAPP_CACHE")}
    env |= {"PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: rapp run" in done.stdout


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "no folder").touch()
    said = []
    for script, *words in (("book.py",), ("rerun.py", "--notebook=03")):
        command = [sys.executable, ROOT / "book" / script, f"--build={tmp_path}/no folder/b", *words]
        done = subprocess.run([*command, "--dataset=digits", "--profile=tiny"], capture_output=True, text=True)
        assert done.returncode == 1
        said += [line for line in done.stderr.splitlines() if not line.startswith("01_")]
    assert [line[:6] for line in said] == ["error:"] * 2
    assert all("Not a directory" in line and "no folder" in line for line in said)
    assert "name another with BUILD=…" in said[0]


def test_a_port_in_use_is_said(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make("serve", "-o", "book", f"PORT={port}")
    assert done.returncode != 0
    assert f"error: port {port} is in use; say make serve PORT=8001" in done.stderr
    assert "Traceback" not in done.stderr
