"""The notebooks as sources, without running them."""

import ast
import itertools
import json
import re

import pytest
import yaml

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return json.loads(request.param.read_text(encoding="utf-8"))["cells"]


def code(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def tags(cell):
    return cell["metadata"].get("tags", [])


def test_the_docs_say_which_chapters_have_a_parameter():
    chapters = {}
    for path in NOTEBOOKS:
        (cell,) = [
            cell for cell in code(json.loads(path.read_text(encoding="utf-8"))["cells"]) if "parameters" in tags(cell)
        ]
        for line in cell["source"]:
            if path.stem[:2].isdigit():
                chapters.setdefault(line.split(" = ")[0], set()).add(int(path.stem[:2]))
    told = {}
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d–, ]+) \|", (ROOT / "book" / "other_data.md").read_text(encoding="utf-8"), re.M
    )
    for name, text in rows:
        ends = [[int(end) for end in part.split("–")] for part in text.split(", ")]
        told[name] = {number for first, *last in ends for number in range(first, (last or [first])[0] + 1)}
    assert told == {name: chapters[name] for name in chapters if name not in ("dataset", "label", "profile")}


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


def test_no_outputs_are_committed(cells):
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code(cells))


def test_one_parameters_cell_with_every_line_explained(cells):
    (parameters,) = [cell for cell in code(cells) if "parameters" in tags(cell)]
    assert "remove-cell" in tags(parameters)
    assert all(
        re.fullmatch(r"\w+ = .+  # [^=]+", line) for line in "".join(parameters["source"]).splitlines()
    )  # papermill cannot read a "=" there


def test_code_cells_are_short_and_define_nothing(cells):
    for cell in code(cells):
        source = "".join(cell["source"])
        assert source.count("\n") < 25
        assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]


def test_every_figure_has_caption_name_and_alt_text(cells):
    drawn = [
        cell
        for cell in code(cells)
        if re.search(r"^(figures|reconstruction|models)\.\w+\(", "".join(cell["source"]), re.M)
    ]
    assert drawn or len(code(cells)) < 8  # "Why do my numbers differ?" has tables only
    for cell in drawn:
        about = cell["metadata"]["mystnb"]
        assert about["figure"]["name"].startswith("fig-")
        assert len(about["figure"]["caption"]) > 40
        assert len(about["image"]["alt"]) > 40


def test_prose_names_no_class_and_no_number_of_ours(cells):
    """A rerun can have any data set and class. What prose cites from the literature is in its last paragraphs."""
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    captions = "\n".join(str(cell["metadata"].get("mystnb", "")) for cell in code(cells))
    assert not re.search(r"(?<!±)\b0\.\d{2,}", prose + captions)
    assert not re.search(r"mnist-5k|fashion-mnist|Trouser|the digit [02-9]", prose + captions)


def test_prose_comes_first(cells):
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ")


def test_every_chapter_closes_with_a_summary_and_exercises():
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        if path.stem[:2].isdigit():
            assert "## In short" in prose, path.stem
            assert "## Exercises" in prose, path.stem
        for before, cell in itertools.pairwise(cells):
            if answers := re.fullmatch(r"exercise-(\d+)", cell.get("id", "")):
                assert f"**{answers[1]}.**" in "".join(before["source"]), (path.stem, cell["id"])


def test_no_label_is_given_twice():
    """All chapters are one Sphinx project."""
    text = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    labels = re.findall(r'"name": "(fig-[\w-]+)"|\((eq-[\w-]+)\)\\n', text)
    assert len(labels) == len(set(labels)) > 50


def test_every_notebook_has_its_place_in_the_book():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    assert {path.stem for path in NOTEBOOKS} <= {
        chapter["file"] for part in toc["parts"] for chapter in part["chapters"]
    }
