"""No file that somebody hands over can run code: nothing in ``rapp`` unpickles or evaluates what it reads. (That the
site loads nothing from elsewhere is seen in a browser: the fixture ``opened``.)"""

import ast

import pytest

from tests.conftest import ROOT

MODULES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "yaml"}
BUILTIN = {"eval", "exec", "compile", "__import__"}
NAMES = {"read_pickle", "read_hdf", "unsafe_load", "Unpickler", "import_module", "PackageImporter"}  # of any module
CALLS = {"joblib.load", "torch.jit.load", "torch.hub.load"}
LOADERS = {"joblib", "torch", "torch.jit", "torch.hub"}  # whose "load" must be called by its full name, to be seen here


def dangers(source):
    """What in some code could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad = any(alias.name.split(".")[0] in MODULES for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module, names = node.module or "", {alias.name for alias in node.names}
            bad = module.split(".")[0] in MODULES or bool(names & NAMES) or (module in LOADERS and "load" in names)
        elif isinstance(node, ast.Call):
            name, words = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            bad = name in BUILTIN | CALLS or name.split(".")[-1] in NAMES
            bad |= name == "torch.load" and words.get("weights_only") != "True"
            bad |= words.get("allow_pickle", "False") != "False"
        else:
            continue
        if bad:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "rapp").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_that_is_read_can_run(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=asked)",
        "joblib.load(path)",
        "pd.read_pickle(path)",
        "import yaml",
        "eval(text)",
        "importlib.import_module(name)",
    ],
)
def test_what_could_run_is_seen(line):
    assert len(dangers(line)) == 1
    assert dangers("np.load(path); torch.load(path, weights_only=True); model.eval(); ast.literal_eval(text)") == []
