"""Speed as ratios, taken in one run on one machine: `make bench`. Not a test: it prints, and asserts nothing.

Everything is the 10-layer 784→20 autoencoder at batch 256 on 2 threads. What is compared takes turns and medians count:
the fastest turn would favour whatever is short enough to fit into a spell of turbo.
"""

import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import torch
import torchvision
from PIL import Image
from playwright.sync_api import sync_playwright
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rapp import stacks, training
from rapp.bfloat16 import has_units
from rapp.cache import cache_folder
from rapp.config import TrainingConfig
from rapp.data import Dataset, load
from rapp.evaluation import auroc
from rapp.experiment import run_cells
from rapp.grid import cells, runner
from rapp.models import Autoencoder
from rapp.pathway import Pathway, Whitening, nap, project
from rapp.splits import split
from rapp.threads import pinned
from rapp.training import Run

THREADS, BATCH = 2, 256
PROTOCOL = TrainingConfig(threads=THREADS, batch=BATCH, device="cpu")


def medians(*functions: Callable[[], object], repeats: int = 5, inner: int = 1) -> list[float]:
    """Seconds of each function, the median over repeats in which they take turns."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()  # warm up
    for _ in range(repeats):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            for _ in range(inner):
                function()
            taken.append((time.perf_counter() - start) / inner)
    return [statistics.median(taken) for taken in times]


def line(what: str, precision: str, ratio: float, target: str, met: bool, details: str) -> None:
    print(
        f"{what:<46} {precision:<9} {ratio:6.2f}×  target {target:<8} {'met' if met else 'MISSED':<7} {details}",
        flush=True,
    )


def products(model: nn.Module, rows: int, dtype: torch.dtype, backward: bool = True) -> Callable[[], None]:
    """The matrix products of one training step and nothing else: forward and, ``backward``, gradients of weights and of
    inputs."""
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    weights = [torch.randn(shape, dtype=dtype) for shape in shapes]
    inputs = [torch.randn(rows, n_in, dtype=dtype) for _, n_in in shapes]
    gradients = [torch.randn(rows, n_out, dtype=dtype) for n_out, _ in shapes]

    def run() -> None:
        for i, (weight, x, gradient) in enumerate(zip(weights, inputs, gradients, strict=True)):
            _ = x @ weight.T
            if not backward:
                continue
            _ = gradient.T @ x
            if i:  # the first layer's input needs no gradient
                _ = gradient @ weight

    return run


def training_steps(x: Tensor) -> None:
    """A training step against its bare matrix products."""
    batch = x[:BATCH]
    for precision, dtype, limit in (("float32", torch.float32, 1.7), ("bfloat16", torch.bfloat16, 2.0)):
        for compiled in (False, True) if precision == "float32" or has_units() else ():
            run = Run(x[:1024], x[:256], replace(PROTOCOL, precision=precision, compile=compiled), seed=0)
            run.model.train()
            step, bare = medians(
                lambda run=run: run.step(batch), products(run.model, BATCH, dtype), repeats=30, inner=6
            )
            name = "training step / its matrix products" + (", compiled" if compiled else "")
            line(name, precision, step / bare, f"≤ {limit}", step / bare <= limit,
                 f"{step * 1e3:.1f} ms / {bare * 1e3:.1f} ms")  # fmt: skip


def adams_traffic(model: nn.Module) -> Callable[[], None]:
    """One step of the optimizer on weights and gradients of a model's sizes and nothing else: it is bound by memory."""
    weights = [torch.randn_like(p).requires_grad_() for p in model.parameters()]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    return torch.optim.Adam(weights, 1e-3, fused=True).step  # type: ignore[return-value]


def limit_of(run: Run, dtype: torch.dtype) -> Callable[[], None]:
    """What a step cannot do without: its matrix products, and Adam's traffic.

    A VAE decodes every sample; an AAE encodes again for its discriminator, and once more for its generator, with
    gradients and Adam.
    """
    model = run.model
    samples = run.config.samples if model.codes == 2 else 1
    parts = [products(model.encoder, BATCH, dtype), products(model.decoder, BATCH * samples, dtype)]
    parts += [adams_traffic(model.encoder), adams_traffic(model.decoder)]
    if run.config.model == "aae":
        parts += [parts[0], parts[2], products(model.encoder, BATCH, dtype, backward=False)]

    def all_of_them() -> None:
        for part in parts:
            part()

    return all_of_them


