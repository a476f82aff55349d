"""An autoencoder of points on a curve in the plane, small enough to draw what it takes for normal, layer by layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rapp.config import TrainingConfig
from rapp.pathway import encode
from rapp.stacks import train
from rappbook.chapters.toys import points

CONFIG = TrainingConfig("ae", 3, 1, (16, 16), epochs=60, batch=32, lr=3e-3, threads=1, device="cpu")
NOVEL = (0.6, 0.6)  # inside the arc, on no side of it


@dataclass(frozen=True)
class Plane:
    """What is drawn in one plane: normal points, all that the network can answer, two samples and their copies."""

    title: str
    normal: np.ndarray  # (n, 2)
    manifold: np.ndarray  # (m, 2) in the order of the code
    samples: np.ndarray  # (2, 2) a normal and a novel one
    copies: np.ndarray  # (2, 2) what stands for each of them


def planes(seed: int = 0) -> list[Plane]:
    """The input's plane, a hidden layer's plane, and in the same two directions the decoder's layer of the same width.

    A layer of 16 units is seen along the two directions in which normal points vary most there.
    """
    rng = np.random.default_rng(seed)
    x_train, x_val, normal = (torch.tensor(points("a curve", n, rng), dtype=torch.float32) for n in (1500, 500, 300))
    model = train(x_train, x_val, CONFIG, seed, progress=False).model
    samples = torch.cat([normal[:1], torch.tensor([NOVEL])])
    with torch.no_grad():
        codes = encode(model.encoder, normal)[0][3][:, 0]
        low, high = codes.quantile(0.01), codes.quantile(0.99)
        manifold = model.decode(torch.linspace(float(low), float(high), 200)[:, None])
        copies = model(samples)
        h, h_hat, h_manifold, h_normal = (encode(model.encoder, x)[0][2] for x in (samples, copies, manifold, normal))
        way_back = model.decoder[0](model.encoder(samples))  # the decoder's layer of 16 units
    mean = h_normal.mean(0)
    directions = torch.linalg.svd(h_normal - mean).Vh[:2].T  # (16, 2)

    def seen(a: Tensor) -> np.ndarray:
        return ((a - mean) @ directions).numpy()

    hidden = seen(h_normal), seen(h_manifold), seen(h)
    return [
        Plane("input", normal.numpy(), manifold.numpy(), samples.numpy(), copies.numpy()),
        Plane("encoder's layer 2", *hidden, seen(h_hat)),
        Plane("decoder's layer as wide", *hidden, seen(way_back)),
    ]
