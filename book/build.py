"""Stage 2 of the book: stage pages and executed notebooks, render with Jupyter Book, swap the result in."""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import yaml

import api
import finish
import keys as book_keys
import made
from execute import locked, title
from rapp.grid import cells
from rapp.models import MODELS
from rappbook import architecture, ledger, paper_tables, published
from rappbook.figures import architecture as plan_of_house

BOOK = Path(__file__).parent


def glance(notebook: Path, staged: Path) -> str:
    """The outputs of cells tagged ``glance`` as Markdown, for the intro page; images are written beside it."""
    parts = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "glance" not in cell.metadata.get("tags", []):
            continue
        about = cell.metadata.get("mystnb", {})
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                (staged / "glance.svg").write_text(data["image/svg+xml"], encoding="utf-8")
                caption = about["figure"]["caption"]
                parts.append(
                    f"```{{figure}} glance.svg\n:alt: {about['image']['alt']}\n:name: fig-glance\n\n{caption}\n```"
                )
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            else:
                continue
            parts.append(made.elsewhere(cell, notebook))
    return "\n\n".join(parts)


def full_scale() -> str:
    """The published result on all 70,000 digits beside the authors' and the known re-implementation's, as Markdown."""
    rows = published.our_rows("paper")
    rows = paper_tables.of_one_class(rows[rows["model"].isin(list(MODELS))], "mnist", "1")
    if rows.empty:
        return "No rows are published yet."
    others = published.reimplementation_runs("1").assign(precision="")
    theirs = published.per_class("mnist", "1").assign(precision="", epochs=0, seed=0)
    parts = {"ours": rows, "a co-author's code": others, "the authors' chart, ± 0.01": theirs}
    table = pd.concat(paper_tables.runs(part).assign(source=source) for source, part in parts.items()).fillna("–")
    trained = table["epochs"].astype(str) + " epochs" + table.pop("precision").map(lambda name: name and f", {name}")
    trained = trained.where(table.pop("epochs") > 0, "not stated")
    table.insert(0, "source", table.pop("source"))
    table.insert(2, "runs", table.pop("runs").astype(object).where(trained != "not stated", "–"))
    table["trained"] = trained  # last, so that a phone shows the scores
    reads = "results/table2.csv, paper/reimplementation_runs.csv, paper/mnist_per_digit.csv"
    again = "<code>make row ID=…</code>, with an ID of the rows"
    return table.to_markdown(index=False, disable_numparse=True) + made.by(full_scale, reads, again)


def networks_made() -> str:
    """What made the playground's numbers, as Markdown."""
    return made.by(playground_filled, "results/playground/networks.csv", "<code>make playground</code>, then make book")


def playground_filled(text: str) -> str:
    """The playground's page with its numbers: what its networks reach, and how they were trained."""
    table = pd.read_csv(BOOK / "results" / "playground" / "networks.csv")
    shown = ["unseen", "score", "auroc", "auroc shipped", "caught at 1%", "caught at 5%", "caught at 10%"]
    names = {"recon": "reconstruction", "sap": "SAP", "nap": "NAP"}
    numbers = {name: str(table[name].iloc[0]) for name in ("epochs", "batch", "seed")}  # the same for all
    numbers |= {"networks": str(table["unseen"].nunique()), "widths": table["widths"].iloc[0].replace(" ", "–")}
    for part in ("train", "test"):
        numbers[part] = f"{table[f'n_{part}'].min():,} to {table[f'n_{part}'].max():,}"
    numbers["moved"] = f"{np.ceil(1e3 * (table['auroc'] - table['auroc shipped']).abs().max()) / 1e3:.3f}"
    numbers["playground"] = table[shown].replace({"score": names}).to_markdown(index=False, floatfmt=".3f")
    numbers["made"] = networks_made()
    for name, value in numbers.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    return text


def parameters(notebook: Path) -> list[str]:
    """What an executed notebook was run with, as Markdown."""
    run = nbformat.read(notebook, as_version=4).metadata.papermill
    words = (re.sub(r"[`|]", "_", f"{name}={value!r}") for name, value in run.parameters.items())
    return [f"`{word}`" for word in words]


