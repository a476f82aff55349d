"""Codes of two numbers, which can be drawn as a map."""

import numpy as np
import torch

from rapp.config import TrainingConfig
from rapp.data import Dataset
from rapp.experiment import Cell, features
from rapp.stacks import train


def maps(data: Dataset, target: str, epochs: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Codes of test samples from a VAE and an AE of bottleneck 2, seed 0.

    Returns:
        model → codes (N, 2), of the VAE its means; labels (N,); whether each is novel (N,).
    """
    split = Cell(None, target).split(data)
    x = features(data, split)
    x_train, x_val, x_test = (torch.as_tensor(x[rows]) for rows in (split.train, split.val, split.test))
    found = {}
    for model in ("vae", "ae"):
        config = TrainingConfig(model, 3, 2, (128, 32), samples=1, epochs=epochs, batch=64, threads=1, device="cpu")
        net = train(x_train, x_val, config, progress=False).model
        with torch.no_grad():
            codes = net.encoder(x_test)[:, :2].numpy()
        found[model] = codes, data.y[split.test], split.is_novel
    return found
