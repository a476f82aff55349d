"""Filling a grid of cells, such as the paper's Table 2: each cell once, whatever interrupts it.

Cells that share data set, setting and model train as one stack of replicas where that is faster. On one machine they
run one stack after the other; on several, or in several processes, Dask hands them out.
"""

import importlib.util
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch
from tqdm import tqdm

from rapp import cells, provenance, replicas, store
from rapp.cells import Entry
from rapp.datasets import Dataset
from rapp.experiments import run_cells
from rapp.profiles import ParameterError
from rapp.settings import RivalSettings, Settings, resolve_device
from rapp.training import say
from rapp.trials import Cell

SHARE = 0.6  # of a GPU's free memory that a stack may take
GPU_STACK = 20  # networks in a GPU's stack at most: with more, little is gained, and a lost stack costs more


def stack_size(data: Dataset, settings: Settings | RivalSettings) -> int:
    """How many replicas train together: on a CPU as ``replicas.stack_size`` says, on a GPU as many as its memory takes.

    Rivals train alone.
    """
    if isinstance(settings, RivalSettings):
        return 1
    device = resolve_device(settings.device)
    n_features = data.x.shape[1]
    if device.type != "cuda":
        return replicas.stack_size(n_features, device)
    n_units = settings.n_layers * (n_features + settings.bottleneck)  # of encoder and decoder, on average
    n_weights = n_units * (n_features + settings.bottleneck) / 2
    # Weights, gradients, two moments, the best so far; activations and their gradients; each replica's own rows.
    samples = settings.samples if settings.model == "vae" else 1
    each = 4 * (6 * n_weights + 6 * settings.batch * samples * n_units + len(data) * n_features)
    return min(GPU_STACK, max(1, int(SHARE * torch.cuda.mem_get_info(device)[0] / each)))


def run_unit(entries: Sequence[Entry], checkpoints: Path | None, fill: int = 0) -> list[dict]:
    """Train and score cells of one stack. Should that fail, each alone; one that fails alone is told by its error.

    Args:
        entries: equal in data set, setting and, but for the epochs, settings.
        checkpoints: folder to keep them in.
        fill: how many networks the stack has at least (``experiments.run_stack``).
    """
    provenance.commit()  # as it is now: the checkout may be edited while this trains
    mine = checkpoints / store.sha256(*(str(entry.file) for entry in entries))[:16] if checkpoints else None
    try:
        data = cells.data_of(entries[0].dataset)
        on_gpu = resolve_device(entries[0].cell.settings.device).type == "cuda"  # a stack of any size, and no copies
        trials = run_cells(data, [entry.cell for entry in entries], mine, fill or int(on_gpu))
        results = [cells.record(entry, trial) for entry, trial in zip(entries, trials, strict=True)]
    except OSError:  # such as a full disk: training each alone would not help
        raise
    except Exception as error:
        if len(entries) == 1:
            return [{"error": f"{type(error).__name__}: {error}"}]
        results = [result for entry in entries for result in run_unit([entry], checkpoints, fill)]
    if mine:
        shutil.rmtree(mine, ignore_errors=True)  # 600 networks of the paper's size are 10 GB
    return results


def lock(folder: Path) -> TextIO:
    """The folder's lock (``store.lock``).

    Raises:
        ParameterError: there can be no such folder.
    """
    try:
        return store.lock(folder / ".lock", busy=f"another run is at work in {folder}")
    except OSError as error:
        raise ParameterError(f"out={folder}: {error.strerror}; name a folder that can be made") from error


Unit = list[Entry]
Units = list[Unit]
Results = Iterator[tuple[Unit, list[dict]]]


@contextmanager
def connected(scheduler: str, workers: int = 0) -> Iterator[Any]:
    """A Dask ``Client`` of the scheduler at an address, such as tcp://host:8786, or of a local cluster of workers.

    Raises:
        ParameterError: Dask is not installed, or the scheduler cannot be reached.
    """
    try:
        import dask
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise ParameterError("a cluster needs Dask: pip install '.[cluster]'") from error
    # Dask makes glibc return freed memory at once; torch then spends a third of its time getting it back.
    keep = {"TRIM": 2**30, "MMAP": 2**25}  # bytes; glibc takes no more for the second
    environ = {f"MALLOC_{name}_THRESHOLD_": size for name, size in keep.items()}
    environ["LOKY_MAX_CPU_COUNT"] = 1  # for joblib's ``cpu_count``: a worker scores on a core, too, as its threads say
    of_worker = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in environ.items()}
    with ExitStack() as here, dask.config.set(of_worker):
        try:
            if not scheduler:
                local = LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
                )
                here.enter_context(local)
            client = here.enter_context(Client(scheduler or local, timeout=30))
        except (OSError, ValueError) as error:
            raise ParameterError(f"scheduler {scheduler!r} cannot be reached: {error}") from error
        yield client