def status(notebooks: list[Path]) -> str:
    """A page that lists every notebook with its time."""
    lines = ["# Status", "", "Each notebook of this book, as it was last run.", ""]
    lines += ["| notebook | parameters | started (UTC) | seconds |", "| --- | --- | --- | --- |"]
    for path in notebooks:
        about = nbformat.read(path, as_version=4).metadata
        if why := left_out(path):
            lines.append(f"| {about.rapp.title} | left out: {why} | | |")
            continue
        run = about.papermill
        values = ", ".join(parameters(path))
        lines.append(f"| [{path.stem}]({path.name}) | {values} | {run.start_time[:16]} | {run.duration:.0f} |")
    packages = ("jupyter-book", "papermill", "torch", "torchvision", "scikit-learn", "matplotlib", "seaborn")
    from importlib.metadata import version

    lines += [
        "",
        f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in packages) + ".",
    ]
    return "\n".join(lines) + "\n"


def replication_filled(text: str) -> str:
    """The replication statement with verdicts, cost and sizes in their places."""
    rows = published.our_rows("paper")
    judged = "\n\n".join(part.to_markdown(index=False) for part in ledger.judged(rows))
    of_run = [name for name in cells.KEY if name != "changes"] + ["options", "precision", "device", "commit"]
    runs = rows.sort_values("epochs").drop_duplicates(of_run, keep="last")  # scored on its way, it stands in several
    hours = runs.groupby("device")["seconds"].agg(["size", "sum"])
    told = [f"{n:,} trainings on {where}, about {s / 3600:,.1f} hours" for where, n, s in hours.itertuples()]
    cost = f"The published rows of the paper's profile: {'; '.join(told)} (one after the other, on shared machines)."
    sizes = [f"{name.upper()} {sum(p.numel() for p in kind(784).parameters()):,}" for name, kind in MODELS.items()]
    line = made.by(replication_filled, "results/table2.csv, paper/table2.csv", "<code>make rows</code>, then make book")
    network = f"the paper's network on 28 × 28 pixels: {', '.join(sizes)}"
    filled = {"judged": judged + line, "cost": cost + line, "parameters": network}
    # In one pass, for the lines show this function, in which the places stand, too.
    return re.sub(r"\{\{ (judged|cost|parameters) \}\}", lambda place: filled[place[1]], text)


def architecture_filled(text: str, staged: Path) -> str:
    """The page of the architecture with a list of the modules; the drawing is written beside it."""
    folder = BOOK.parent / "rapp"
    paths = architecture.files(folder)
    imports = architecture.rooms(architecture.house(folder))
    packages = {name for name in imports if name != folder.name and paths[name].name == "__init__.py"}
    figure = plan_of_house.plan(imports, packages)
    figure.savefig(staged / "architecture.svg", metadata={"Date": None})
    heights = architecture.floors(imports)
    lines = ["| floor | module | what it holds |", "| --- | --- | --- |"]
    for name in sorted(imports, key=lambda name: (-heights[name], name)):
        word = plan_of_house.word(name, packages)
        lines.append(f"| {heights[name]} | `{word}` | {architecture.purpose(paths[name])} |")
    return text.replace("{{ modules }}", "\n".join(lines))


def left_out(notebook: Path) -> str:
    """Why stage 1 left a chapter out; empty if it did not."""
    return nbformat.read(notebook, as_version=4).metadata.get("rapp", {}).get("left_out", "")


def is_general(notebook: Path) -> bool:
    """Whether an executed chapter is the same on every data set."""
    run = nbformat.read(notebook, as_version=4).metadata.get("papermill")
    return run is not None and "dataset" not in run.parameters


def sites_page(here: str, sites: dict[str, str], reruns: list[Path]) -> str:
    """A page that lists the book on other data, and all reruns. Their pages are no part of this Sphinx project."""
    up = "" if here == "." else "../"
    lines = ["# All versions of this book", "", "## The book on each data set", ""]
    for path, name in sites.items():
        page = "index.html" if path == "." else f"{path}/index.html"
        lines.append(f"- {name} (these pages)" if path == here else f'- <a href="{up}{page}">{name}</a>')
    lines += ["", "## Single chapters, run again with other parameters", ""]
    for notebook in reruns:
        page = f"{up}reruns/{notebook.parent.name}/{notebook.stem}.html"
        lines.append(f'- <a href="{page}">{notebook.stem}</a>: {", ".join(parameters(notebook))}')
    if not reruns:
        lines.append('None yet. `make rerun NOTEBOOK=02 PARAMS="target=8"` adds one; see {doc}`other_data`.')
    return "\n".join(lines) + "\n"


