"""The networks of the playground: trained here, shipped with the page as eight-bit weights in script files.

A browser that opens the page from a disk may load scripts and nothing else, so each network is a script that hands over
one text in base64. ``Shipped`` reads what was written and computes what the page does (``_static/playground/net.js``).
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rapp import evaluation, provenance
from rapp.config import TrainingConfig
from rapp.data import Dataset
from rapp.experiment import Cell, Trial
from rapp.models import SLOPE

CONFIG = TrainingConfig("ae", n_layers=3, hidden=(128, 64), bottleneck=16, epochs=40, batch=128, threads=1)
LAYERS = 3  # of encoder and decoder each
QUANTILES = 401  # of the scores of normal and of novel rows that a network carries along
SHOWN = 8  # images of each class that can be picked
RATES = (0.01, 0.05, 0.1)  # of false alarms, in the published table
SCORES = ("recon", "sap", "nap")


def cells(data: Dataset) -> list[Cell]:
    """One network for each digit that it has never seen, seed 0, on the protocol's split."""
    return [Cell(CONFIG, label) for label in data.classes]


def eight_bits(weights: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and a scale for each row of weights (n_out, n_in): weights ≈ numbers · scale."""
    most = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(weights).max(1), 1e-12) / most
    return np.round(weights / scale[:, None]).astype(np.int8 if bits == 8 else np.int16), scale.astype(np.float32)


@dataclass
class Shipped:
    """A network as it is shipped: arrays by name, and what to say about it."""

    arrays: dict[str, np.ndarray]
    about: dict[str, Any]

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        """One layer's output (N, n_out) of x (N, n_in): Linear → LeakyReLU → BatchNorm, or Linear alone."""
        a = self.arrays
        y = x @ (a[f"{name}.weight"] * a[f"{name}.scale"][:, None].astype(np.float64)).T + a[f"{name}.bias"]
        if f"{name}.gain" not in a:
            return y
        return np.where(y > 0, y, SLOPE * y) * a[f"{name}.gain"] + a[f"{name}.shift"]

    def encode(self, x: np.ndarray) -> list[np.ndarray]:
        """The hidden activations h_1 … h_ℓ, (N, d_i) each, of rows x (N, 784) in [0, 1]."""
        hidden: list[np.ndarray] = []
        for i in range(LAYERS):
            hidden.append(self.layer(f"encoder{i}", hidden[-1] if i else x))
        return hidden

    def decode(self, code: np.ndarray) -> np.ndarray:
        """x̂ (N, 784) of codes (N, k)."""
        for i in range(LAYERS):
            code = self.layer(f"decoder{i}", code)
        return code

    def differences(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x̂ (N, 784) and d (N, Σ d_i) of rows x (N, 784)."""
        h = self.encode(x)
        x_hat = self.decode(h[-1])
        return x_hat, np.concatenate(h, axis=1) - np.concatenate(self.encode(x_hat), axis=1)

    def scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """recon, sap and nap of rows x (N, 784), (N,) each."""
        x_hat, d = self.differences(x)
        white = (d - self.arrays["mean"]) @ (self.arrays["white"] * self.arrays["white.scale"][:, None].astype(float)).T
        return {"recon": ((x - x_hat) ** 2).sum(1), "sap": (d**2).sum(1), "nap": (white**2).sum(1)}

    def script(self) -> str:
        """The script that hands the network to the page."""
        parts, where, at = [], {}, 0
        for name, value in self.arrays.items():
            raw = np.ascontiguousarray(value).tobytes()
            raw += b"\0" * (-len(raw) % 4)  # so that every array can be read in place
            where[name] = [str(value.dtype), at, list(value.shape)]
            parts.append(raw)
            at += len(raw)
        head = json.dumps(self.about | {"arrays": where}, sort_keys=True)
        body = base64.b64encode(b"".join(parts)).decode()
        return f'rappNetwork({head},\n"{body}");\n'

    @classmethod
    def read(cls, script: str) -> "Shipped":
        """What ``script`` wrote."""
        head, body = script.removeprefix("rappNetwork(").removesuffix(");\n").split(",\n")
        about, raw = json.loads(head), base64.b64decode(body)
        arrays = {
            name: np.frombuffer(raw, dtype, int(np.prod(shape)), at).reshape(shape)
            for name, (dtype, at, shape) in about.pop("arrays").items()
        }
        return cls(arrays, about)


def quantised(trial: Trial) -> Shipped:
    """A trial's network in eight bits, with NAP fitted anew on the differences that *it* leaves in training rows."""
    arrays: dict[str, np.ndarray] = {}
    model = trial.detector.trained.model.double().cpu()
    for side in ("encoder", "decoder"):
        for i, layer in enumerate(getattr(model, side)):
            weights, scale = eight_bits(layer[0].weight.detach().numpy())
            arrays |= {f"{side}{i}.weight": weights, f"{side}{i}.scale": scale}
            arrays[f"{side}{i}.bias"] = layer[0].bias.detach().numpy().astype(np.float32)
            if len(layer) == 3:
                norm = layer[2]
                gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
                shift = norm.bias.detach().numpy() - gain * norm.running_mean.numpy()
                arrays |= {f"{side}{i}.gain": gain.astype(np.float32), f"{side}{i}.shift": shift.astype(np.float32)}
    network = Shipped(arrays, {"unseen": trial.cell.target})
    d = np.concatenate([network.differences(rows)[1] for rows in np.array_split(trial.x("train").astype(float), 20)])
    mean = d.mean(0)
    variance, directions = np.linalg.eigh(np.cov(d.T, bias=True))
    kept = variance > 1e-8 * variance.max()  # the last layer's differences are combinations of those before
    white, scale = eight_bits((directions[:, kept] / np.sqrt(variance[kept])).T, bits=16)
    arrays |= {"mean": mean.astype(np.float32), "white": white, "white.scale": scale}
    return network


def shipped(trial: Trial) -> tuple[Shipped, pd.DataFrame]:
    """A trial's network with all that the page shows of it, and its lines of the published table."""
    network, data, split = quantised(trial), trial.data, trial.split
    x = trial.x("test").astype(float)
    scores = _in_parts(network, x)
    normal = _in_parts(network, trial.x("val").astype(float))
    quantiles = np.linspace(0, 1, QUANTILES)
    lines = []
    for name in SCORES:
        novel = scores[name][split.is_novel]
        network.arrays[f"{name}.normal"] = np.quantile(normal[name], quantiles).astype(np.float32)
        network.arrays[f"{name}.novel"] = np.quantile(novel, quantiles).astype(np.float32)
        line = {
            "unseen": trial.cell.target,
            "score": name,
            "auroc": evaluation.auroc(split.is_novel, trial.scores[name]),
        }
        line["auroc shipped"] = evaluation.auroc(split.is_novel, scores[name])
        for rate in RATES:
            threshold = np.quantile(normal[name], 1 - rate)
            line[f"caught at {rate:.0%}"] = (novel > threshold).mean()
            line[f"false alarms at {rate:.0%}"] = (scores[name][~split.is_novel] > threshold).mean()
        lines.append(line)
    network.about["auroc"] = {line["score"]: round(float(str(line["auroc shipped"])), 3) for line in lines}
    rows = picked(data.y[split.test], data.classes, np.random.default_rng(0))
    network.arrays["images"] = np.round(trial.x("test")[rows] * 255).astype(np.uint8)
    table = pd.DataFrame(lines).assign(
        n_train=len(split.train), n_test=len(split.test), seed=trial.cell.seed, epochs=CONFIG.epochs,
        batch=CONFIG.batch, widths="784 128 64 16", best_epoch=trial.detector.best_epoch, recipe=trial.detector.RECIPE,
        data_sha256=provenance.checksum(data), commit=provenance.commit(),
        processor=provenance.processor(trial.detector.where), torch=provenance.versions()["torch"],
    )  # fmt: skip
    return network, table


def _in_parts(network: Shipped, x: np.ndarray) -> dict[str, np.ndarray]:
    parts = [network.scores(rows) for rows in np.array_split(x, 10)]
    return {name: np.concatenate([part[name] for part in parts]) for name in SCORES}


def picked(y: np.ndarray, classes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Row numbers of ``SHOWN`` rows of each class, drawn at random: nobody has looked at them before."""
    return np.concatenate([rng.permutation(np.flatnonzero(y == label))[:SHOWN] for label in classes])


def first_page(network: Shipped) -> str:
    """The script of the front page: quantiles of the scores, and the first images of the unseen digit and of others."""
    unseen = int(network.about["unseen"])
    others = [digit for digit in range(10) if digit != unseen][:4]
    rows = [unseen * SHOWN + i for i in range(4)] + [digit * SHOWN for digit in others]
    x = network.arrays["images"][rows] / 255.0
    x_hat, scores = network.differences(x)[0], network.scores(x)
    arrays = {"x": network.arrays["images"][rows], "x_hat": np.round(x_hat.clip(0, 1) * 255).astype(np.uint8)}
    for name in SCORES:
        arrays |= {f"{name}.{kind}": network.arrays[f"{name}.{kind}"] for kind in ("normal", "novel")}
        arrays[name] = scores[name].astype(np.float32)
    labels = [str(unseen)] * 4 + [str(digit) for digit in others]
    return Shipped(arrays, network.about | {"labels": labels}).script()
