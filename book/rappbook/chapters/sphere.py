"""Deep SVDD on points in the plane, watched while it trains."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rappbook.chapters.toys import points


@dataclass(frozen=True)
class Moment:
    """Where points are mapped after some epochs."""

    epochs: int
    normal: np.ndarray  # (n, 2)
    novel: np.ndarray  # (m, 2)
    radius: float  # that holds 95 % of the normal points


def course(at: tuple[int, ...] = (0, 5, 30, 200), seed: int = 0) -> tuple[np.ndarray, list[Moment]]:
    """The centre (2,), and the codes of normal points near an arc and of novel ones beside it, after so many epochs."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(points("a curve", 400, rng), dtype=torch.float32)
    around = rng.uniform(-3, 3, (400, 2))
    novel = torch.tensor(around[np.abs(np.hypot(*around.T) - 2) > 0.8][:80], dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(2, 32, bias=False), nn.LeakyReLU(0.1), nn.Linear(32, 32, bias=False), nn.LeakyReLU(0.1),
            nn.Linear(32, 2, bias=False),
        )  # fmt: skip
        c = net(x).mean(0).detach()
        adam, moments = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4), []
        for epoch in range(max(at) + 1):
            if epoch in at:
                with torch.no_grad():
                    z, z_novel = net(x), net(novel)
                radius = float((z - c).norm(dim=1).quantile(0.95))
                moments.append(Moment(epoch, z.numpy(), z_novel.numpy(), radius))
            for rows in torch.randperm(len(x)).split(64):
                loss = (net(x[rows]) - c).square().sum(1).mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
    return c.numpy(), moments
