"""``make book``: run the chapters that are stale, then render the site if anything in it has changed."""

import argparse
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import keys

# Chapters that read models of an earlier one wait for it, so that each model is trained once. They come first, for
# together they take longest.
AFTER = {
    "02_when_reconstruction_fails": "",
    "03_rapp": "02_when_reconstruction_fails",
    "04_base_models": "03_rapp",
    "11_why_nap_works": "03_rapp",
}
USUAL_JOBS = 2  # notebooks side by side, as far as there are cores: while one imports or draws, another trains


def jobs_asked(text: str, makeflags: str = "") -> int:
    """Return how many notebooks run side by side: JOBS, or else the number of ``make -j``, or else the usual number.

    Raises:
        ValueError: JOBS is no such number.
    """
    if not text.strip():
        given = re.search(r"(?<!\S)-j(\d+)", makeflags)
        return max(1, int(given[1])) if given else min(USUAL_JOBS, os.cpu_count() or 1)
    if not re.fullmatch(r"\s*0*[1-9]\d{0,3}\s*", text):
        raise ValueError(f"JOBS={text} must be a whole number of at least 1")
    return int(text)


def environment(jobs: int) -> dict[str, str]:
    """Return the environment of each of ``jobs`` notebooks side by side, with its share of the cores.

    Threads that wait for a busy core are many times slower.
    """
    if jobs == 1:
        return dict(os.environ)
    import joblib  # imported here: it takes a while, and a build with nothing to do does not need it

    share = str(max(1, joblib.cpu_count() // jobs))
    return {"LOKY_MAX_CPU_COUNT": share, "OMP_NUM_THREADS": share, **os.environ}


def in_order(stale: Sequence[keys.Run]) -> list[keys.Run]:
    """Return the runs in the order in which they should begin."""
    return sorted(stale, key=lambda run: run.notebook.stem not in AFTER)


def may_begin(run: keys.Run, others: Sequence[keys.Run]) -> bool:
    """Return whether a run waits for none of the others, which have not ended."""
    waits_for = AFTER.get(run.notebook.stem)
    return not any(o.notebook.stem == waits_for and o.output.parent == run.output.parent for o in others)


def words_of(run: keys.Run, what: keys.Asked, scheduler: str) -> list[str]:
    """Return the words for ``execute.py`` that execute one notebook."""
    words = {"dataset": run.dataset, "label": run.label, "profile": what.profile, "params": what.params}
    words |= {"key": run.key, "scheduler": scheduler}
    return [os.path.relpath(run.notebook), str(run.output), *(f"--{name}={value}" for name, value in words.items())]


def check(what: keys.Asked, stale: Sequence[keys.Run], scheduler: str = "") -> int:
    """Check words, data, folders and cluster before anything runs, so that what is wrong is said once; the status."""
    import execute  # imported here, because it imports torch

    try:
        for name, run in {run.dataset: run for run in reversed(stale)}.items():
            words = argparse.Namespace(dataset=name, label=what.label, profile=what.profile, params=what.params)
            execute.check(run.notebook, execute.parameters_of(words))
            folder = run.output.parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                print(f"error: {folder} cannot be made ({error.strerror}); name another with BUILD=…", file=sys.stderr)
                return 1
        if scheduler:
            with execute.runner.connected(scheduler):
                pass
    except (execute.ParameterError, execute.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def execute_one(run: keys.Run, what: keys.Asked, scheduler: str) -> int:
    """Execute one notebook in this process, one of a pool's, and return the exit status."""
    import execute

    return keys.told(lambda: execute.main(words_of(run, what, scheduler)))


def start_worker(env: dict[str, str]) -> None:
    """Make a process of the pool ready: an interruption ends it without a word, for its parent speaks."""
    os.environ.update(env)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a script's `make book &` ignores it, and so do we
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_all(stale: Sequence[keys.Run], jobs: int, work: Callable[[keys.Run], int]) -> int:
    """Execute notebooks, ``jobs`` side by side, until one fails, and return the exit status.

    The processes that do it last for all of them, because each takes a while to import torch.
    """
    waiting = in_order(stale)
    at_work: dict[Future, keys.Run] = {}
    jobs, status = min(jobs, len(waiting)), 0
    spawn, env = multiprocessing.get_context("spawn"), environment(jobs)
    with ProcessPoolExecutor(jobs, spawn, initializer=start_worker, initargs=(env,)) as pool:
        try:
            while at_work or (waiting and not status):
                ready = [run for run in waiting if may_begin(run, [*waiting, *at_work.values()])]
                for run in ready[: 0 if status else jobs - len(at_work)]:
                    waiting.remove(run)
                    at_work[pool.submit(work, run)] = run
                for ended in wait(at_work, return_when=FIRST_COMPLETED).done:
                    status = status or ended.result()
                    del at_work[ended]
        except BrokenProcessPool:
            names = ", ".join(run.notebook.stem for run in at_work.values())
            print(f"error: a process was killed, perhaps for lack of memory; at work were {names}", file=sys.stderr)
            return 1
        except BaseException:  # an interruption: nothing that was started may go on without us
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return status


def options() -> argparse.ArgumentParser:
    """Return the command line's options; their defaults are those of ``make book``."""
    parser = argparse.ArgumentParser(prog="book/book.py", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("book/_build"), help="the build folder")
    parser.add_argument("--dataset", default="mnist-5k", help="a data set's name, or the path of a table")
    parser.add_argument("--datasets", default="", help='several of them, such as "mnist-5k digits"')
    parser.add_argument("--label", default="", help='the label column of a table; or "column=class", which is normal')
    parser.add_argument("--profile", default="quick", help="quick, paper or tiny")
    parser.add_argument("--params", default="", help='"name=value name=value"')
    parser.add_argument("--jobs", default="", help="how many notebooks run side by side")
    parser.add_argument("--scheduler", default="", help="run them on a Dask cluster, such as tcp://host:8786")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Bring the book up to date and return the exit status. An error is told in one line."""
    arguments = options().parse_args(words)
    build: Path = arguments.build
    try:
        what = keys.asked(arguments.dataset, arguments.datasets, arguments.label, arguments.profile, arguments.params)
        jobs = jobs_asked(arguments.jobs, os.environ.get("MAKEFLAGS", ""))
        stale = keys.stale(keys.runs(what, build))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if stale and (status := check(what, stale, arguments.scheduler)):
        return status
    if stale and (status := run_all(stale, jobs, partial(execute_one, what=what, scheduler=arguments.scheduler))):
        return status
    names = keys.folders(what)
    if keys.built_key(build) != keys.site_key(build, names):
        import build as site  # imported here, because it imports torch

        if status := site.build(build, names):
            return status
    print(f"The book: {build / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(keys.told(main))
    except KeyboardInterrupt:
        sys.exit(130)
