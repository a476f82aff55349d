"""Five autoencoders of images as people write them, and one plain loop that trains them; their page shows this source.

They know nothing of rapp. Images are (N, 1, height, width); the convolutional ones need sides that four divides.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rapp.models import take_step


def train(model: nn.Module, x_train: Tensor, epochs: int, lr: float = 3e-3) -> nn.Module:
    """Train by Adam on the squared error of copies of x_train (N, …); return it in eval mode."""
    loader = DataLoader(TensorDataset(x_train), batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.train()
    for _ in range(epochs):
        for (x,) in loader:
            loss = (model(x) - x).square().flatten(1).sum(1).mean()
            take_step(loss, optimizer)
    return model.eval()


class Convolutional(nn.Module):
    """Encoder and decoder are each an ``nn.Sequential``; the encoder's is made of blocks."""

    def __init__(self, height: int, width: int):
        super().__init__()
        small = (8, height // 4, width // 4)
        flat = small[0] * small[1] * small[2]
        self.encoder = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(flat, 20)),
        )
        self.decoder = nn.Sequential(
            nn.Sequential(nn.Linear(20, flat), nn.ReLU(), nn.Unflatten(1, small)),
            nn.Sequential(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), nn.ReLU()),
            nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x → x̂, both (N, 1, height, width)."""
        return self.decoder(self.encoder(x))


class WithDropout(nn.Module):
    """Everything in one flat ``nn.Sequential``, with layers among them that only pass numbers on."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(height * width, 200),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(200, 100),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(100, 20),
        )
        self.decoder = nn.Sequential(
            nn.Linear(20, 200),
            nn.ReLU(),
            nn.Linear(200, height * width),
            nn.Unflatten(1, (1, height, width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x → x̂, both (N, 1, height, width)."""
        return self.decoder(self.encoder(x))


class Plain(nn.Module):
    """Layers are attributes, and relu is a function that ``forward`` calls."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.small = (8, height // 4, width // 4)
        flat = self.small[0] * self.small[1] * self.small[2]
        self.conv1 = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.code = nn.Linear(flat, 20)
        self.expand = nn.Linear(20, flat)
        self.up1 = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x → x̂, both (N, 1, height, width)."""
        a = F.relu(self.conv1(x))
        a = F.relu(self.conv2(a))
        z = self.code(a.flatten(1))
        a = F.relu(self.expand(z)).unflatten(1, self.small)
        return self.up2(F.relu(self.up1(a)))


class Recurrent(nn.Module):
    """Two LSTMs read an image row by row, a third one writes it from the last state."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height = height
        self.lstm1 = nn.LSTM(width, 24, batch_first=True)
        self.lstm2 = nn.LSTM(24, 20, batch_first=True)
        self.writer = nn.LSTM(20, 64, batch_first=True)
        self.output = nn.Linear(64, width)

    def forward(self, x: Tensor) -> Tensor:
        """x → x̂, both (N, 1, height, width)."""
        states, _ = self.lstm1(x.squeeze(1))  # (N, height, 24)
        _, (last, _) = self.lstm2(states)  # (1, N, 20)
        repeated = last[0].unsqueeze(1).expand(-1, self.height, -1)  # (N, height, 20)
        written, _ = self.writer(repeated)  # (N, height, 64)
        return self.output(written).unsqueeze(1)


class Normalised(nn.Module):
    """Blocks with batch normalisation; ``.double()`` makes it compute in float64."""

    def __init__(self, height: int, width: int):
        super().__init__()
        n = height * width
        self.encoder = nn.Sequential(
            nn.Sequential(nn.Flatten(), nn.Linear(n, 200), nn.BatchNorm1d(200), nn.ReLU()),
            nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100), nn.ReLU()),
            nn.Linear(100, 20),
        )
        self.decoder = nn.Sequential(
            nn.Sequential(nn.Linear(20, 200), nn.BatchNorm1d(200), nn.ReLU()),
            nn.Sequential(nn.Linear(200, n), nn.Unflatten(1, (1, height, width))),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x → x̂, both (N, 1, height, width)."""
        return self.decoder(self.encoder(x))
