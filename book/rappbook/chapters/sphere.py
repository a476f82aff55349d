"""Deep SVDD on points in the plane, watched while it trains."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rappbook.chapters.toys import GRID, HALF, points

APART = 0.6  # what lies nearer to the arc is not called novel


@dataclass(frozen=True)
class Moment:
    """Where points are mapped after some steps, and which of the plane's points the sphere holds."""

    steps: int
    normal: np.ndarray  # (n, 2) codes
    novel: np.ndarray  # (m, 2) codes
    radius: float  # of the sphere, R: 95 % of the normal codes lie within
    loss: float  # mean d² of the normal points
    d: np.ndarray  # (k, k) distances to the centre, of the codes of a grid over the plane


@dataclass(frozen=True)
class Course:
    """A training from the first step to the last."""

    normal: np.ndarray  # (n, 2) points
    novel: np.ndarray  # (m, 2) points
    grid: tuple[np.ndarray, np.ndarray]  # x and y, (k, k) each
    c: np.ndarray  # (2,) the centre
    moments: list[Moment]


def course(at: tuple[int, ...] = (0, 10, 30, 100), seed: int = 0) -> Course:
    """Draw the codes of points near an arc to their first mean, with novel points beside the arc to look on.

    Args:
        at: steps after which to look, in rising order; each is a step of Adam on all normal points.
        seed: of the points and the network.
    """
    rng = np.random.default_rng(seed)
    normal, around = points("a curve", 120, rng), rng.uniform(-HALF, HALF, (200, 2))
    novel = around[np.abs(np.linalg.norm(around, axis=1) - 2) > APART][:40]  # the arc's radius is 2
    grid = np.meshgrid(*[np.linspace(-HALF, HALF, GRID)] * 2)
    x, x_novel, everywhere = (
        torch.tensor(part, dtype=torch.float32) for part in (normal, novel, np.stack(grid, axis=-1).reshape(-1, 2))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(2, 32, bias=False), nn.LeakyReLU(0.1), nn.Linear(32, 32, bias=False), nn.LeakyReLU(0.1),
            nn.Linear(32, 2, bias=False),
        )  # fmt: skip
    c = net(x).mean(0).detach()
    adam, moments = torch.optim.Adam(net.parameters(), 3e-3), []
    for step in range(at[-1] + 1):
        d = distances(net, x, c)
        if step in at:
            with torch.no_grad():
                z, z_novel, d_grid = net(x), net(x_novel), distances(net, everywhere, c)
            radius, loss = d.detach().quantile(0.95).item(), d.square().mean().item()
            moments.append(Moment(step, z.numpy(), z_novel.numpy(), radius, loss, d_grid.numpy().reshape(GRID, GRID)))
        adam.zero_grad()
        d.square().mean().backward()  # the hard boundary's loss
        adam.step()
    return Course(normal, novel, (grid[0], grid[1]), c.numpy(), moments)


def distances(net: nn.Module, x: Tensor, c: Tensor) -> Tensor:
    """‖φ(x) − c‖ of points x (n, 2), (n,)."""
    return (net(x) - c).norm(dim=1)
