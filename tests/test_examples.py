"""The reference's pages list every public name, and each has types, shapes, errors, a run example, a chapter."""

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import json
import re
import warnings

import pytest
import yaml
from sphinx.pycode import ModuleAnalyzer

import api
import rapp
from rapp import cli
from tests.conftest import ROOT

PAGES = [ROOT / "book" / "api.md", ROOT / "book" / "api_methods.md"]
ENTRY = re.compile(r"^\.\. auto(?:class|function|exception|data):: ([\w.]+)\n((?:   .*\n|\n(?=   ))*)", re.M)
ENTRIES = dict(found for page in PAGES for found in ENTRY.findall(page.read_text(encoding="utf-8")))
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = {chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]} - {page.stem for page in PAGES}
ARRAY = re.compile(r"ArrayLike|ndarray|Tensor|DataFrame")
SHAPE = re.compile(r"\([a-zA-Z…]\w*,|a row ")  # (N, D) or (height, width); a DataFrame has a row for each of something
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def found(name):
    """The module of a public name, and what it is."""
    module, _, word = name.rpartition(".")
    return importlib.import_module(module), getattr(importlib.import_module(module), word)


def examples(thing):
    """The examples in a docstring, without those of its methods; parts of the text and code alike."""
    return doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")


def code_of(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def imported(code):
    """The names of rapp that code imports, or reaches through a module of rapp that it imports; without modules."""
    tree, names = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rapp":
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    reached = {
        f"{names[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    things = {}
    for name in {*names.values(), *reached}:
        try:
            things[name] = found(name)[1]
        except (ImportError, AttributeError):  # a module, or an attribute of a class
            continue
    return {name: thing for name, thing in things.items() if not inspect.ismodule(thing)}


def test_every_name_that_people_are_told_to_import_is_listed():
    pages = [ROOT / "README.md", *(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    told = {f"rapp.{name}": getattr(rapp, name) for name in rapp.__all__}
    for page in pages:
        told |= imported(code_of(page))
    listed = [found(name)[1] for name in ENTRIES]
    assert len(told) > 30
    assert [name for name, thing in told.items() if not any(thing is other for other in listed)] == []


@pytest.mark.parametrize("name", ENTRIES)
def test_a_name_has_an_example_and_a_chapter(name):
    module, thing = found(name)
    word = re.compile(rf"\b{name.rpartition('.')[2]}\b")
    own = [] if isinstance(thing, dict) else examples(thing)
    homes = {module, inspect.getmodule(thing) or module}
    assert own or any(word.search(example.source) for home in homes for example in examples(home))
    assert set(re.findall(r":doc:`(\w+)`", ENTRIES[name])) & CHAPTERS
    assert set(re.findall(r":doc:`(\w+)`", ENTRIES[name])) <= CHAPTERS


def parts():
    """Functions, classes and their public methods, by name."""
    for name in ENTRIES:
        thing = found(name)[1]
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            yield name, thing
            for word, method in vars(thing).items():
                method = inspect.unwrap(getattr(method, "__func__", method))
                if not word.startswith("_") and inspect.isfunction(method) and method.__module__.startswith("rapp"):
                    yield f"{name}.{word}", method


@functools.cache
def comments(module):
    """What ``#:`` says of attributes, by (class, name)."""
    return {key: " ".join(lines) for key, lines in ModuleAnalyzer.for_module(module).find_attr_docs().items()}


@pytest.mark.parametrize("name", PARTS := dict(parts()))
def test_a_part_says_types_and_shapes(name):
    part = PARTS[name]
    kinds = [kind for kind in getattr(part, "__mro__", [part]) if kind.__module__.startswith("rapp")]
    assert all(kind.__doc__ for kind in kinds)
    text = "\n".join(inspect.getdoc(kind) for kind in kinds)
    for option, about in inspect.signature(part).parameters.items():
        if option in ("self", "cls"):
            continue
        said = " ".join(comments(kind.__module__).get((kind.__qualname__, option), "") for kind in kinds).strip()
        assert about.annotation is not inspect.Parameter.empty, option
        assert said or re.search(rf"\b{option}\b", text), f"{name} says nothing of {option}"
        if ARRAY.search(inspect.formatannotation(about.annotation)) and "Callable" not in str(about.annotation):
            near = [said] if said else [text[at.start() :][:120] for at in re.finditer(rf"\b{option}\b", text)]
            assert any(map(SHAPE.search, near)), f"{name} says no shape of {option}"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_raises_errors_says_which(name):
    part = PARTS[name]
    word = "__post_init__" if dataclasses.is_dataclass(part) else "__init__"
    code = part if inspect.isfunction(part) else vars(part).get(word)
    if code and re.search(r"^ +raise \w", inspect.getsource(code), re.M):
        assert re.search(r"^Raises:|raises an?|errors", inspect.getdoc(part), re.M)


@pytest.mark.parametrize("name", sorted({found(name)[0].__name__ for name in ENTRIES} | set(ENTRIES)))
def test_examples_run(name, monkeypatch, tmp_path):
    thing = importlib.import_module(name) if name not in ENTRIES else found(name)[1]
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTest([] if isinstance(thing, dict) else examples(thing), {}, name, None, 0, None)
    with warnings.catch_warnings():
        result = doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(test)
    assert result.failed == 0


def test_the_commands_run(monkeypatch, tmp_path):
    rows = [f"{i % 7},{i % 11},{'ok' if i % 50 else 'broken'}\n" for i in range(200)]
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "new.csv"):
        (tmp_path / name).write_text("".join(["width,height,state\n", *rows]))
    page = (ROOT / "book" / "command_line.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n\.venv/bin/rapp (.*)\n```", page)
    assert [command.split()[0] for command in commands] == re.findall(r"{{ help of (\w+) }}", page)
    for command in commands:
        assert cli.main(command.split()) == 0
    assert {"model", "scores.csv", "report.html", "cells"} <= {path.name for path in tmp_path.iterdir()}


def test_the_pages_hold_the_help_of_each_command_and_all_methods():
    page = (ROOT / "book" / "command_line.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"\[-h\] (.*) \.\.\.", api.helped("--help"))
    assert re.findall(r"{{ help of (\w+) }}", page) == commands.split(" | ")
    filled = api.filled(page)
    assert "usage: rapp fit" in filled
    assert "--false-alarm-rate" in filled
    assert "{{" not in filled + api.filled(PAGES[1].read_text(encoding="utf-8"))
