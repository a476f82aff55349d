import pytest
import torch

from rapp import config
from rapp.models import KINDS, MODELS, Autoencoder, VariationalAutoencoder, widths


def test_a_config_can_ask_for_every_model_and_layer_and_for_no_other():
    assert set(MODELS) == set(config.MODEL_NAMES)
    assert set(KINDS) == set(config.LAYER_KINDS)


def test_widths_are_the_authors():
    assert widths(784, 20, 10) == [784, 707, 631, 554, 478, 402, 325, 249, 172, 96, 20]


@pytest.mark.parametrize(("features", "bottleneck", "n"), [(6, 2, 10), (27, 9, 10), (1, 1, 3), (784, 20, 5)])
def test_widths_never_vanish(features, bottleneck, n):
    sizes = widths(features, bottleneck, n)
    assert len(sizes) == n + 1
    assert sizes[0] == features
    assert sizes[-1] == bottleneck
    assert min(sizes) >= 1


def test_layers_end_linear_and_carry_relu_then_norm_before():
    model = Autoencoder(784)
    for side in (model.encoder, model.decoder):
        assert [type(part).__name__ for part in side[0]] == ["Linear", "LeakyReLU", "BatchNorm1d"]
        assert [type(part).__name__ for part in side[-1]] == ["Linear"]
        assert side[0][1].negative_slope == 0.2
        assert len(side) == 10
    assert model.decoder[0][0].in_features == 20


def test_own_widths():
    model = Autoencoder(30, bottleneck=3, hidden=[20, 10])
    assert [layer[0].out_features for layer in model.encoder] == [20, 10, 3]
    assert [layer[0].out_features for layer in model.decoder] == [10, 20, 30]


def test_vae_code_is_mean_and_log_variance():
    model = VariationalAutoencoder(784, bottleneck=20).eval()
    assert [layer[0].out_features for layer in model.encoder] == widths(784, 40, 10)[1:]
    h = model.encoder(torch.rand(4, 784))
    mu, logvar = h[:, :20], h[:, 20:]
    noise = torch.randn(3, 4, 20)
    by_hand = torch.stack([model.decoder(mu + torch.exp(logvar / 2) * e) for e in noise]).mean(0)
    torch.testing.assert_close(model.decode(h, noise), by_hand)
    torch.testing.assert_close(model.decode(h), model.decoder(mu))


def test_losses_by_hand():
    torch.manual_seed(0)
    x = torch.rand(5, 12)
    ae = Autoencoder(12, 3, 2).eval()
    torch.testing.assert_close(ae.loss(x), (ae(x) - x).square().sum() / 5)
    vae = VariationalAutoencoder(12, 3, 2).eval()
    noise = torch.randn(2, 5, 3)
    h = vae.encoder(x)
    prior, code = torch.distributions.Normal(0, 1), torch.distributions.Normal(h[:, :3], torch.exp(h[:, 3:] / 2))
    kl = torch.distributions.kl_divergence(code, prior).sum() / 5
    torch.testing.assert_close(vae.loss(x, noise), (vae.samples(h, noise) - x).square().sum() / 10 + kl)


def test_noise_belongs_to_its_generator():
    vae = VariationalAutoencoder(12, 3, 2).eval()
    h = torch.randn(4, 6)
    first, second = (vae.decoding(10, torch.Generator().manual_seed(1))(h) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(vae.decoding(0, torch.Generator())(h), vae.decode(h))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="bottleneck=0"):
        Autoencoder(10, bottleneck=0)
