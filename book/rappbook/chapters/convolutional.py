"""A small convolutional autoencoder for images, which the paper's authors leave open, and its training.

Each hidden layer is a convolution of stride 2 → LeakyReLU(0.2) → BatchNorm, the last one of the encoder plain Linear,
as in ``rapp.models``. Widths, epochs and the last epoch's weights (no best one is chosen) are choices of ours.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from rapp.models import SLOPE, take_step


class ConvolutionalAutoencoder(nn.Module):
    """Halves height and width in each hidden layer; the decoder doubles them again.

    Args:
        image_shape: (height, width) of grey images.
        channels: of the hidden layers.
        bottleneck: width of the code.
    """

    def __init__(self, image_shape: tuple[int, int], channels: tuple[int, ...] = (4, 8), bottleneck: int = 20):
        super().__init__()
        shapes = [image_shape]
        for _ in channels:
            shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
        down, up = [], []
        for (n_in, n_out), larger in zip(pairwise((1, *channels)), shapes, strict=False):
            down.append(nn.Sequential(nn.Conv2d(n_in, n_out, 3, 2, 1), nn.LeakyReLU(SLOPE), nn.BatchNorm2d(n_out)))
            even = (1 - larger[0] % 2, 1 - larger[1] % 2)  # sides that need another row or column
            upwards = nn.ConvTranspose2d(n_out, n_in, 3, 2, 1, output_padding=even)
            up.append(nn.Sequential(nn.LeakyReLU(SLOPE), nn.BatchNorm2d(n_out), upwards))
        inner = (channels[-1], *shapes[-1])
        flat = channels[-1] * shapes[-1][0] * shapes[-1][1]
        self.encoder = nn.Sequential(*down, nn.Sequential(nn.Flatten(), nn.Linear(flat, bottleneck)))
        self.decoder = nn.Sequential(nn.Linear(bottleneck, flat), nn.Unflatten(1, inner), *reversed(up))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 1, height, width) → x̂ of the same shape."""
        return self.decoder(self.encoder(x))


def train_convolutional(x_train: Tensor, epochs: int, seed: int = 0, batch: int = 64, lr: float = 1e-3) -> nn.Module:
    """A ``ConvolutionalAutoencoder`` trained on images x_train (N, 1, height, width) by Adam, in eval mode.

    Squared error summed over pixels, mean over the batch, as for the AE; the weights of the last epoch.
    """
    with torch.random.fork_rng(devices=[]):  # the global random state stays untouched
        torch.default_generator.manual_seed(seed)
        model = ConvolutionalAutoencoder((x_train.shape[2], x_train.shape[3]))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        order = torch.randperm(len(x_train), generator=generator)
        for rows in order.split(batch)[: max(1, len(order) // batch)]:  # full batches, as in ``rapp.training``
            x = x_train[rows]
            loss = (model(x) - x).square().flatten(1).sum(1).mean()
            take_step(loss, optimizer)
    return model.eval()