def labels_in(pages: Iterable[Path]) -> set[str]:
    """Labels of equations, sections and figures."""
    made = r"\(((?:eq|sec)-[\w-]+)\)|\"name\": \"(fig-[\w-]+)|:name: (fig-[\w-]+)"
    found = [groups for page in pages for groups in re.findall(made, page.read_text(encoding="utf-8"))]
    return {label for groups in found for label in groups if label}


# What a reference to something in a chapter that was left out becomes; an equation's stands behind its name.
OUTSIDE = {"eq": "(in another chapter)", "ref": "another chapter", "numref": "a figure in another chapter"}


def loosened(text: str, labels: set[str], pages: dict[str, str]) -> str:
    """Text whose references to what was left out are plain words: pages, by name, are called by their titles.

    Wrong references stay, to be warned of.
    """
    text = re.sub(
        r"\{(eq|numref|ref)\}`(?:[^`<]*<)?([\w-]+)>?`",
        lambda found: OUTSIDE[found[1]] if found[2] in labels else found[0],
        text,
    )
    text = re.sub(
        r"[{:]doc[}:]`(?:([^`<]+?) <)?(\w+)>?`",
        lambda found: (found[1] or f"“{pages[found[2]]}”") if found[2] in pages else found[0],
        text,
    )
    link = r"\[([^\]]+)\]\((\w+)\.(?:ipynb|md)\)"
    return re.sub(link, lambda found: found[1] if found[2] in pages else found[0], text)


