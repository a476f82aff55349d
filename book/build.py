"""Stage 2 of the book: stage pages and executed notebooks, render with Jupyter Book, swap the result in."""

import argparse
import base64
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import nbformat
import yaml

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
            if "image/png" in data:
                (staged / "glance.png").write_bytes(base64.b64decode(data["image/png"]))
                caption = about["figure"]["caption"]
                parts.append(
                    f"```{{figure}} glance.png\n:alt: {about['image']['alt']}\n:name: fig-glance\n\n{caption}\n```"
                )
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
    return "\n\n".join(parts)


def status(notebooks: list[Path]) -> str:
    """A page that lists every notebook with its time."""
    lines = ["# Status", "", "Each notebook of this book, as it was last run.", ""]
    lines += ["| notebook | parameters | started (UTC) | seconds |", "| --- | --- | --- | --- |"]
    for path in notebooks:
        run = nbformat.read(path, as_version=4).metadata.papermill
        values = ", ".join(f"`{name}={value!r}`" for name, value in run.parameters.items())
        lines.append(f"| [{path.stem}]({path.name}) | {values} | {run.start_time[:16]} | {run.duration:.0f} |")
    packages = ("jupyter-book", "papermill", "torch", "torchvision", "scikit-learn", "matplotlib", "seaborn")
    from importlib.metadata import version

    lines += [
        "",
        f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in packages) + ".",
    ]
    return "\n".join(lines) + "\n"


def stage(runs: Path, staged: Path) -> None:
    """One source folder with all that Sphinx reads; it must not lie under a folder named ``_build``."""
    shutil.copytree(BOOK, staged, ignore=shutil.ignore_patterns("_build", "__pycache__", "*.py", "paper"))
    chapters = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))["chapters"]
    notebooks = [path for chapter in chapters if (path := runs / f"{chapter['file']}.ipynb").exists()]
    for path in notebooks:
        shutil.copy(path, staged)
    intro = (staged / "intro.md").read_text(encoding="utf-8")
    shown = "\n\n".join(part for path in notebooks if (part := glance(path, staged)))
    (staged / "intro.md").write_text(intro.replace("{{ glance }}", shown), encoding="utf-8")
    (staged / "status.md").write_text(status(notebooks), encoding="utf-8")


def render(staged: Path, html: Path) -> str:
    """Run Sphinx on Jupyter Book's configuration; returns its warnings and errors, empty if there were none."""
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    jupyter_book = str(Path(sysconfig.get_path("scripts")) / "jupyter-book")
    config = [jupyter_book, "config", "sphinx", str(staged)]
    made = subprocess.run(config, capture_output=True, text=True, env=quiet)
    if made.returncode:
        return made.stdout + made.stderr
    # Jupyter Book adds sphinx_thebe unasked, whose script is declared twice: a console error on every page.
    with (staged / "conf.py").open("a", encoding="utf-8") as conf:
        conf.write('\nextensions.remove("sphinx_thebe")\n')
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(staged), str(html)]
    built = subprocess.run(build, capture_output=True, text=True, env=quiet)
    return (built.stderr or built.stdout or "Sphinx failed without a word") if built.returncode else ""


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


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=Path, required=True, help="folder of executed notebooks")
    arguments.add_argument("--out", type=Path, required=True, help="where the site goes")
    arguments.add_argument("--key", required=True, help="what the site was built from, noted inside it")
    options = arguments.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=options.out.parent) as beside:
        staged, html = Path(folder) / "book", Path(beside) / "html"
        stage(options.runs, staged)
        if trouble := render(staged, html):
            print(f"error: the book was not built, the previous one is untouched:\n{trouble.strip()}", file=sys.stderr)
            return 1
        shutil.rmtree(html / ".doctrees", ignore_errors=True)
        built = html / ".built" / options.key
        built.parent.mkdir(parents=True)
        built.touch()
        html.chmod(0o755)
        swap(html, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