def without_units(x: Tensor) -> None:
    """A training step in bfloat16 on a processor without units for it: torch's products against ours, and float32."""
    for model in ("ae", "aae", "vae"):
        runs = {
            precision: Run(x[:1024], x[:256], replace(PROTOCOL, model=model, precision=precision, threads=1), seed=0)
            for precision in ("float32", "bfloat16")
        }
        for run in runs.values():
            run.model.train()

        def step(run: Run) -> Callable[[], object]:
            return lambda: run.step(*run.draw())

        def with_torchs_products(run: Run = runs["bfloat16"]) -> None:
            with mock.patch.object(training, "has_units", return_value=True):
                run.step(*run.draw())

        plain, ours, torchs = medians(step(runs["float32"]), step(runs["bfloat16"]), with_torchs_products)
        for name, ratio, target, met, other in (
            ("torch's products / ours", torchs / ours, "≥ 5", torchs >= 5 * ours, torchs),
            ("bfloat16 / float32", ours / plain, "≤ 1.5", ours <= 1.5 * plain, plain),
        ):
            line(f"{model.upper()} step without units, {name}", "bfloat16", ratio, target, met,
                 f"{ours * 1e3:.0f} ms, the other {other * 1e3:.0f} ms")  # fmt: skip


def one_thread(x: Tensor) -> None:
    """A training step as `make rows` trains: on one thread, against its products and Adam's traffic."""
    with pinned(1):
        for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            if precision == "bfloat16" and not has_units():
                without_units(x)
                continue
            for model in ("ae", "vae", "aae"):
                config = replace(PROTOCOL, model=model, precision=precision, threads=1)
                run = Run(x[:1024], x[:256], config, seed=0)
                run.model.train()
                step, bare = medians(
                    lambda run=run: run.step(*run.draw()), limit_of(run, dtype), repeats=7 if model == "vae" else 15
                )
                line(f"{model.upper()} step, one thread / products + Adam", precision, step / bare, "≤ 1.5",
                     step / bare <= 1.5, f"{step * 1e3:.1f} ms / {bare * 1e3:.1f} ms")  # fmt: skip