def order() -> list[str]:
    """The pages' names in the book's order."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    return [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def heading(page: Path) -> str:
    """A page's or notebook's title."""
    return title(page) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def loosen(staged: Path) -> None:
    """Make references to what this site leaves out plain words, in every page and notebook."""
    pages = [*staged.glob("*.md"), *staged.glob("*.ipynb")]
    whole = [*BOOK.glob("*.md"), *(BOOK.parent / "notebooks").glob("*.ipynb")]
    labels = labels_in(whole) - labels_in(pages)
    names = {path.stem: heading(path) for path in whole} | {"sites": "All versions of this book", "status": "Status"}
    names = {name: of for name, of in names.items() if name not in {path.stem for path in pages}}
    if not labels and not names:
        return
    for page in staged.glob("*.md"):
        page.write_text(loosened(page.read_text(encoding="utf-8"), labels, names), encoding="utf-8")
    for page in staged.glob("*.ipynb"):
        notebook = nbformat.read(page, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = loosened(cell.source, labels, names)
            for output in cell.get("outputs", []):
                if "text/markdown" in output.get("data", {}):
                    output.data["text/markdown"] = loosened(output.data["text/markdown"], labels, names)
        nbformat.write(notebook, page)


def stage(notebooks: list[Path], staged: Path, intro: str, sites: str) -> None:
    """One source folder with all that Sphinx reads; it must not lie under a folder named ``_build``.

    Args:
        notebooks: executed ones, in the book's order.
        staged: the folder to make.
        intro: the first page, perhaps with a place for the glance; "" for ``intro.md``.
        sites: the page that lists other data and reruns; "" for none, as in a rerun.
    """
    shutil.copytree(BOOK, staged, ignore=shutil.ignore_patterns("_build", "__pycache__", "*.py", "paper", "results"))
    shown = [path for path in notebooks if not left_out(path)]
    for path in shown:
        shutil.copy(path, staged)
    text = intro or (staged / "intro.md").read_text(encoding="utf-8")
    glances = "\n\n".join(part for path in shown if (part := glance(path, staged)))
    text = text.replace("{{ glance }}", glances).replace("{{ full scale }}", full_scale())
    text = text.replace("{{ networks made }}", networks_made())
    (staged / "intro.md").write_text(text, encoding="utf-8")
    page = staged / "playground.md"
    page.write_text(playground_filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    statement = staged / "replication.md"
    statement.write_text(replication_filled(statement.read_text(encoding="utf-8")), encoding="utf-8")
    page = staged / "architecture.md"
    page.write_text(architecture_filled(page.read_text(encoding="utf-8"), staged), encoding="utf-8")
    for page in (staged / "api_methods.md", staged / "command_line.md"):
        page.write_text(api.filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    if intro:  # what is of digits alone
        (staged / "playground.md").unlink()
        statement.unlink()
    (staged / "status.md").write_text(status(notebooks), encoding="utf-8")
    if sites:
        (staged / "sites.md").write_text(sites, encoding="utf-8")
    toc = yaml.safe_load((staged / "_toc.yml").read_text(encoding="utf-8"))
    rerun_has = {path.stem for path in shown} | {"notation", "protocol", "status", "references"}
    for part in toc["parts"]:
        part["chapters"] = [
            chapter
            for chapter in part["chapters"]
            if list(staged.glob(f"{chapter['file']}.*")) and (sites or chapter["file"] in rerun_has)
        ]
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    there = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    for page in staged.glob("*.md"):
        if page.stem not in {"intro", *there}:
            page.unlink()
    (staged / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    loosen(staged)


def render(staged: Path, html: Path, builder: str = "html") -> str:
    """Run Sphinx on Jupyter Book's configuration; returns its warnings and errors, empty if there were none.

    Args:
        staged: what ``stage`` made.
        html: the folder for the pages.
        builder: "html", or "singlehtml" for one page of all.
    """
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    jupyter_book = str(Path(sysconfig.get_path("scripts")) / "jupyter-book")
    config = [jupyter_book, "config", "sphinx", str(staged)]
    made = subprocess.run(config, capture_output=True, text=True, env=quiet)
    if made.returncode:
        return made.stdout + made.stderr
    # Jupyter Book adds sphinx_thebe unasked, whose script is declared twice: a console error on every page.
    with (staged / "conf.py").open("a", encoding="utf-8") as conf:
        conf.write('\nextensions.remove("sphinx_thebe")\n')
        conf.write(f'import sys\nsys.path.append({str(BOOK)!r})\nextensions.append("api")\n')
        # It also puts every script and style under _static into every page; the playground's are for its own pages.
        for files in ("html_js_files", "html_css_files"):
            conf.write(f'{files} = [name for name in {files} if "playground" not in str(name)]\n')
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, str(staged), str(html)]
    built = subprocess.run(build, capture_output=True, text=True, env=quiet)
    if built.returncode:
        return built.stderr or built.stdout or "Sphinx failed without a word"
    finish.finish(html, BOOK.parent / "CITATION.cff")
    return ""


def swap(new: Path, out: Path) -> None:
    """Put the new site in the old one's place; an interruption leaves one of the two whole."""
    old = out.with_name(out.name + ".old")
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def digest(folder: Path) -> str:
    """One checksum over a folder's files, the code that decides how they are rendered and the rows behind them."""
    sha = hashlib.sha256()
    code = [BOOK / f"{name}.py" for name in ("api", "build", "finish", "made", "traces", "traced_tables")]
    code += sorted((BOOK.parent / "rapp").rglob("*.py"))  # whose docstrings are pages
    for path in [*sorted(folder.rglob("*")), *code, *sorted(book_keys.row_files())]:
        if path.is_file():
            sha.update(str(path).removeprefix(str(folder)).encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:24]


def site(rendered: Path, notebooks: list[Path], intro: str = "", sites: str = "") -> tuple[Path, str]:
    """One rendered site, from the folder of those that were rendered before if nothing in it has changed.

    Returns:
        Its folder, and Sphinx's warnings and errors; empty if there were none.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=rendered) as beside:
        staged, html = Path(folder) / "book", Path(beside) / "html"
        stage(notebooks, staged, intro, sites)
        done = rendered / digest(staged)
        if done.exists():
            return done, ""
        if trouble := render(staged, html):
            return done, trouble
        shutil.rmtree(html / ".doctrees", ignore_errors=True)
        html.chmod(0o755)
        html.rename(done)
    return done, ""


def rerun_intro(notebook: Path) -> str:
    """The first page of a rerun."""
    values = "\n".join(f"- {value}" for value in parameters(notebook))
    book = '<a href="../../index.html">the book</a>'
    return f"# A rerun\n\nOne chapter of {book}, run again with these parameters:\n\n{values}\n\n{{{{ glance }}}}\n"


TABLE_INTROS = {
    "your_table": """# A table, and its novel rows

