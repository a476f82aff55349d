"""A line under every output of a rendered notebook that leads to what made it: cell, code, command, rows, commit."""

import html
import json
import re
import shlex
from pathlib import Path

from rapp.data.user_table import is_table

OUTPUT = '<div class="cell_output docutils container">'
READS = {  # of rappbook.published → under book/
    r"(our_rows|committed|has_rows)\(": "results/{rows}",
    r"full_scale\(|our_rows\(\"paper\"": "results/table2.csv",
    r"all_rows\(": "results/*.csv",
    r"ablations\(": "results/ablations/*.csv",
    r"from_scores\(": "results/scores/*.csv.gz",
    r"per_class\(": "paper/mnist_per_digit.csv",
    r"means\(": "paper/table2.csv, paper/reimplementation.csv",
    r"reimplementation_runs\(": "paper/reimplementation_runs.csv",
}
TRACE = (
    "A number of ours is the mean over the rows that agree with it in dataset, setting, model, score and target (over "
    "all targets where it names none); each row has its commit, device and seconds, and <code>make row ID=…</code> "
    "trains it again."
)


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


def given(notebook: Path) -> dict[str, str]:
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
    given = content["metadata"].get("papermill", {}).get("parameters", {})
    more = {name: value for name, value in given.items() if value is not None}
    if notebook.stem[:2].isdigit():
        named = [
            f"{name.upper()}={shlex.quote(str(more.pop(name)))}"
            for name in ("dataset", "label", "profile")
            if name in more
        ]
        rest = [f"PARAMS={shlex.quote(' '.join(f'{name}={value}' for name, value in more.items()))}"] if more else []
        command = ["make", "rerun", f"NOTEBOOK={notebook.stem[:2]}", *named, *rest]
    else:
        words = [f"-p {name} {shlex.quote(str(value))}" for name, value in more.items()]
        command = [".venv/bin/papermill", f"notebooks/{notebook.name}", "out.ipynb", *words]
    said = f"Again: <code>{html.escape(' '.join(command))}</code>."
    if commit := content["metadata"].get("rapp", {}).get("commit"):
        said = f"Run at commit <code>{commit}</code>. {said}"
    code = "\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
    rows = "quick.csv" if 'results = "quick"' in code or given.get("profile") == "quick" else "table2.csv"
    reads = [files.format(rows=rows) for name, files in READS.items() if re.search(rf"published\.({name})", code)]
    if reads and not is_table(str(given.get("dataset", ""))):  # of somebody's own table no rows are published
        said += f" The page reads, under <code>book/</code>: {html.escape(', '.join(dict.fromkeys(reads)))}."
    if 'results = "' in code:
        said += f" {TRACE}"
    return said


def _line(cell: dict, notebook: Path, about: str) -> str:
    seconds = cell["metadata"].get("papermill", {}).get("duration")
    took = f", in {seconds:.1f} s" if seconds is not None else ""
    code = html.escape("".join(cell["source"]))
    source = f"<pre>{code}</pre>" if _tags(cell) & {"remove-input"} else ""
    cell_of = f'<code>{cell["id"]}</code> of <a href="_sources/{notebook.name}" download>notebooks/{notebook.name}</a>'
    return (
        f'<details class="rapp-made"><summary>made by</summary><p>Cell {cell_of}{took}. {about}</p>{source}</details>'
    )
