"""The project's own files: set-up, help, promises about the tree."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rappbook.architecture import floors, house, imported
from tests.conftest import ROOT

HOUSE = {"rapp", "data", "detectors", "grid", "rappbook", "chapters", "figures"}  # folders
TOP = {"book", "rapp", "notebooks", "tests", "environment.yml", "Makefile", "README.md"}
TOP |= {"pyproject.toml", "LICENSE", "CITATION.cff"}


def tracked():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines()]


def test_environment_yml_installs_what_make_installs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    makefile = (ROOT / "Makefile").read_text()
    assert pip == ["--constraint .constraints.txt", "--editable .[book,dev]", "--editable ./book"]
    assert "--constraint .constraints.txt --editable '.[book,dev]' --editable ./book" in makefile
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python{python}" in environment["dependencies"]


def test_every_dependency_is_pinned_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    pins = [Requirement(line) for line in (ROOT / ".constraints.txt").read_text().splitlines()]
    for python in ("3.11", "3.15"):  # the newest lacks wheels of what the oldest needs, and the other way round
        here = [pin.name for pin in pins if not pin.marker or pin.marker.evaluate({"python_version": python})]
        normal = [re.sub(r"[-_.]+", "-", name).lower() for name in here]
        assert len(normal) == len(set(normal))
        assert len(normal) == len({re.sub(r"[-_.]+", "-", pin.name).lower() for pin in pins})
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
        if pin.marker and not pin.marker.evaluate({"python_version": oldest}):
            continue
        try:
            wants = metadata.metadata(pin.name).get("Requires-Python") or ""
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
            if (
                path.parts[-2] in ("rapp", "data", "detectors", "grid", "rappbook", "chapters", "figures")
                and path.suffix == ".py"
            ):
                assert text.count("\n") <= 300, path


def lines_of(*paths):
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def test_the_house_has_few_floors_and_no_circle():
    for name, most in (("rapp", 8), ("book/rappbook", 4)):
        heights = floors(house(ROOT / name))
        assert max(heights.values()) <= most, sorted(heights.items(), key=lambda item: item[1])


def test_the_house_is_slim():
    """The design wants 1,800 lines for the method and 4,700 for rapp, and 800 more for people's own data."""
    method = ("pathway", "whitening", "models", "config", "training", "splits", "evaluation", "cache", "provenance",
              "experiment", "cell", "estimator")  # fmt: skip
    rapp, book = ROOT / "rapp", ROOT / "book" / "rappbook"
    assert lines_of(*(rapp / f"{name}.py" for name in method)) <= 1950
    assert lines_of(*rapp.rglob("*.py")) <= 7535
    assert lines_of(*rapp.rglob("*.py"), *book.rglob("*.py")) <= 12275


def test_walls():
    modules = {path.relative_to(ROOT): imported(path) for path in (ROOT / "rapp").rglob("*.py")}
    for path, names in modules.items():
        outside = {name.split(".")[0] for name in names} & {"rappbook", "matplotlib", "seaborn", "IPython", "papermill"}
        assert not outside, f"{path} imports {outside}: rapp knows no book and draws nothing"
    inside = house(ROOT / "rapp")

    def below(*names):
        found = {name for module in names for name in inside[module]}
        return found if found <= set(names) else below(*names, *found)

    tensors_and_modules = {"rapp.whitening", "rapp.eval_mode", "rapp.threads", "rapp.networks", "rapp.calibration"}
    assert below("rapp.pathway") == tensors_and_modules
    for path, names in modules.items():
        if "data" in path.parts or path.stem == "splits":
            reach = {name for name in names if name.startswith(("torch", "rapp."))}
            assert all(name.startswith(("rapp.data", "rapp.cache", "torchvision")) for name in reach), path
    assert not any(name.startswith(("rapp.data", "rapp.detectors")) for name in below("rapp.config"))
    assert "rapp.stacks" in below("rapp.experiment")
    assert "rapp.training" in below("rapp.stacks")


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder(tmp_path):
    """Without the checkout: what rapp promises needs no book, and the book is in none of rapp's packages."""
    source = tmp_path / "source"  # a copy, for building leaves folders behind
    shutil.copytree(ROOT / "rapp", source / "rapp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], capture_output=True, text=True
    )
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        packages = {name.split("/")[0] for name in file.namelist()}
        file.extractall(tmp_path / "installed")
    assert packages == {"rapp", wheel.name.split("-py3")[0] + ".dist-info"}
    assert (tmp_path / "installed" / "rapp" / "report.html").exists()
    script = """
import sys
import rapp, torch
from rapp import RaPP, cli
from rapp import detectors
assert rapp.__file__.startswith(sys.argv[1]), rapp.__file__
print(RaPP(epochs=1, random_state=0).fit(torch.rand(40, 4).numpy()).predict(torch.rand(2, 4).numpy()).shape)
assert "vae" in detectors.names()
words = "--profile tiny --dataset digits --model pca --target 1 --out cells"
sys.exit(cli.main(["run", *words.split()]))
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", script, str(tmp_path / "installed")]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("(2,)")


def test_make_alone_prints_help(make):
    text = make().stdout
    for target in ("book", "rerun", "serve", "test", "bench", "lint", "clean", ".venv"):
        assert re.search(rf"^  {re.escape(target)} +\w", text, re.M), target


def test_the_replications_metadata_agree_with_the_citation_and_claim_nothing():
    ours = yaml.safe_load((ROOT / "book" / "metadata.yaml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    assert ours["title"].lower() == f"[re] {paper['title']}".lower()
    assert (ROOT / "book" / "replication.md").read_text(encoding="utf-8").startswith(f"# {ours['title']}\n")
    assert [who["name"] for who in ours["authors"]] == [who["name"] for who in citation["authors"]]
    original = {name: value for each in ours["replication"] for name, value in each.items()}
    assert original["url"] == paper["url"]
    assert all(who["family-names"] in original["cite"] for who in paper["authors"])
    assert f"{{{original['bib']}," in (ROOT / "book" / ours["bibliography"]).read_text(encoding="utf-8")
    awarded = [ours[name] for name in ("review", "dates", "article", "journal")]
    assert not any(value for part in awarded for each in part for value in each.values())
    assert not ours["contributors"]
