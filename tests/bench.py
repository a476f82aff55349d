"""Speed as ratios, taken in one run on one machine: `make bench`. Not a test: it prints, and asserts nothing.

Everything is the 10-layer 784→20 autoencoder at batch 256 on 2 threads; the best of several repeats counts, so that
other work on the machine disturbs least.
"""

import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rapp import datasets
from rapp.autoencoders import Autoencoder
from rapp.evaluation import auroc
from rapp.pathway import Pathway, Whitening, nap, project
from rapp.splits import split
from rapp.training import Run, Settings, reconstruction_error

THREADS, BATCH = 2, 256
PROTOCOL = Settings(threads=THREADS, batch=BATCH, device="cpu")


def best(function: Callable[[], object], repeats: int = 5, inner: int = 1) -> float:
    """Seconds of the fastest of several repeats, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(inner):
            function()
        times.append((time.perf_counter() - start) / inner)
    return min(times)


def line(what: str, precision: str, ratio: float, target: str, met: bool, details: str) -> None:
    print(
        f"{what:<46} {precision:<9} {ratio:6.2f}×  target {target:<8} {'met' if met else 'MISSED':<7} {details}",
        flush=True,
    )


def products(model: Autoencoder, rows: int, dtype: torch.dtype) -> Callable[[], None]:
    """The matrix products of one training step and nothing else: forward, gradient of weights, of inputs."""
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    weights = [torch.randn(shape, dtype=dtype) for shape in shapes]
    inputs = [torch.randn(rows, n_in, dtype=dtype) for _, n_in in shapes]
    gradients = [torch.randn(rows, n_out, dtype=dtype) for n_out, _ in shapes]

    def run() -> None:
        for i, (weight, x, gradient) in enumerate(zip(weights, inputs, gradients, strict=True)):
            _ = x @ weight.T
            _ = gradient.T @ x
            if i:  # the first layer's input needs no gradient
                _ = gradient @ weight

    return run


def training_steps(x: Tensor) -> None:
    """A training step against its bare matrix products."""
    batch = x[:BATCH]
    for precision, dtype, limit in (("float32", torch.float32, 1.7), ("bfloat16", torch.bfloat16, 2.0)):
        for compiled in (False, True):
            run = Run(x[:1024], x[:256], replace(PROTOCOL, precision=precision, compile=compiled), seed=0)
            run.model.train()
            step = best(lambda run=run: run.step(batch), inner=8)
            bare = best(products(run.model, BATCH, dtype), inner=8)
            name = "training step / its matrix products" + (", compiled" if compiled else "")
            line(name, precision, step / bare, f"≤ {limit}", step / bare <= limit,
                 f"{step * 1e3:.1f} ms / {bare * 1e3:.1f} ms")  # fmt: skip


class Rows(Dataset):
    """Row by row, as a plain DataLoader wants it."""

    def __init__(self, x: Tensor):
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        return self.x[i]


def lightning_rate(x: Tensor, precision: str) -> float:
    """Samples per second of a plain Lightning Trainer with a per-item DataLoader."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Autoencoder(x.shape[1])

        def training_step(self, rows: Tensor, _: int) -> Tensor:
            return self.model.loss(rows)

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
    loader = DataLoader(Rows(x), batch_size=BATCH, shuffle=True, drop_last=True)
    rates = []
    for _ in range(2):
        trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=1, precision=kind, **quiet)
        start = time.perf_counter()
        trainer.fit(Module(), loader)
        rates.append(len(x) // BATCH * BATCH / (time.perf_counter() - start))
    return max(rates)


def our_rate(x: Tensor, settings: Settings) -> float:
    """Samples per second of our training epochs, validation not counted (Lightning has none here)."""
    run = Run(x, x[:256], settings, seed=0)
    run.epoch()  # warm up, compile
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        run.epoch()
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        reconstruction_error(run.model, run.x_val)
        rates.append(len(x) // BATCH * BATCH / (seconds - (time.perf_counter() - start)))
    return max(rates)


def against_lightning(x: Tensor) -> None:
    """Samples per second against the plain way of training."""
    theirs = {precision: lightning_rate(x, precision) for precision in ("float32", "bfloat16")}
    for precision, rate in theirs.items():
        ours = our_rate(x, replace(PROTOCOL, precision=precision))
        line("samples/s / Lightning's", precision, ours / rate, "≥ 1.4", ours / rate >= 1.4, f"{ours:.0f} / {rate:.0f}")
    ours = our_rate(x, replace(PROTOCOL, precision="bfloat16", compile=True))
    ratio = ours / theirs["float32"]
    line("our best (bfloat16, compiled) / Lightning's", "f32 base", ratio, "≥ 2.5", ratio >= 2.5,
         f"{ours:.0f} / {theirs['float32']:.0f}")  # fmt: skip


@torch.no_grad()
def fit_and_score(data: datasets.Dataset) -> None:
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
    svd = best(lambda: torch.linalg.svd(d_train - d_train.mean(0), full_matrices=False), repeats=1)
    reference = auroc(parts.is_novel, by_float64(d_train, d_test))
    for products_in in (torch.float32, torch.float64):
        whitening = Whitening(products_in)
        seconds = best(lambda whitening=whitening: whitening.fit(d_train.split(4096)), repeats=3)
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


def scoring(data: datasets.Dataset, x_train: Tensor) -> None:
    """Scoring 10,000 rows with NAP against the passes through encoder, decoder and encoder that it needs."""
    x = torch.from_numpy(data.x)
    x = x.repeat(-(-10_000 // len(x)), 1)[:10_000]
    for model_name, samples in (("ae", 0), ("vae", 10)):
        model = Run(x_train[:512], x_train[:256], replace(PROTOCOL, model=model_name), seed=0).model.eval()
        generator = torch.Generator().manual_seed(0)
        pathway = Pathway(model.encoder, model.decoding(samples, generator)).fit(x_train)
        passes = best(lambda p=pathway: [project(p.encoder, p.decoder, rows) for rows in x.split(p.chunk)], repeats=3)
        whole = best(lambda p=pathway: p.score(x), repeats=3)
        what = f"scoring 10,000 rows / its passes, {model_name.upper()}" + (f", {samples} samples" if samples else "")
        line(what, "float32", whole / passes, "< 1.5", whole / passes < 1.5, f"{whole:.2f} s / {passes:.2f} s")


def memory() -> None:
    """Peak memory of the fit while the number of rows grows fourfold."""
    peaks = []
    for n in (4_000, 16_000):
        generator = torch.Generator().manual_seed(0)
        rows = (torch.randn(1000, 1000, generator=generator) for _ in range(n // 1000))
        before = _resident()
        Whitening().fit(rows)
        peaks.append(_resident() - before)
    print(f"{'memory of the fit, 1,000 features':<46} float64   grows by {max(0, peaks[1] - peaks[0]) / 2**20:.1f} MB "
          f"from 4,000 rows to 16,000 (the rows: {12_000 * 4_000 / 2**20:.0f} MB)")  # fmt: skip


def _resident() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    torch.set_num_threads(THREADS)
    has_full = bool(os.environ.get("RAPP_DATA")) or (datasets.cache_folder() / "data" / "mnist").exists()
    data = datasets.load("mnist" if has_full else "mnist-5k")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {THREADS} threads, torch {torch.__version__}, {data.name}"
          + ("" if has_full else " (RAPP_DATA is not set: NAP's fit is measured on the small data set)"))  # fmt: skip
    x = torch.from_numpy(data.x)
    x = x.repeat(-(-10_240 // len(x)), 1)[:10_240]
    training_steps(x)
    against_lightning(x)
    memory()
    fit_and_score(data)


if __name__ == "__main__":
    main()
