"""The paper's autoencoders: fully connected, symmetric, A = f∘g.

An encoder is an ``nn.Sequential`` of layers g_1 … g_ℓ, and each layer's output is one hidden activation of
the pathway. A layer is Linear → LeakyReLU(0.2) → BatchNorm, the last one of encoder and decoder plain Linear.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SLOPE = 0.2  # of LeakyReLU, as in the authors' code


def widths(n_features: int, bottleneck: int, n_layers: int) -> list[int]:
    """Layer widths, input included, interpolated linearly and truncated: 784, 707, 631, … 96, 20 (authors' code)."""
    step = (n_features - bottleneck) / n_layers
    return [int(n_features - step * i + 1e-9) for i in range(n_layers)] + [bottleneck]


def layers(sizes: Sequence[int]) -> nn.Sequential:
    """One ``nn.Sequential`` per layer, from ``sizes[0]`` inputs to ``sizes[-1]`` outputs."""
    stack = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        parts: list[nn.Module] = [nn.Linear(n_in, n_out)]
        if i < len(sizes) - 2:
            parts += [nn.LeakyReLU(SLOPE, inplace=True), nn.BatchNorm1d(n_out)]
        stack.append(nn.Sequential(*parts))
    return nn.Sequential(*stack)


class Autoencoder(nn.Module):
    """AE. The decoder mirrors the encoder.

    Args:
        n_features: width of the input.
        bottleneck: width k of the code.
        n_layers: layers of encoder and decoder each.
        hidden: the ``n_layers - 1`` widths between input and bottleneck; None interpolates them.
    """

    codes = 1  # numbers that the encoder yields per bottleneck unit

    def __init__(self, n_features: int, bottleneck: int = 20, n_layers: int = 10, hidden: Sequence[int] | None = None):
        super().__init__()
        if min(n_features, bottleneck, n_layers, *(hidden or [1])) < 1:
            raise ValueError(f"widths and n_layers must be at least 1; got {n_features=}, {bottleneck=}, {n_layers=}")
        self.bottleneck = bottleneck
        inner = widths(n_features, bottleneck, n_layers)[1:-1] if hidden is None else list(hidden)
        code = self.codes * bottleneck
        encoder = widths(n_features, code, n_layers) if hidden is None else [n_features, *hidden, code]
        self.encoder = layers(encoder)
        self.decoder = layers([bottleneck, *reversed(inner), n_features])

    def forward(self, x: Tensor) -> Tensor:
        """x (N, n_features) → x̂ (N, n_features)."""
        return self.decode(self.encoder(x))

    def decode(self, h: Tensor, noise: Tensor | None = None) -> Tensor:
        """Last hidden activation h_ℓ (N, d_ℓ) → x̂ (N, n_features)."""
        return self.decoder(h)

    def noise(self, n: int, samples: int, generator: torch.Generator) -> Tensor | None:
        """What ``decode`` and ``loss`` draw at random for n rows: nothing, here."""
        return None

    def decoding(self, samples: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """The decoder f to score with; only the VAE's draws noise (``samples=0``: none, it decodes μ)."""
        return lambda h: self.decode(h, self.noise(len(h), samples, generator))

    def loss(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Squared error summed over features, mean over the batch."""
        return (self(x) - x).square().sum(1).mean()


class VariationalAutoencoder(Autoencoder):
    """VAE with prior N(0, I). The encoder's widths interpolate to 2k and its last layer yields (μ, log σ²).

    Both halves are that layer's hidden activation. In training the error is averaged over Monte-Carlo samples of the
    code (the usual ELBO); in scoring their reconstructions are averaged (authors' code).
    """

    codes = 2

    def decode(self, h: Tensor, noise: Tensor | None = None) -> Tensor:
        """(μ, log σ²) (N, 2k) → mean over samples of f(μ + σ·noise), (N, n_features); without noise, f(μ).

        Args:
            h: (N, 2k) last hidden activation.
            noise: (samples, N, k) standard normal, or None.
        """
        return self.samples(h, noise).mean(0)

    def samples(self, h: Tensor, noise: Tensor | None) -> Tensor:
        """One reconstruction per sample of the code, (samples, N, n_features); without noise, f(μ) alone."""
        mu, logvar = h.chunk(2, dim=1)
        if noise is None:
            return self.decoder(mu)[None]
        z = mu + torch.exp(logvar / 2) * noise  # (samples, N, k)
        return self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def noise(self, n: int, samples: int, generator: torch.Generator) -> Tensor | None:
        """(samples, n, k) standard normal draws, or None for no samples."""
        if samples == 0:
            return None
        return torch.randn(samples, n, self.bottleneck, generator=generator, device=generator.device)

    def loss(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Squared error + KL( N(μ, σ²) ‖ N(0, I) ), summed over features and codes, mean over the batch."""
        h = self.encoder(x).to(x.dtype)  # not in bfloat16, if autocast made it so
        mu, logvar = h.chunk(2, dim=1)
        error = (self.samples(h, noise) - x).square().sum(2).mean(0)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        return (error + kl).mean()


MODELS: dict[str, type[Autoencoder]] = {"ae": Autoencoder, "vae": VariationalAutoencoder}