{{ own }}

## Where to go from here

{doc}`your_table` has RaPP and its rivals side by side, and how this page was made. The chapters explain the methods
with this table's rows: {doc}`03_rapp` the scores, {doc}`04_base_models` the networks, {doc}`05_classical` the classical
detectors. {doc}`other_data` says how new rows are scored from the command line; {doc}`status` what was left out and
why.
""",
    "your_rows": """# A table, and the rows to look at first

{{ own }}

## Where to go from here

{doc}`your_rows` says how the scores lie and what a p-value says here. {doc}`other_data` says how new rows are scored
from the command line. The chapters that explain RaPP measure it by labels, so they are no part of this book: `make
book` without a table builds them, and with `LABEL=…` those that make sense for this table.
""",
}


def table_intro(notebooks: list[Path], staged: Path) -> str:
    """The first page of the book on a table of somebody's own; "" if these notebooks have no such page."""
    own = next((path for path in notebooks if path.stem in TABLE_INTROS and not left_out(path)), None)
    return "" if own is None else TABLE_INTROS[own.stem].replace("{{ own }}", glance(own, staged))


def build(folder: Path, keys: list[str] | None) -> int:
    """Render the book on each data set and all reruns, and swap the whole site in; the exit status.

    Args:
        folder: the build folder, with executed notebooks under ``runs``.
        keys: folders under ``runs``, the first one's book being the site's root; None for those of the last build.
    """
    out, rendered = folder / "html", folder / "sites"
    rendered.mkdir(parents=True, exist_ok=True)
    with locked(out, "book"):
        last = out / ".built" / "keys.json"
        if keys is None:
            keys = json.loads(last.read_text()) if last.exists() else []
        made_of = book_keys.site_key(folder, keys)  # now: what is edited from here on makes the site stale
        books = {("." if i == 0 else key.replace("/", "-")): key for i, key in enumerate(keys)} or {".": ""}
        reruns = sorted((folder / "runs" / "reruns").glob("*/[0-9]*.ipynb"))
        names = order()
        reruns = [path for path in reruns if path.stem in names]
        parts: dict[str, Path] = {}
        for path, key in books.items():
            found = [n for name in names if (n := folder / "runs" / key / f"{name}.ipynb").exists() and key]
            found = [n for n in found if path == "." or not is_general(n)]
            intro = table_intro(found, folder)
            parts[path], trouble = site(rendered, found, intro, sites_page(path, books, reruns))
            if trouble:
                return _failed(trouble)
        for notebook in reruns:
            parts[f"reruns/{notebook.parent.name}"], trouble = site(rendered, [notebook], rerun_intro(notebook))
            if trouble:
                return _failed(trouble)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            new = Path(beside) / "html"
            for path, part in parts.items():  # hard links: the fonts and scripts of each site are on disk once
                shutil.copytree(part, new / path, copy_function=_link, dirs_exist_ok=True)
            (new / ".built").mkdir()
            (new / ".built" / "keys.json").write_text(json.dumps(keys))
            (new / ".built" / "key").write_text(made_of, encoding="utf-8")
            swap(new, out)
        for old in set(rendered.iterdir()) - set(parts.values()):
            shutil.rmtree(old)
    return 0


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _failed(trouble: str) -> int:
    print(f"error: the book was not built, the previous one is untouched:\n{trouble.strip()}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="the build folder")
    parser.add_argument("keys", nargs="+", help="folders under runs/, one a data set; the first is the site's root")
    arguments = parser.parse_args()
    return build(arguments.build, arguments.keys)


if __name__ == "__main__":
    sys.exit(book_keys.told(main))
