"""Filling a grid of cells, such as the paper's Table 2: each cell once, whatever interrupts it.

Cells that share data set, setting and model train as one stack where that is faster. On one machine they
run one stack after the other; on several, or in several processes, Dask hands them out.
"""

import importlib.util
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rapp import cache, provenance, stacks
from rapp.cell import Cell
from rapp.config import ParameterError, TrainingConfig, resolve_device
from rapp.data import Dataset
from rapp.detectors import Config
from rapp.experiment import run_cells
from rapp.grid import cells
from rapp.grid.cells import GridCell
from rapp.progress import Progress, say

SHARE = 0.6  # of a GPU's free memory that a stack may take
GPU_STACK = 20  # networks in a GPU's stack at most: with more, little is gained, and a lost stack costs more


def stack_size(data: Dataset, config: Config) -> int:
    """How many networks train together: on a CPU as ``stacks.stack_size`` says, on a GPU as many as its memory takes.

    Detectors that are no autoencoders train alone.
    """
    if not isinstance(config, TrainingConfig):
        return 1
    device = resolve_device(config.device)
    n_features = data.x.shape[1]
    if device.type != "cuda":
        return stacks.stack_size(n_features, device)
    n_units = config.n_layers * (n_features + config.bottleneck)  # of encoder and decoder, on average
    n_weights = n_units * (n_features + config.bottleneck) / 2
    # Weights, gradients, two moments, the best so far; activations and their gradients; each network's own rows.
    samples = config.samples if config.model == "vae" else 1
    each = 4 * (6 * n_weights + 6 * config.batch * samples * n_units + len(data) * n_features)
    return min(GPU_STACK, max(1, int(SHARE * torch.cuda.mem_get_info(device)[0] / each)))


def run_unit(grid_cells: Sequence[GridCell], checkpoints: Path | None, fill: int = 0) -> list[dict]:
    """Train and score cells of one stack. Should that fail, each alone; one that fails alone is told by its error.

    Args:
        grid_cells: equal in data set, setting and, but for the epochs, config.
        checkpoints: folder to keep them in.
        fill: how many networks the stack has at least (``experiment.run_cells``).
    """
    provenance.commit()  # as it is now: the checkout may be edited while this trains
    mine = checkpoints / cache.sha256(*(str(grid_cell.file) for grid_cell in grid_cells))[:16] if checkpoints else None
    try:
        data = cells.data_of(grid_cells[0].dataset)
        on_gpu = resolve_device(grid_cells[0].cell.config.device).type == "cuda"  # a stack of any size, and no copies
        trials = run_cells(data, [grid_cell.cell for grid_cell in grid_cells], mine, fill or int(on_gpu))
        results = [cells.record(grid_cell, trial) for grid_cell, trial in zip(grid_cells, trials, strict=True)]
    except OSError:  # such as a full disk: training each alone would not help
        raise
    except Exception as error:
        if len(grid_cells) == 1:
            return [{"error": f"{type(error).__name__}: {error}"}]
        results = [result for grid_cell in grid_cells for result in run_unit([grid_cell], checkpoints, fill)]
    if mine:
        shutil.rmtree(mine, ignore_errors=True)  # 600 networks of the paper's size are 10 GB
    return results


Unit = list[GridCell]
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
            futures = {
                client.submit(run_unit, unit, checkpoints, pure=False, priority=-i): unit
                for i, unit in enumerate(units)
            }
            for future in as_completed(futures, timeout=seconds):
                failed = future.exception()  # such as a worker that died again and again
                lost = [{"error": f"{type(failed).__name__}: {failed}"}] * len(futures[future])
                yield futures[future], lost if failed else future.result()

        yield results


def run(
    grid_cells: Sequence[GridCell],
    folder: Path,
    workers: int = 0,
    scheduler: str = "",
    force: bool = False,
    minutes: float | None = None,
) -> list[tuple[GridCell, str]]:
    """Compute what is missing under ``folder``.

    Args:
        grid_cells: the cells, most needed first.
        folder: of the cells' files; interrupted stacks keep their checkpoints there, too.
        workers: processes of a local Dask cluster; 0 computes here.
        scheduler: address of a running Dask scheduler, such as tcp://host:8786.
        force: compute finished cells as well.
        minutes: stop after so many, on a cluster; what is at work then goes on from its last checkpoint next time.

    Returns:
        The cells that failed, with their errors.
    """
    folder = folder.resolve()  # a worker may run elsewhere
    checkpoints = folder / ".checkpoints" if importlib.util.find_spec("safetensors") else None
    if checkpoints is None:
        say("safetensors is not installed: a stack that is interrupted starts again")
    failed: list[tuple[GridCell, str]] = []
    with cells.lock(folder):
        missing = [one for one in grid_cells if force or not cells.is_done(folder / one.file, one)]
        units = _units(missing)
        say(f"{len(grid_cells)} cells, {len(grid_cells) - len(missing)} of them done, {len(units)} stacks to train")
        progress = Progress(len(missing), "cell", every=30)
        seconds = None if minutes is None else 60 * minutes
        with suppress(TimeoutError), _mapped(checkpoints, workers, scheduler, seconds) as compute:
            for unit, results in compute(units) if units else ():
                for grid_cell, result in zip(unit, results, strict=True):
                    cells.write(folder / grid_cell.file, result)
                    if "error" in result:
                        failed.append((grid_cell, result["error"]))
                progress.add(len(unit))
        progress.close()
    return failed


def _units(grid_cells: Iterable[GridCell]) -> Units:
    """Cells that train together, most needed first. Cells that differ in their epochs alone are one run of the most."""
    runs: dict[tuple, Unit] = {}
    for grid_cell in grid_cells:
        runs.setdefault((grid_cell.dataset, at_an_epoch(grid_cell.cell)), []).append(grid_cell)
    alike: dict[tuple, list[Unit]] = {}
    for (dataset, _), run in runs.items():
        longest = max((grid_cell.cell.config for grid_cell in run), key=lambda config: config.epochs)
        alike.setdefault((dataset, run[0].cell.setting, longest, run[0].block), []).append(run)
    units = []
    for (dataset, _, config, _), group in alike.items():
        size = stack_size(cells.data_of(dataset), config)
        units += [[grid_cell for run in group[i : i + size] for grid_cell in run] for i in range(0, len(group), size)]
    needed = {grid_cell: i for i, grid_cell in enumerate(grid_cell for run in runs.values() for grid_cell in run)}
    return sorted(units, key=lambda unit: min(needed[grid_cell] for grid_cell in unit))


def at_an_epoch(cell: Cell) -> Cell:
    """The cell of an autoencoder with one epoch, so that runs of different lengths are alike."""
    config = cell.config
    return replace(cell, config=replace(config, epochs=1)) if isinstance(config, TrainingConfig) else cell
