"""The plan of the house, read from its imports: which module stands on which, and how high. Nothing is imported."""

import ast
from collections.abc import Container, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

Imports = dict[str, set[str]]  # module → those that it imports


def imported(path: Path, modules: Container[str] = ()) -> set[str]:
    """What a file imports when it runs, wherever in it, by full name: the module, if it is one of ``modules``, else the
    package that a name comes from."""
    found, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else str(node.module) for name in names}
    return found


def files(folder: Path) -> dict[str, Path]:
    """The files of a package by their modules' names; a package stands for its ``__init__``."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(folder.rglob("*.py"))
    }


def house(folder: Path) -> Imports:
    """Module → the modules of the same folder that it imports."""
    paths = files(folder)
    return {name: imported(path, paths) & set(paths) - {name} for name, path in paths.items()}


def floors(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """Module → the length of the longest chain of imports below it, itself included.

    Raises:
        graphlib.CycleError: naming the circle.
    """
    heights: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():
        heights[name] = 1 + max((heights[below] for below in imports[name]), default=0)
    return heights


def rooms(imports: Mapping[str, set[str]]) -> Imports:
    """The same with one module for each package below the top one: ``rapp.data`` stands for all its files."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    found: Imports = {room(name): set() for name in imports}
    for name, below in imports.items():
        found[room(name)] |= {room(other) for other in below} - {room(name)}
    return found


def bare(imports: Mapping[str, set[str]]) -> Imports:
    """The same without the imports that others imply, by way of a module between."""
    below: Imports = {}
    for name in TopologicalSorter(imports).static_order():
        below[name] = set().union(imports[name], *(below[other] for other in imports[name]))
    return {name: direct - set().union(*(below[other] for other in direct)) for name, direct in imports.items()}


def purpose(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".") + "."
