"""What the reference's pages take from the code: the command line's help, the methods, docstrings by way of autodoc."""

import io
import os
import re
from contextlib import redirect_stdout, suppress
from unittest.mock import patch

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from rapp import cli
from rapp.detectors import DETECTORS, PathwayDetector, options

WIDTH = "72"  # letters a line of help, for argparse would take those of the terminal
WRITTEN_OUT = stringify_annotation(ArrayLike, "smart")  # as autodoc has it, a union of many


def filled(text: str) -> str:
    """A page's text with ``{{ help of COMMAND }}`` and ``{{ methods }}`` in their places."""
    return re.sub(r"{{ help of (\w+) }}", lambda found: helped(found[1]), text).replace("{{ methods }}", methods())


def helped(command: str) -> str:
    """What ``rapp COMMAND --help`` prints."""
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit), patch.dict(os.environ, COLUMNS=WIDTH):
        cli.main([command, "--help"])
    return said.getvalue().strip()


def methods() -> str:
    """A table of the methods that ``detectors.make`` knows: name, title, chapter, options at the profile "paper"."""
    lines = ["| name | method | chapter | options |", "| --- | --- | --- | --- |"]
    for name, method in DETECTORS.items():
        if method.detector is PathwayDetector:
            own = "those of `TrainingConfig`, below"
        else:
            own = ", ".join(f"`{option}={value!r}`" for option, value in options(name).options) or "none"
        chapter = f"[{method.chapter[:2]}]({method.chapter}.ipynb)"
        lines.append(f"| `{name}` | {method.title} | {chapter} | {own} |")
    return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make this file an extension of Sphinx."""
    app.connect("autodoc-process-signature", shortened)
    return {"parallel_read_safe": True}


def shortened(_app: Sphinx, *about: object) -> tuple[object, object]:
    """A signature with ``ArrayLike`` by its name, and a default of a dataclass that is made anew as what is made."""
    *_, signature, returned = about
    if isinstance(signature, str):
        signature = signature.replace(WRITTEN_OUT, "ArrayLike").replace("<factory>", "{}")
    return signature, returned
