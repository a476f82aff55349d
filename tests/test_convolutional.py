import pytest
import torch

from rapp.pathway import Pathway
from rapp.threads import pinned
from rappbook.chapters.convolutional import ConvolutionalAutoencoder, train_convolutional


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (7, 10), (1, 5)])
def test_copies_have_the_shape_of_the_images(shape):
    model = ConvolutionalAutoencoder(shape, bottleneck=3).eval()
    x = torch.rand(4, 1, *shape)
    assert model(x).shape == x.shape
    assert model.encoder(x).shape == (4, 3)


def test_it_learns_is_reproducible_and_has_a_pathway():
    x = torch.rand(64, 1, 8, 1, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 1, 8)
    with pinned(1):  # the last bits of sums depend on how they are shared out among threads
        models = [train_convolutional(x, epochs) for epochs in (1, 60, 60)]
    before, after, again = ((model(x) - x).square().mean().item() for model in models)
    assert after < 0.8 * before
    assert again == after
    scores = Pathway(models[0].encoder, models[0].decoder).fit(x).score(x[:5])
    assert {name: len(values) for name, values in scores.items()} == dict.fromkeys(("recon", "sap", "nap"), 5)
