"""What the page "Bring your own autoencoder" says of its five networks."""

import numpy as np
import pytest
import torch

from rapp import Pathway, evaluation, load, save_whitening
from rappbook.chapters.own_networks import Convolutional, Normalised, Plain, Recurrent, WithDropout, train

SIDE = 8
RNG = np.random.default_rng(0)
BRIGHT = np.linspace(0, 1, SIDE, dtype=np.float32)  # normal images get brighter from left to right
NORMAL = RNG.random((900, 1, SIDE, 1), np.float32) * BRIGHT
NOVEL = RNG.random((60, 1, SIDE, SIDE), np.float32)
BY_LIST = {Convolutional: [1, 2, 3], WithDropout: [2, 3, 5, 6, 8], Normalised: [1, 2, 3]}
BY_NAME = {Plain: ["conv1", "conv2", "code"], Recurrent: ["lstm1", "lstm2"]}
WIDTHS = {  # of the layers that count, for images of 8 × 8
    Convolutional: [4 * 16, 8 * 4, 20], WithDropout: [200, 200, 100, 100, 20], Plain: [4 * 16, 8 * 4, 20],
    Recurrent: [SIDE * 24, SIDE * 20], Normalised: [200, 100, 20],
}  # fmt: skip


def made(kind, epochs=0):
    """A network of the page, trained for some epochs, or in eval mode as it is."""
    torch.manual_seed(0)
    network = kind(SIDE, SIDE)
    if kind is Normalised:
        network.double()
    x = torch.from_numpy(NORMAL).to(next(network.parameters()).dtype)
    return train(network, x, epochs) if epochs else network.eval()


def pathway_of(network):
    if names := BY_NAME.get(type(network)):
        return Pathway(network, layers=names, take=(lambda output: output[0]) if type(network) is Recurrent else None)
    return Pathway(network.encoder, network.decoder)


@pytest.mark.parametrize("kind", WIDTHS)
def test_each_is_trained_and_scored_by_the_layers_that_the_page_names(kind):
    network = made(kind, epochs=3)
    assert not any(module.training for module in network.modules())
    pathway = pathway_of(network)
    assert pathway.layers == BY_LIST.get(kind) or [*pathway.encoder.layers] == BY_NAME[kind]
    hidden = pathway.hidden(torch.from_numpy(NORMAL[:5]).to(next(network.parameters()).dtype))
    assert [hidden[i].shape for i in pathway.layers] == [(5, width) for width in WIDTHS[kind]]
    scores = pathway.fit(NORMAL[:800]).score(np.concatenate([NORMAL[800:], NOVEL]))
    assert [*scores] == ["recon", "sap", "nap"]
    is_novel = np.arange(100 + len(NOVEL)) >= 100
    assert evaluation.auroc(is_novel, scores["recon"]) > 0.9  # noise, which none of them has learnt to copy
    untrained = pathway_of(made(kind)).score(NORMAL[800:])["recon"]
    assert scores["recon"][:100].mean() < 0.8 * untrained.mean()


def test_the_plain_one_is_the_convolutional_one_before_its_relu():
    blocks, plain = made(Convolutional), made(Plain)
    weights = zip(blocks.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in weights)
    x = torch.from_numpy(NORMAL[:5])
    torch.testing.assert_close(blocks(x), plain(x))
    behind, before = pathway_of(blocks).hidden(x), pathway_of(plain).hidden(x)
    for i, change in enumerate((torch.relu, torch.relu, lambda code: code), 1):
        torch.testing.assert_close(behind[i], change(before[i]))
    assert (before[1] < 0).any()


def test_a_slice_of_a_flat_encoder_makes_one_layer_of_a_linear_and_its_relu():
    network = made(WithDropout)
    x = torch.from_numpy(NORMAL[:5])
    blocks = Pathway([network.encoder[:4], network.encoder[4:7], network.encoder[7]], network.decoder)
    assert blocks.layers == [1, 2, 3]
    flat, sliced = pathway_of(network).hidden(x), blocks.hidden(x)
    assert all(torch.equal(sliced[i], flat[j]) for i, j in ((1, 3), (2, 6), (3, 8)))


def test_the_last_states_alone_are_taken_too():
    network = made(Recurrent)
    last = Pathway(network, layers=["lstm1", "lstm2"], take=lambda output: output[1][0][-1])
    assert [h.shape[1] for h in last.hidden(torch.from_numpy(NORMAL[:5]))] == [SIDE * SIDE, 24, 20]


def test_what_is_kept_gives_the_same_decisions(tmp_path):
    network = made(Convolutional)
    pathway = pathway_of(network).fit(NORMAL[:700]).calibrate(NORMAL[700:])
    torch.save(network.state_dict(), tmp_path / "network.pt")
    save_whitening(pathway.whitening, tmp_path)
    np.savez(tmp_path / "normal.npz", **pathway.normal)
    other = Convolutional(SIDE, SIDE)
    other.load_state_dict(torch.load(tmp_path / "network.pt"))
    other.eval()
    again = Pathway(other.encoder, other.decoder, whitening=load(tmp_path))
    again.normal = dict(np.load(tmp_path / "normal.npz"))
    assert np.array_equal(again.p_value(NOVEL), pathway.p_value(NOVEL))
    assert np.array_equal(again.predict(NOVEL), pathway.predict(NOVEL))
