"""Run one chapter with other parameters and add it to the site, next to the book and earlier reruns."""

import argparse
import re
import sys
from pathlib import Path

import nbformat

import build
import execute
import keys
from rapp.config import ParameterError

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def chapter(name: str) -> Path:
    """The notebook of a name such as ``02`` or ``02_when_reconstruction_fails``.

    Raises:
        ParameterError: no chapter, or several, with that name.
    """
    chapters = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    found = [path for path in chapters if name and path.stem in (name, f"{name}{path.stem[len(name) :]}")]
    if len(found) != 1:
        allowed = ", ".join(path.stem[:2] for path in chapters)
        raise ParameterError(f"NOTEBOOK={name!r} names no chapter; give NOTEBOOK=03 or the like, allowed: {allowed}")
    return found[0]


def folder_name(notebook: Path, parameters: dict[str, object]) -> str:
    """The name of a rerun's folder, made of its parameters: ``02-fashion-mnist-quick-target-8-epochs-30``.

    A table's has a checksum of its path and label in it: there may be another of this name in another folder. So has a
    name of parameters that no folder's name can spell.
    """
    shown = [notebook.stem[:2]]
    for name, value in parameters.items():
        text = str(value)
        if name == "dataset":
            text = keys.folder_name(text, str(parameters.get("label", "")), "", "").rstrip("/")
        shown.append(text if name in ("dataset", "profile") else f"{name}-{text}")
    plain = re.sub(r"[^\w.-]+", "_", words := "-".join(shown))
    return plain if plain == words else f"{plain}-{keys.checksum(words)[: keys.LENGTH]}"


def main() -> int:
    """Run one chapter and build the site with it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebook", required=True)
    parser.add_argument("--build", type=Path, required=True, help="the build folder")
    arguments = execute.options(parser).parse_args()
    try:
        keys.asked(arguments.dataset, "", arguments.label, arguments.profile, arguments.params)
        notebook = chapter(arguments.notebook)
        parameters = execute.parameters_of(arguments)
        mine = execute.defaults(notebook)
        if foreign := [name for name in execute.parse(arguments.params) if name not in mine]:
            raise ParameterError(f"PARAMS: chapter {notebook.stem[:2]} has no {foreign[0]!r}; it has {', '.join(mine)}")
        execute.check(notebook, parameters)  # before a folder is made
    except (ValueError, execute.DataError) as error:  # a ParameterError is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 2
    name = folder_name(notebook, parameters)
    output = arguments.build / "runs" / "reruns" / name / notebook.name
    if status := execute.run(notebook, output, parameters):
        return status
    if why := nbformat.read(output, as_version=4).metadata.get("rapp", {}).get("left_out"):
        output.unlink()
        print(f"error: {notebook.stem} {why}", file=sys.stderr)
        return 2
    status = build.build(arguments.build, None)
    if not status:
        print(f"The rerun: {arguments.build / 'html' / 'reruns' / name / notebook.stem}.html")
    return status


if __name__ == "__main__":
    sys.exit(keys.told(main))
