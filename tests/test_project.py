"""The project's own files: set-up, help, promises about the tree."""

import re
import subprocess
import tomllib
from importlib import metadata

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT

TOP = {"book", "rapp", "notebooks", "tests", "environment.yml", "Makefile", "README.md"}
TOP |= {"pyproject.toml", "LICENSE", "CITATION.cff"}


def tracked():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines()]


def test_environment_yml_installs_what_make_installs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    makefile = (ROOT / "Makefile").read_text()
    assert pip == ["--constraint .constraints.txt", "--editable .[book,dev]"]
    assert "--constraint .constraints.txt --editable '.[book,dev]'" in makefile
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python{python}" in environment["dependencies"]


def test_every_dependency_is_pinned_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    pins = [line.split("==")[0] for line in (ROOT / ".constraints.txt").read_text().splitlines()]
    normal = [re.sub(r"[-_.]+", "-", name).lower() for name in pins]
    assert len(normal) == len(set(normal))
    for requirement in wanted:
        assert re.match(r"[\w.-]+", requirement)[0].lower() in normal, requirement


def test_every_pin_runs_on_the_oldest_python_that_we_promise():
    """Debian 12 ships 3.11.2, and a resolver that ran on a newer 3.11 does not see what asks for 3.11.5."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (promised,) = SpecifierSet(project["requires-python"])
    assert promised.operator == ">="
    oldest = promised.version + ".0" * (2 - promised.version.count("."))
    seen = set()
    for line in (ROOT / ".constraints.txt").read_text().splitlines():
        pin = Requirement(line)
        try:
            wants = metadata.metadata(pin.name)["Requires-Python"] or ""
        except metadata.PackageNotFoundError:
            continue  # such as CUDA's, where torch is PyTorch's own CPU build
        seen.add(pin.name.lower())
        if metadata.version(pin.name) in pin.specifier:  # an environment of before says nothing of this pin
            assert oldest in SpecifierSet(wants), f"{line} needs Python {wants}, we promise {oldest}: pin an older one"
    assert seen > {"numpy", "torch", "pytest", "sphinx", "soupsieve"}


def test_the_top_level_stays_small():
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} == TOP


def test_files_are_short_and_name_no_machine():
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".txt", ".cff"} or path.name == "Makefile":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])/(?:work|root|home)\b/|index[-]url", text), path
            if path.parts[-2] in ("rapp", "figures", "baselines") and path.suffix == ".py":
                assert text.count("\n") <= 300, path


def test_the_core_is_slim():
    core = ("pathway", "autoencoders", "run", "splits", "evaluation")
    assert sum((ROOT / "rapp" / f"{name}.py").read_text().count("\n") for name in core) <= 1000


def test_walls():
    def imports(name):
        return (ROOT / "rapp" / f"{name}.py").read_text()

    for name in ("datasets", "splits"):
        assert not re.search(r"^\s*(import torch$|from rapp\.(autoencoders|training|pathway))", imports(name), re.M)
    assert not re.search(r"rapp\.(datasets|training|figures|experiments)|matplotlib", imports("pathway"))
    assert not re.search(r"matplotlib|rapp\.figures", imports("experiments"))


def test_make_alone_prints_help(make):
    text = make().stdout
    for target in ("book", "rerun", "serve", "test", "bench", "lint", "clean", ".venv"):
        assert re.search(rf"^  {re.escape(target)} +\w", text, re.M), target