@contextmanager
def _mapped(
    checkpoints: Path | None, workers: int, scheduler: str, seconds: float | None
) -> Iterator[Callable[[Units], Results]]:
    """A function that computes units: here, one after the other, or on a Dask cluster, as they are finished.

    On a cluster it raises a TimeoutError after so many seconds.
    """
    if not workers and not scheduler:
        yield lambda units: ((unit, run_unit(unit, checkpoints)) for unit in units)
        return
    with connected(scheduler, workers) as client:
        from dask.distributed import as_completed

        def results(units: Units) -> Results:
            order = range(0, -len(units), -1)
            futures = {
                client.submit(run_unit, unit, checkpoints, pure=False, priority=first): unit
                for unit, first in zip(units, order, strict=True)
            }
            for future in as_completed(futures, timeout=seconds):
                failed = future.exception()  # such as a worker that died again and again
                lost = [{"error": f"{type(failed).__name__}: {failed}"}] * len(futures[future])
                yield futures[future], lost if failed else future.result()

        yield results


def run(
    entries: Sequence[Entry],
    folder: Path,
    workers: int = 0,
    scheduler: str = "",
    force: bool = False,
    minutes: float | None = None,
) -> list[tuple[Entry, str]]:
    """Compute what is missing under ``folder``.

    Args:
        entries: the cells, most needed first.
        folder: of the cells' files; interrupted stacks keep their checkpoints there, too.
        workers: processes of a local Dask cluster; 0 computes here.
        scheduler: address of a running Dask scheduler, such as tcp://host:8786.
        force: compute finished cells as well.
        minutes: stop after so many, on a cluster; what is at work then goes on from its last checkpoint next time.

    Returns:
        The cells that failed, with their errors.
    """
    checkpoints = folder / ".checkpoints" if importlib.util.find_spec("safetensors") else None
    if checkpoints is None:
        say("safetensors is not installed: a stack that is interrupted starts again")
    failed: list[tuple[Entry, str]] = []
    with lock(folder):
        missing = [entry for entry in entries if force or not cells.is_done(folder / entry.file, entry)]
        units = _units(missing)
        say(f"{len(entries)} cells, {len(entries) - len(missing)} of them done, {len(units)} stacks to train")
        progress = Progress(len(missing))
        seconds = None if minutes is None else 60 * minutes
        with suppress(TimeoutError), _mapped(checkpoints, workers, scheduler, seconds) as compute:
            for unit, results in compute(units) if units else ():
                for entry, result in zip(unit, results, strict=True):
                    cells.write(folder / entry.file, result)
                    if "error" in result:
                        failed.append((entry, result["error"]))
                progress.add(len(unit))
        progress.close()
    return failed


def _units(entries: Iterable[Entry]) -> Units:
    """Cells that train together, most needed first. Cells that differ in their epochs alone are one run of the most."""
    runs: dict[tuple, Unit] = {}
    for entry in entries:
        runs.setdefault((entry.dataset, _at_an_epoch(entry.cell)), []).append(entry)
    alike: dict[tuple, list[Unit]] = {}
    for (dataset, _), run in runs.items():
        longest = max((entry.cell.settings for entry in run), key=lambda settings: settings.epochs)
        alike.setdefault((dataset, run[0].cell.setting, longest, run[0].block), []).append(run)
    units = []
    for (dataset, _, settings, _), group in alike.items():
        size = stack_size(cells.data_of(dataset), settings)
        units += [[entry for run in group[i : i + size] for entry in run] for i in range(0, len(group), size)]
    needed = {entry: i for i, entry in enumerate(entry for run in runs.values() for entry in run)}
    return sorted(units, key=lambda unit: min(needed[entry] for entry in unit))


def _at_an_epoch(cell: Cell) -> Cell:
    """The cell of an autoencoder with one epoch, so that runs of different lengths are alike."""
    settings = cell.settings
    return replace(cell, settings=replace(settings, epochs=1)) if isinstance(settings, Settings) else cell


class Progress:
    """A bar in a terminal, a line now and then in a log; both with the time left."""

    EVERY = 30  # seconds between lines

    def __init__(self, total: int, unit: str = "cell"):
        self.bar = tqdm(total=total, unit=unit, disable=None, file=sys.stderr)
        self.total, self.unit, self.done, self.start, self.said = total, unit, 0, time.monotonic(), 0.0

    def add(self, n: int) -> None:
        self.done += n
        self.bar.update(n)
        now = time.monotonic()
        if self.bar.disable and (now - self.said > self.EVERY or self.done == self.total):
            left = (now - self.start) / self.done * (self.total - self.done)
            say(f"{self.done} of {self.total} {self.unit}s, about {left / 60:.0f} min left")
            self.said = now

    def close(self) -> None:
        self.bar.close()
