"""The paper's autoencoders: fully connected, symmetric, A = f∘g.

An encoder is an ``nn.Sequential`` of layers g_1 … g_ℓ, and each layer's output is one hidden activation of
the pathway. A layer is Linear → LeakyReLU(0.2) → BatchNorm, the last one of encoder and decoder plain Linear (the
paper and the authors' code). The re-implementation by a co-author has other layers: Linear → BatchNorm →
LeakyReLU(0.01), and the last one of encoder and decoder Linear → BatchNorm. Both can be had, by name.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

SLOPE = 0.2  # of LeakyReLU, as in the authors' code
KINDS = {"paper": SLOPE, "reimplementation": 0.01}  # of layers, with their slopes


def widths(n_features: int, bottleneck: int, n_layers: int) -> list[int]:
    """Layer widths, input included, interpolated linearly and truncated: 784, 707, 631, … 96, 20 (authors' code)."""
    step = (n_features - bottleneck) / n_layers
    return [int(n_features - step * i + 1e-9) for i in range(n_layers)] + [bottleneck]


def shrinking(n_features: int, bottleneck: int, n_layers: int) -> tuple[int, ...]:
    """The widths between input and bottleneck if each layer shrinks by the same factor: 313, 125, 50 of four."""
    factor = (bottleneck / n_features) ** (1 / n_layers)
    return tuple(round(n_features * factor**i) for i in range(1, n_layers))


def layers(sizes: Sequence[int], kind: str = "paper") -> nn.Sequential:
    """One ``nn.Sequential`` per layer, from ``sizes[0]`` inputs to ``sizes[-1]`` outputs, of a kind in ``KINDS``."""
    stack = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        is_last = i == len(sizes) - 2
        norm, activation = nn.BatchNorm1d(n_out), nn.LeakyReLU(KINDS[kind], inplace=True)
        if kind == "paper":
            parts = [] if is_last else [activation, norm]
        else:
            parts = [norm] if is_last else [norm, activation]
        stack.append(nn.Sequential(nn.Linear(n_in, n_out), *parts))
    return nn.Sequential(*stack)


class Update(NamedTuple):
    """One of the updates that make a training step: which loss moves which parts. Each part has one Adam for all."""

    loss: str  # name of a method: (x, *noise) → loss
    parts: tuple[str, ...]


def take_step(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """Take a step of each optimizer down the loss's gradient by its parameters; no other parameter gets a gradient."""
    for o in optimizers:
        o.zero_grad()
    loss.backward(inputs=[p for o in optimizers for g in o.param_groups for p in g["params"] if p.requires_grad])
    for o in optimizers:
        o.step()


class Autoencoder(nn.Module):
    """AE. The decoder mirrors the encoder.

    Args:
        n_features: width of the input.
        bottleneck: width k of the code.
        n_layers: layers of encoder and decoder each.
        hidden: the ``n_layers - 1`` widths between input and bottleneck; None interpolates them.
        kind: of the layers, "paper" or "reimplementation".
    """

    codes = 1  # numbers that the encoder yields per bottleneck unit

    def __init__(
        self,
        n_features: int,
        bottleneck: int = 20,
        n_layers: int = 10,
        hidden: Sequence[int] | None = None,
        kind: str = "paper",
    ):
        super().__init__()
        if min(n_features, bottleneck, n_layers, *(hidden or [1])) < 1:
            raise ValueError(f"widths and n_layers must be at least 1; got {n_features=}, {bottleneck=}, {n_layers=}")
        self.bottleneck = bottleneck
        inner = widths(n_features, bottleneck, n_layers)[1:-1] if hidden is None else list(hidden)
        code = self.codes * bottleneck
        encoder = widths(n_features, code, n_layers) if hidden is None else [n_features, *hidden, code]
        self.encoder = layers(encoder, kind)
        self.decoder = layers([bottleneck, *reversed(inner), n_features], kind)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, n_features) → x̂ (N, n_features)."""
        return self.decode(self.encoder(x))

    def decode(self, h: Tensor) -> Tensor:
        """Last hidden activation h_ℓ (N, d_ℓ) → x̂ (N, n_features)."""
        return self.decoder(h)

    def noise(self, n: int, samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the losses need at random for n rows: nothing, here."""
        return ()

    def decoding(self, samples: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """The decoder f to score with; only the VAE's draws noise (``samples=0``: none, it decodes μ)."""
        return self.decode

    def loss(self, x: Tensor, *noise: Tensor) -> Tensor:
        """Squared error summed over features, mean over the batch."""
        return (self(x) - x).square().sum(1).mean()

    def updates(self) -> list[Update]:
        """What one training step updates, in order."""
        return [Update("loss", ("encoder", "decoder"))]

    def learning_rates(self, lr: float) -> dict[str, float]:
        """Part → its Adam's learning rate."""
        return {"encoder": lr, "decoder": lr}


class VariationalAutoencoder(Autoencoder):
    """VAE with prior N(0, I). The encoder's widths interpolate to 2k and its last layer yields (μ, log σ²).

    Both halves are that layer's hidden activation. In training the error is averaged over Monte-Carlo samples of the
    code (the usual ELBO); in scoring their reconstructions are averaged (authors' code).
    """

    codes = 2

    def decode(self, h: Tensor, noise: Tensor | None = None) -> Tensor:
        """h = (μ, log σ²) (N, 2k) → mean over samples of f(μ + σ·noise), (N, n_features); without noise, f(μ).

        ``noise`` is standard normal, (samples, N, k).
        """
        return self.samples(h, noise).mean(0)

    def samples(self, h: Tensor, noise: Tensor | None) -> Tensor:
        """One reconstruction per sample of the code, (samples, N, n_features); without noise, f(μ) alone."""
        mu, logvar = h.chunk(2, dim=1)
        if noise is None:
            return self.decoder(mu)[None]
        z = mu + torch.exp(logvar / 2) * noise  # (samples, N, k)
        return self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def noise(self, n: int, samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """(samples, n, k) standard normal draws; none at all for no samples."""
        if samples == 0:
            return ()
        return (torch.randn(samples, n, self.bottleneck, generator=generator, device=generator.device),)

    def decoding(self, samples: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        return lambda h: self.decode(h, *self.noise(len(h), samples, generator))

    def loss(self, x: Tensor, noise: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Squared error + KL( N(μ, σ²) ‖ N(0, I) ), summed over features and codes, mean over the batch."""
        h = self.encoder(x).to(x.dtype)  # not in bfloat16, if autocast made it so
        mu, logvar = h.chunk(2, dim=1)
        error = (self.samples(h, noise) - x).square().sum(2).mean(0)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        return (error + kl).mean()


class AdversarialAutoencoder(Autoencoder):
    """AAE. An AE whose codes a discriminator cannot tell from draws of N(0, I).

    Each step updates reconstruction, then discriminator, then generator (authors' code). The encoder has one Adam for
    both of its updates, as in the re-implementation by a co-author: scaled by the gradients of the reconstruction, the
    generator's steps are small ones. The discriminator is fully connected, ReLU with dropout, without batch
    normalisation; its widths are a choice of ours. All that is random comes in from outside, so a seed fixes it.
    """

    WIDTH, DROPOUT, LR = 64, 0.2, 5e-4  # of the discriminator's two hidden layers

    def __init__(self, *sizes: Any, **named_sizes: Any):
        super().__init__(*sizes, **named_sizes)
        widths = (self.bottleneck, self.WIDTH, self.WIDTH, 1)
        self.discriminator = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths))

    def noise(self, n: int, samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draws of the prior (n, k), and dropout masks (3 passes, 2 layers, n, width) through the discriminator."""
        device = generator.device
        prior = torch.randn(n, self.bottleneck, generator=generator, device=device)
        kept = torch.rand(3, 2, n, self.WIDTH, generator=generator, device=device) >= self.DROPOUT
        return prior, kept / (1 - self.DROPOUT)

    def judge(self, code: Tensor, kept: Tensor) -> Tensor:
        """Codes (N, k) and dropout masks (2, N, width) → log-odds (N,) that they are draws of the prior."""
        for layer, mask in zip(self.discriminator[:-1], kept, strict=True):
            code = layer(code).relu() * mask.to(code.dtype)
        return self.discriminator[-1](code).squeeze(1)

    def discriminator_loss(self, x: Tensor, prior: Tensor, kept: Tensor) -> Tensor:
        """Binary cross-entropy of telling prior draws from codes."""
        with torch.no_grad():
            code = self.encoder(x)
        drawn, made = (self.judge(z, mask).to(x.dtype) for z, mask in ((prior.to(x.dtype), kept[0]), (code, kept[1])))
        return (softplus(-drawn) + softplus(made)).mean()

    def generator_loss(self, x: Tensor, prior: Tensor, kept: Tensor) -> Tensor:
        """Binary cross-entropy of codes passed off as draws of the prior."""
        return softplus(-self.judge(self.encoder(x), kept[2]).to(x.dtype)).mean()

    def updates(self) -> list[Update]:
        adversarial = Update("discriminator_loss", ("discriminator",)), Update("generator_loss", ("encoder",))
        return [*super().updates(), *adversarial]

    def learning_rates(self, lr: float) -> dict[str, float]:
        return super().learning_rates(lr) | {"discriminator": self.LR}


MODELS: dict[str, type[Autoencoder]] = {"ae": Autoencoder, "vae": VariationalAutoencoder, "aae": AdversarialAutoencoder}