def lightning_epoch(loader: DataLoader, n_features: int, precision: str) -> Callable[[], None]:
    """One epoch of a plain Lightning Trainer; logger, checkpoints and progress bar are off, in its favour."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Autoencoder(n_features)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return self.model.loss(batch[0].flatten(1))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.model.parameters(), lr=1e-3)

    warnings.simplefilter("ignore")
    for name in ("lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    kind = {"float32": "32-true", "bfloat16": "bf16-mixed"}[precision]
    module = Module()

    def epoch() -> None:
        lightning.Trainer(accelerator="cpu", devices=1, max_epochs=1, precision=kind, **quiet).fit(module, loader)

    return epoch


def our_epoch(x: Tensor, config: TrainingConfig) -> Callable[[], None]:
    """One of our epochs without its validation, for Lightning has none here either."""
    run = Run(x, x[:256], config, seed=0)

    def epoch() -> None:
        run.model.train()
        order = torch.randperm(len(x), generator=run.generator)
        for rows in order.split(BATCH):
            run.step(x[rows])

    return epoch


_MINE: list[Callable[[], None]] = []  # of a process of ``side_by_side``


def _prepare(x: Tensor, config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    _MINE.append(our_epoch(x, config))


def _epoch(_: int) -> None:
    _MINE[0]()


def side_by_side(pool: ProcessPoolExecutor) -> Callable[[], None]:
    """An epoch of two models at once, each in a process of its own on one core: so the book trains several."""
    return lambda: list(pool.map(_epoch, range(THREADS))) and None


def against_lightning(data: Dataset) -> None:
    """Samples per second against the plain way: torchvision's images through ToTensor, one by one, a Trainer."""
    images = [Image.fromarray((row * 255).astype("uint8").reshape(28, 28)) for row in data.x[: 40 * BATCH]]
    to_tensor = torchvision.transforms.ToTensor()

    class Items(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 40 * BATCH

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            return to_tensor(images[i % len(images)]), 0

    loader = DataLoader(Items(), batch_size=BATCH, shuffle=True)
    x = torch.from_numpy(data.x)
    x = x.repeat(-(-40 * BATCH // len(x)), 1)[: 40 * BATCH]
    precisions = ("float32", "bfloat16") if has_units() else ("float32",)
    plain = {precision: lightning_epoch(loader, x.shape[1], precision) for precision in precisions}
    ours = {precision: our_epoch(x, replace(PROTOCOL, precision=precision)) for precision in plain}
    compiled = {p: our_epoch(x, replace(PROTOCOL, precision=p, compile=True)) for p in plain}
    alone, n = replace(PROTOCOL, precision=precisions[-1], threads=1), len(precisions)
    with ProcessPoolExecutor(THREADS, get_context("spawn"), _prepare, (x, alone)) as pool:
        two = side_by_side(pool)
        *taken, together = medians(*plain.values(), *ours.values(), *compiled.values(), two, repeats=4)
    speeds = [len(x) / seconds for seconds in taken]  # samples/s: Lightning, ours, ours compiled; float32 first
    for i, precision in enumerate(plain):
        for name, speed in (("", speeds[n + i]), (", compiled", speeds[2 * n + i])):
            ratio = speed / speeds[i]
            line("samples/s / plain Lightning's" + name, precision, ratio, "≥ 1.4", ratio >= 1.4,
                 f"{speed:.0f} / {speeds[i]:.0f}")  # fmt: skip
    which = "bf16/f32" if n > 1 else "float32"
    for what, best, target in (
        ("one model", max(speeds[n:]), 0),
        ("two side by side", THREADS * len(x) / together, 2.5),
    ):
        ratio = best / speeds[0]
        line(f"our best setting / plain Lightning's, {what}", which, ratio, f"≥ {target}" if target else "report",
             ratio >= target, f"{best:.0f} / {speeds[0]:.0f}")  # fmt: skip


def alone_and_stacked(n: int, n_features: int, repeats: int, inner: int) -> tuple[float, float, int]:
    """Seconds of a step of n models, one by one and as one stack of replicas, and how many steps an epoch has."""
    x = torch.rand(1024, n_features)
    config = TrainingConfig(n_layers=5, bottleneck=10, batch=32, threads=1, device="cpu")
    alone, together = ([Run(x, x[:64], config, seed) for seed in range(n)] for _ in range(2))
    stack = stacks.Stack(together)
    for run in alone:
        run.model.train()
    with pinned(1):
        single, stacked = medians(
            lambda: [run.step(*run.draw()) for run in alone], stack.step, repeats=repeats, inner=inner
        )
    return single, stacked, alone[0].steps


def stacked() -> None:
    """Eight models one after the other against the same as one stack of replicas: for which widths it pays."""
    for n_features in (20, 64, 100, 784):
        single, stacked, _ = alone_and_stacked(8, n_features, repeats=8, inner=4)
        pays = n_features <= stacks.NARROW
        line(f"8 models one by one / as a stack, {n_features} features", "float32", single / stacked,
             "> 1" if pays else "(not used)", single / stacked > 1 or not pays,
             f"{single * 1e3:.1f} ms / {stacked * 1e3:.1f} ms")  # fmt: skip


def grids(folder: Path) -> None:
    """The grid of cells: 50 models as a stack, what a cell costs beside its computation, two workers against one."""
    single, stacked, steps = alone_and_stacked(50, 20, repeats=6, inner=2)
    minute = 60 / (100 * steps)  # of models that train 100 epochs
    line("50 models one by one / as a stack, 20 features", "float32", single / stacked, "report", True,
         f"{50 * minute / single:.1f} / {50 * minute / stacked:.1f} models a minute")  # fmt: skip
    entries = cells.plan("tiny", ["mnist-5k"], ["multimodal"], ["ae"], 2, epochs=6, threads=1, device="cpu")
    data = cells.data_of("mnist-5k")
    start = time.perf_counter()
    for entry in entries:
        list(run_cells(data, [entry.cell], None))
    bare = time.perf_counter() - start
    taken = {}
    for workers in (0, 1, 2):
        start = time.perf_counter()
        failed = runner.run(entries, folder / str(workers), workers)
        taken[workers] = time.perf_counter() - start
        assert not failed, failed
    line("a grid of 20 cells / their computation alone", "float32", taken[0] / bare, "report", True,
         f"{(taken[0] - bare) / 20 * 1e3:.0f} ms a cell")  # fmt: skip
    ratio = taken[1] / taken[2]
    line("Dask, 20 cells: 1 worker / 2 workers", "float32", ratio, "≥ 1.6", ratio >= 1.6,
         f"{taken[1]:.1f} s / {taken[2]:.1f} s, the start of the cluster included")  # fmt: skip


def fit_and_score(data: Dataset) -> None:
    """NAP's fit against an SVD of the same matrix, and its scoring against the forward passes that it needs."""
    full = len(data) > 40_000
    parts = split(data.y, "1")
    x_train = torch.from_numpy(data.x[parts.train])
    run = Run(x_train[:8192], x_train[:256], replace(PROTOCOL, epochs=3), seed=0)
    for _ in range(3 if full else 20):
        run.epoch()
    model = run.model.eval()
    pathway = Pathway(model.encoder, model.decode)
    d_train = pathway.differences(x_train)
    d_test = pathway.differences(torch.from_numpy(data.x[parts.test]))
    size = f"{len(d_train):,} × {d_train.shape[1]:,}"
    (svd,) = medians(lambda: torch.linalg.svd(d_train - d_train.mean(0), full_matrices=False), repeats=1)
    reference = auroc(parts.is_novel, by_float64(d_train, d_test))
    for products_in in (torch.float32, torch.float64):
        whitening = Whitening(products_in)
        (seconds,) = medians(lambda whitening=whitening: whitening.fit(d_train.split(4096)), repeats=3)
        gap = abs(auroc(parts.is_novel, nap(d_test, whitening)) - reference)
        precision = str(products_in).removeprefix("torch.")
        line(f"SVD (float32) / NAP's fit, {size}", precision, svd / seconds, "≥ 5", svd / seconds >= 5,
             f"{svd:.1f} s / {seconds:.1f} s, rank {whitening.rank}, AUROC off float64's by {gap:.0e}")  # fmt: skip
    scoring(data, x_train)


def by_float64(d_train: Tensor, d_test: Tensor) -> Tensor:
    """NAP by an eigendecomposition in float64."""
    mu = d_train.double().mean(0)
    centred = d_train.double() - mu
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    keep = values > 1e-10 * values[-1]
    return ((d_test.double() - mu) @ vectors[:, keep] / values[keep].sqrt()).square().sum(1)


def scoring(data: Dataset, x_train: Tensor) -> None:
    """Scoring 10,000 rows with NAP against the passes through encoder, decoder and encoder that it needs."""
    x = torch.from_numpy(data.x)
    x = x.repeat(-(-10_000 // len(x)), 1)[:10_000]
    for name, samples in (("ae", 0), ("vae", 10)):
        run = Run(x_train[:8192], x_train[:256], replace(PROTOCOL, model=name, samples=1), seed=0)
        run.epoch()
        model = run.model.eval()
        decoder = model.decoding(samples, torch.Generator().manual_seed(0))
        pathway = Pathway(model.encoder, decoder, whitening=Whitening(torch.float32)).fit(x_train)
        with torch.no_grad():
            whole, passes = medians(
                lambda p=pathway: p.score(x),
                lambda p=pathway: [project(p.encoder, p.decoder, rows) for rows in x.split(p.chunk)],
            )
        what = f"scoring 10,000 rows / its passes, {name.upper()}" + (f", {samples} samples" if samples else "")
        line(what, "float32", whole / passes, "< 1.5", whole / passes < 1.5,
             f"{whole:.2f} s / {passes:.2f} s, {len(x) / whole:.0f} rows a second")  # fmt: skip


FIT = """
import resource, sys, torch
from rapp.pathway import Whitening
n = int(sys.argv[1])
Whitening().fit(torch.randn(1000, 1000) for _ in range(n // 1000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20)
"""


def memory() -> None:
    """Peak memory, torch's own included, of a process that fits 1,000 features: few rows against 16 times as many."""
    few, many = (
        float(subprocess.run([sys.executable, "-c", FIT, str(n)], capture_output=True, text=True, check=True).stdout)
        for n in (4_000, 64_000)
    )
    line("peak memory of a fit, 64,000 / 4,000 rows", "float64", many / few, "≤ 1.1", many / few <= 1.1,
         f"{many:.0f} MB / {few:.0f} MB; the 64,000 rows themselves: {64_000 * 4_000 / 2**20:.0f} MB")  # fmt: skip


def in_the_page() -> None:
    """One evaluation of the book's playground, all its test images in turn, in headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("no Chromium on this machine: the playground is not measured")
        return
    folder = Path(__file__).parents[1] / "book" / "_static" / "playground"
    script = """() => {
      const { images } = rapp.last.arrays, times = [];
      for (let at = 0; at < images.length; at += 784) {
        const x = Float64Array.from(images.subarray(at, at + 784), (value) => value / 255), start = performance.now();
        for (let i = 0; i < 5; i++) rapp.pathway(rapp.last, x);
        times.push((performance.now() - start) / 5);
      }
      return times;
    }"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        for name in ("net.js", "net-1.js"):
            page.add_script_tag(path=folder / name)
        milliseconds = statistics.median(page.evaluate(script))
        browser.close()
    # A frame of a screen lasts a sixtieth of a second: within it, a stroke is followed at once.
    line("a frame / an evaluation in the playground", "float64", 1000 / 60 / milliseconds, "> 1",
         milliseconds < 1000 / 60, f"{milliseconds:.2f} ms")  # fmt: skip


def main() -> None:
    torch.set_num_threads(THREADS)
    has_full = bool(os.environ.get("RAPP_DATA")) or (cache_folder() / "data" / "mnist").exists()
    data = load("mnist" if has_full else "mnist-5k")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {THREADS} threads, torch {torch.__version__}, {data.name}"
          + ("" if has_full else " (RAPP_DATA is not set: NAP's fit is measured on the small data set)"))  # fmt: skip
    training_steps(torch.from_numpy(data.x[:1024]))
    one_thread(torch.from_numpy(data.x[:1024]))
    against_lightning(data)
    stacked()
    with tempfile.TemporaryDirectory() as folder:
        grids(Path(folder))
    memory()
    fit_and_score(data)
    in_the_page()


if __name__ == "__main__":
    main()
