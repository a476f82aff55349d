"""A line under every output of a rendered notebook that leads to what made it: cell, code, command, rows, commit."""

import html
import inspect
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rapp import provenance
from rapp.data.user_table import is_table
from rappbook import published
from traced_tables import TABLES

END = "how-this-page-was-made"  # the section that closes every chapter
OUTPUT = '<div class="cell_output docutils container">'
READS = {  # what a page's code calls → what it reads, under book/
    r"published\.(our_rows\(results|committed)|ranking\.yardstick": "results/{rows}",
    r"published\.(full_scale|our_rows\(\"paper\")|ranking\.more_samples": "results/table2.csv",
    r"published\.all_rows|paper_tables\.reported": "results/*.csv",
    r"published\.ablations": "results/ablations/*.csv",
    r"published\.adbench": "results/adbench/rows.csv",
    r"published\.from_scores": "results/scores/*.csv.gz",
    r"published\.per_class": "paper/mnist_per_digit.csv",
    r"published\.means|paper_tables\.table2": "paper/table2.csv",
    r"published\.means": "paper/reimplementation.csv",
    r"published\.reimplementation_runs": "paper/reimplementation_runs.csv",
    r"paper_tables\.table3|\"table3\.csv\"": "paper/table3.csv",
    r"\"rivals\.csv\"|paper_tables\.reported": "paper/rivals.csv",
    r"\"adbench_reported\.csv\"": "paper/adbench_reported.csv",
}
TRACE = "A number with a dotted line under it leads to the rows of which it is the mean."


def with_sources(text: str, notebook: Path) -> str:
    """A page's text with such a line in each output.

    Args:
        text: of the rendered page.
        notebook: the executed notebook, whose shown outputs are the page's, one by one.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    shown = [
        cell for cell in content["cells"] if cell.get("outputs") and not _tags(cell) & {"remove-cell", "remove-output"}
    ]
    starts = [found.end() for found in re.finditer(re.escape(OUTPUT), text)]
    if len(starts) != len(shown):
        raise ValueError(f"{notebook.name}: the page shows {len(starts)} outputs, the notebook has {len(shown)}")
    about = _about(content, notebook)
    for start, cell in reversed(list(zip(starts, shown, strict=True))):
        end = _end(text, start)
        text = text[:end] + _line(cell, notebook, about) + text[end:]
    return text


def given(notebook: Path) -> dict[str, Any]:
    """What an executed notebook was run with, of all that decides which published rows it shows; {} without one."""
    if not notebook.exists():
        return {}
    content = json.loads(notebook.read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in content["cells"] if "parameters" in _tags(cell))
    found = dict(re.findall(r"^(dataset|results|protocol) = [\"'](.*?)[\"']", code, re.MULTILINE))
    now = content["metadata"].get("papermill", {}).get("parameters", {})
    return found | {name: str(now[name]) for name in ("dataset", "results", "protocol") if now.get(name)}


def _tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def _end(text: str, start: int) -> int:
    """Where the element ends whose content starts here."""
    depth = 1
    for found in re.finditer(r"<div\b|</div>", text[start:]):
        depth += 1 if found[0] == "<div" else -1
        if not depth:
            return start + found.start()
    raise ValueError("an element of the page has no end")


def _about(content: dict, notebook: Path) -> str:
    """How the whole page is made again, and of which rows."""
    parameters = content["metadata"].get("papermill", {}).get("parameters", {})
    more = {name: value for name, value in parameters.items() if value is not None}
    if notebook.stem[:2].isdigit():
        named = [
            f"{name.upper()}={shlex.quote(str(more.pop(name)))}"
            for name in ("dataset", "label", "profile")
            if name in more
        ]
        params = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in more.items())
        rest = [f"PARAMS={shlex.quote(params)}"] if more else []
        command = ["make", "rerun", f"NOTEBOOK={notebook.stem[:2]}", *named, *rest]
    else:
        words = [f"-p {name} {shlex.quote(str(value))}" for name, value in more.items()]
        command = [".venv/bin/papermill", f"notebooks/{notebook.name}", "out.ipynb", *words]
    said = f"Again: <code>{html.escape(' '.join(command))}</code>."
    if commit := content["metadata"].get("rapp", {}).get("commit"):
        said = f"Run at commit <code>{commit}</code>. {said}"
    code = "\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
    rows = published.results_file(given(notebook).get("results") or parameters.get("profile", "paper")).name
    reads = [files.format(rows=rows) for name, files in READS.items() if re.search(name, code)]
    if reads and not is_table(str(parameters.get("dataset", ""))):  # of somebody's own table no rows are published
        said += f" The page reads, under <code>book/</code>: {html.escape(', '.join(dict.fromkeys(reads)))}."
    if notebook.stem in TABLES:
        said += f" {TRACE}"
    end = "".join(_shown(cell) for cell in content["cells"] if "made-with" in _tags(cell))
    if took := re.search(r"^\| seconds +\| *(.*?) *\|$", end, re.MULTILINE):
        settings = f'<a href="{notebook.stem}.html#{END}">settings, device, versions</a>'
        said += f" Seconds: {html.escape(took[1])} ({settings})."
    return said


def _shown(cell: dict) -> str:
    """What a cell shows as Markdown."""
    outputs = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
    return "\n".join("".join(text) for text in outputs)


def _line(cell: dict, notebook: Path, about: str, page: str = "") -> str:
    seconds = cell["metadata"].get("papermill", {}).get("duration")
    took = f", in {seconds:.1f} s" if seconds is not None else ""
    source = f'<a href="_sources/{notebook.name}" download>notebooks/{notebook.name}</a>{page}'
    code = "".join(cell["source"]) if page or _tags(cell) & {"remove-input"} else ""
    return details(f"Cell <code>{cell['id']}</code> of {source}{took}. {about}", code)


def details(said: str, code: str = "") -> str:
    """The line: HTML that says what made an output, and code that the page does not show elsewhere."""
    shown = f"<pre>{html.escape(code)}</pre>" if code else ""
    return f'<details class="rapp-made"><summary>how this was made</summary><p>{said}</p>{shown}</details>'


def elsewhere(cell: dict, notebook: Path) -> str:
    """Such a line, as Markdown, for an output that is shown on another page, too."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    page = f' (<a href="{notebook.stem}.html">its page</a>)'
    return _markdown(_line(cell, notebook, _about(content, notebook), page))


def by(function: Callable, reads: str, again: str) -> str:
    """Such a line, as Markdown, for what one of the book's functions fills in.

    Args:
        function: which.
        reads: the files that it reads, under ``book/``.
        again: the command that makes what is in these files.
    """
    file = Path(inspect.getfile(function)).name
    said = f"Function <code>{function.__name__}</code> of <code>book/{file}</code>"
    said += f" at commit <code>{commit}</code>" if (commit := provenance.commit()) else ""
    said += f". It reads, under <code>book/</code>: {html.escape(reads)}. Again: {again}. {TRACE}"
    return _markdown(details(said, inspect.getsource(function)))


def _markdown(markup: str) -> str:
    return f"\n\n``````{{raw}} html\n{markup}\n``````\n"
