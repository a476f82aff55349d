"""f-AnoGAN (Schlegl et al., 2019): an encoder instead of AnoGAN's search; chapter 07."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rapp.detectors.gan import Gan, mean_of
from rapp.detectors.rows import batches
from rapp.models import take_step
from rapp.progress import rounds


@dataclass(kw_only=True)
class FastAnoGAN(Gan):
    """f-AnoGAN (Schlegl et al., 2019): an encoder instead of the search.

    First a Wasserstein GAN with gradient penalty (Gulrajani et al., 2017): a critic in place of the discriminator, with
    ``n_critic`` steps for each of the generator's. Then, generator and critic as they are, an encoder E that minimises

        mean (x − G(E(x)))² + κ·mean (f(x) − f(G(E(x))))²,

    f the critic's features (their "izi_f"), which is the score, too; images are in [−1, 1]. The paper's networks are
    residual ones for patches of 64 × 64 pixels; ours are AnoGAN's. The numbers of epochs are ours. At "quick" both
    optimizers have AnoGAN's learning rate there, and the critic two steps for each of the generator's: with five, the
    generator would have some 70 in the time that there is, and AnoGAN's has 270.

    Args:
        n_critic: steps of the critic for each of the generator's.
        penalty: λ, the weight of the gradient penalty.
        kappa: κ, the weight of the features.
        encoder_epochs: passes over the training rows for the encoder; ``epochs`` are the GAN's.
        encoder_lr: the encoder's learning rate.
    """

    latent: int = 128
    lr: float = 1e-4
    batch: int = 64
    n_critic: int = 5
    penalty: float = 10.0
    kappa: float = 1.0
    encoder_epochs: int = 100
    encoder_lr: float = 5e-5

    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": {"epochs": 2, "encoder_epochs": 2, "width": 2, "latent": 8, "lr": 1e-3, "encoder_lr": 1e-3},
        "quick": {"epochs": 40, "encoder_epochs": 15, "batch": 32, "width": 16,
                  "n_critic": 2, "lr": 1e-3, "encoder_lr": 1e-3},
    }  # fmt: skip

    def parts(self) -> dict[str, nn.Module]:
        return {"critic": self.reader(), "encoder": self.reader(self.latent)}

    def learn(self, net: nn.Module, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        assert isinstance(net, nn.ModuleDict)
        history = self._learn_gan(net, x, progress)
        net.eval().requires_grad_(False)  # no graph of the GAN is kept
        net["encoder"].train().requires_grad_()
        of_e = torch.optim.RMSprop(net["encoder"].parameters(), self.encoder_lr)
        for epoch in rounds(self.encoder_epochs, "f-AnoGAN's encoder", progress):
            steps = []
            for real in map(self.centred, batches(x, self.batch)):
                residual, features = self.differences(net, real)
                loss = (residual + self.kappa * features).mean()
                take_step(loss, of_e)
                steps.append({"encoder": loss})
            history.append({"epoch": self.epochs + epoch + 1, **mean_of(steps)})
        net.requires_grad_()
        return history

    def _learn_gan(self, net: nn.ModuleDict, x: Tensor, progress: bool) -> list[dict]:
        generator, critic = net["generator"], net["critic"]
        of_c, of_g = (self.adam(part, betas=(0.0, 0.9)) for part in (critic, generator))
        history, done = [], 0
        g_loss = torch.zeros((), device=x.device)
        for epoch in rounds(self.epochs, "f-AnoGAN", progress):
            steps = []
            for real in map(self.centred, batches(x, self.batch)):
                with torch.no_grad():
                    made = generator(self.prior(len(real), x))
                gap = critic(real).mean() - critic(made).mean()
                take_step(self.penalty * self.gradient_penalty(critic, real, made) - gap, of_c)
                done += 1
                if done % self.n_critic == 0:
                    g_loss = -critic(generator(self.prior(len(real), x))).mean()
                    take_step(g_loss, of_g)
                steps.append({"gap": gap, "generator": g_loss})
            history.append({"epoch": epoch + 1, **mean_of(steps)})
        return history

    def gradient_penalty(self, critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
        """Mean of (‖∇D‖ − 1)² at random points between real and generated images (Gulrajani et al., equation 3)."""
        part = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (part * real + (1 - part) * made).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    def differences(self, net: nn.Module, real: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared differences of images (N, 1, h, w) and G(E(x)), and of their features, (N,) each."""
        f, made = net["critic"].features, net["generator"](net["encoder"](real))  # type: ignore[index]
        return (real - made).square().flatten(1).mean(1), (f(real) - f(made)).square().mean(1)

    @torch.no_grad()
    def measure(self, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
        residual, features = self.differences(net, self.centred(x))
        return {"score": residual + self.kappa * features, "residual": residual, "features": features}
