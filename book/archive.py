"""``make archive``: what it takes to read, check and rebuild this book without us, in one zip file."""

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import keys
from rapp.cache import write_atomically
from rapp.provenance import versions

ROOT = keys.ROOT
ABOUT = """The book and the code of rapp at commit {commit}, of {date}.

site/index.html      the book: open it in a browser, no network is needed
rapp.pdf             the same to print
notebooks/           its notebooks as they were run, with outputs
project/             all files of that commit; book/results/ has the published rows
requirements.lock    every package of the environment, with the SHA-256 of its file
SHA256SUMS           of every other file here: sha256sum --check --quiet SHA256SUMS

To build it again, with Python {python} on the same kind of machine:

  python -m venv .venv
  .venv/bin/python -m pip install --require-hashes -r requirements.lock
  .venv/bin/python -m pip install --no-deps -e project -e project/book
  touch .venv/.rapp-installed
  make -C project book VENV="$PWD/.venv"

On another kind of machine: cd project && make book. It installs the same versions by .constraints.txt.
"""


def from_git(*words: str) -> str:
    """What git says of the checkout.

    Raises:
        ValueError: there is no git, or no checkout.
    """
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(
            "make archive needs git and a checkout of the project, to say which commit it holds"
        ) from error


def locked(report: dict) -> str:
    """The lock: a line for each package that pip would install, with its file's hash; the project itself is left out.

    Args:
        report: of ``pip install --dry-run --report``.
    """
    lines = [f"# Python {report['environment']['python_full_version']}, {report['environment']['platform_machine']}, "
             f"{report['environment']['sys_platform']}"]  # fmt: skip
    for each in sorted(report["install"], key=lambda found: found["metadata"]["name"].lower()):
        if hashes := each["download_info"].get("archive_info", {}).get("hashes"):
            name, number = each["metadata"]["name"], each["metadata"]["version"]
            lines.append(f"{name}=={number} --hash=sha256:{hashes['sha256']}")
            if (here := _installed(name)) != number:
                lines.append(f"# this book was built with {name} {here}")
    return "\n".join(lines) + "\n"


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "nothing"


def ask_pip(words: str) -> dict:
    """Pip's report on what it would install; nothing is installed.

    Args:
        words: more options of pip's.

    Raises:
        ValueError: pip cannot find out.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--ignore-installed", "--report", "-", "--constraint", ".constraints.txt", *shlex.split(words)]
    done = subprocess.run([*command, ".[book,dev]", "./book"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it says nothing"
        raise ValueError(
            f"pip could not tell the packages' hashes ({last}); try again where a package index can be reached"
        )
    return json.loads(done.stdout)


def files_of(build: Path) -> dict[str, Path | bytes]:
    """The files that there are: the name of each in the archive, and where it is.

    Args:
        build: the build folder, with a book and its PDF.

    Raises:
        ValueError: there is no book.
    """
    built, site = build / "html" / ".built" / "keys.json", build / "html"
    if not built.is_file() or not (build / "rapp.pdf").is_file():
        raise ValueError(f"there is no book with its PDF in {build}: say make archive, which builds both")
    runs = build / "runs"
    found: dict[str, Path | bytes] = {"rapp.pdf": build / "rapp.pdf"}
    for path in site.rglob("*"):
        inside = path.relative_to(site)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[f"site/{inside.as_posix()}"] = path
    first, *others = json.loads(built.read_text())  # the folders of a book on several data sets, and those of reruns
    folders = {"": runs / first} | {f"{key.replace('/', '-')}/": runs / key for key in others}
    folders |= {f"reruns/{path.name}/": path for path in runs.glob("reruns/*")}
    for name, folder in folders.items():  # a dot is in the names of notebooks that failed or were interrupted
        found |= {f"notebooks/{name}{path.name}": path for path in folder.glob("*.ipynb") if "." not in path.stem}
    found |= {f"project/{name}": ROOT / name for name in from_git("ls-files", "-z").split("\0") if name}
    return found


def pack(found: dict[str, Path | bytes], folder: str, date: datetime, out: Path) -> None:
    """Write the zip file, whole or not at all; the same files make the same bytes.

    Args:
        found: the name of each file, and where it is or what it holds; SHA256SUMS is added.
        folder: the one that all files lie in.
        date: of all files.
        out: the zip file.
    """

    def write(beside: Path) -> None:
        told = ""
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:

            def add(name: str, content: bytes) -> str:
                entry = zipfile.ZipInfo(f"{folder}/{name}", date.timetuple()[:6])
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
                return f"{hashlib.sha256(content).hexdigest()}  {name}\n"

            for name, what in sorted(found.items()):
                told += add(name, what if isinstance(what, bytes) else what.read_bytes())
            add("SHA256SUMS", told.encode())

    write_atomically(out, write)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="the build folder")
    parser.add_argument("--pip-args", default="", help="more options for pip")
    arguments = parser.parse_args()
    try:
        commit = from_git("rev-parse", "--short=10", "HEAD").strip()
        if changed := from_git("status", "--porcelain", "--untracked-files=no").split("\n")[0]:
            raise ValueError(
                f"{changed[3:]} is not committed: commit first, for the archive says which commit it holds"
            )
        date = datetime.fromtimestamp(int(from_git("show", "--no-patch", "--format=%ct")), UTC)
        about = ABOUT.format(commit=commit, date=date.date(), python=versions()["Python"])
        found = files_of(arguments.build)  # before pip is asked, which takes a while
        print("Asking pip for the hash of every package ...", flush=True)
        found["requirements.lock"] = locked(ask_pip(arguments.pip_args)).encode()
        found["README.txt"] = about.encode()
        out = arguments.build / f"rapp-{commit}.zip"
        pack(found, out.stem, date, out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The archive: {out} ({out.stat().st_size / 1e6:.0f} MB, {len(found) + 1:,} files)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
