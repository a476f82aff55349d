"""Layers in training mode are refused whenever rows pass; containers' own flags do not count."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from rapp import Pathway
from rapp.data import load
from rapp.detectors.one_class import DeepSVDD
from rapp.eval_mode import in_eval_mode
from rappbook.chapters import assumptions

X = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))


def autoencoder():
    """A trained one's shape, in eval mode: (encoder, decoder)."""
    encoder = nn.Sequential(nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6)), nn.Linear(6, 3))
    return encoder.eval(), nn.Sequential(nn.Linear(3, 6), nn.Dropout(), nn.Linear(6, 8)).eval()


@pytest.mark.parametrize("use", ["differences", "fit", "score"])
def test_a_model_that_is_trained_on_after_construction_is_refused_and_untouched(use):
    encoder, decoder = autoencoder()
    pathway = Pathway(encoder, decoder).fit(X)
    before = pathway.score(X)["sap"]
    encoder.train()
    kept = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"layer 1 of the encoder is in training mode \(its Linear '0'\).*call model\.eval\(\)"
    ):
        getattr(pathway, use)(X)
    assert all(torch.equal(value, kept[name]) for name, value in encoder.state_dict().items())
    encoder.eval()
    np.testing.assert_array_equal(pathway.score(X)["sap"], before)
    decoder.train()
    with pytest.raises(ValueError, match=r"the decoder is in training mode"):
        getattr(pathway, use)(X)


def test_a_single_layer_is_found_in_whatever_chunk_and_named():
    encoder, decoder = autoencoder()
    pathway = Pathway(encoder, decoder, chunk=20)
    encoder[0][1].train()
    with pytest.raises(ValueError, match=r"layer 1 of the encoder .*\(its BatchNorm1d '1'\)"):
        pathway.score(X)
    encoder[0][1].eval()
    chunks = pathway._chunks(X)
    next(chunks)
    encoder[1].train()
    with pytest.raises(ValueError, match=r"layer 2 of the encoder .*\(its Linear\)"):
        next(chunks)


def test_the_measures_of_the_assumptions_refuse_them_too():
    encoder, decoder = autoencoder()
    encoder[0][1].train()
    with pytest.raises(ValueError, match="training mode"):
        assumptions.idempotence(encoder, decoder, X)


class Wrapped(nn.Module):
    """A layer that returns one tensor, as people wrap an LSTM; its own flag is on, for it is new."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Noisy(Wrapped):
    """Dropout by function: here the wrapper's own flag decides."""

    def forward(self, x):
        return nn.functional.dropout(self.inner(x), 0.5, self.training)


def test_fresh_containers_of_layers_in_eval_mode_are_accepted():
    encoder, decoder = autoencoder()
    expected = Pathway(encoder, decoder).fit(X).score(X)
    regrouped = nn.Sequential(
        nn.Sequential(encoder[0][0], encoder[0][1], nn.Sequential(), nn.Identity()), Wrapped(encoder[1])
    )
    assert regrouped.training
    assert regrouped[1].training
    for one in (regrouped, nn.ModuleList(regrouped), list(regrouped)):
        scores = Pathway(one, nn.Sequential(*decoder)).fit(X).score(X)
        for name, values in expected.items():
            np.testing.assert_allclose(scores[name], values)
    with pytest.raises(ValueError, match=r"layer 2 of the encoder .*\(its Noisy\)"):
        Pathway(nn.Sequential(encoder[0], Noisy(encoder[1])), decoder)
    assert Pathway(nn.Sequential(encoder[0], Noisy(encoder[1]).eval()), decoder)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = autoencoder()
        self.head = nn.Linear(3, 1)  # that no score passes

    def decode(self, code):
        return self.decoder(code)


class Service:
    def __init__(self, net):
        self.net = net

    def __call__(self, code):
        return self.net(code)

    def decode(self, code):
        return self.net(code)


class Plain(nn.Module):
    """A module that holds others where torch does not look."""

    def __init__(self, net):
        super().__init__()
        self.layers = {"all": [*net]}

    def forward(self, code):
        return functools.reduce(lambda h, layer: layer(h), self.layers["all"], code)


NET = autoencoder()[1]
DECODERS = {
    "module": lambda net: net,
    "forward": lambda net: net.forward,
    "closure": lambda net: lambda code: net(code),
    "function of a function": lambda net: (lambda inner: lambda code: inner(code))(lambda code: net(code)),
    "partial": lambda net: functools.partial(lambda of, code: of(code), net),
    "list": lambda net: (lambda layers: lambda code: functools.reduce(lambda h, layer: layer(h), layers, code))([*net]),
    "default argument": lambda net: lambda code, net=net: net(code),
    "dictionary": lambda net: (lambda parts: lambda code: parts["net"](code))({"net": net}),
    "in pieces": lambda net: lambda code: torch.cat([net(piece) for piece in code.split(8)]),
    "functions of functions": lambda net: (lambda f: lambda code: (lambda g: g(code))(lambda h: f(h)))(
        lambda h: net(h)
    ),
    "plain list in a module": lambda net: Plain(net),
    "object": Service,
    "method of an object": lambda net: Service(net).decode,
}


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_are_looked_through(kind):
    encoder, net = autoencoder()
    pathway = Pathway(encoder, DECODERS[kind](net)).fit(X)
    net[1].train()
    with pytest.raises(ValueError, match=r"the decoder is in training mode \(its Dropout"):
        pathway.score(X)
    net.eval()
    assert set(pathway.score(X)) == {"recon", "sap", "nap"}


def test_a_decoder_by_a_global_name_is_looked_through():
    pathway = Pathway(autoencoder()[0], lambda code: NET(code))
    NET.train()
    with pytest.raises(ValueError, match="the decoder is in training mode"):
        pathway.score(X)
    NET.eval()
    assert len(pathway.score(X)["sap"]) == len(X)


def test_of_a_model_only_the_part_that_decodes_counts():
    model = Model()
    assert model.head.training
    for decoder in (model.decode, lambda code: model.decoder(code)):
        assert Pathway(model.encoder, decoder).score(X)


def test_a_function_among_the_layers_is_looked_through_and_other_threads_may_train():
    encoder, decoder = autoencoder()
    pathway = Pathway([lambda x: encoder[0](x), encoder[1]], decoder).fit(X)
    statistics = encoder[0][1].running_mean.clone()
    encoder[0].train()
    with pytest.raises(ValueError, match=r"a layer of the encoder is in training mode"):
        pathway.score(X)
    assert torch.equal(encoder[0][1].running_mean, statistics)
    with ThreadPoolExecutor(1) as pool, in_eval_mode("here"):
        assert pool.submit(encoder, X).result().shape == (60, 3)
        with pytest.raises(ValueError, match="here is in training mode"):
            encoder(X)
    assert encoder(X).shape == (60, 3)  # the check ends with the pass


def test_a_normalisation_of_each_row_alone_may_be_in_either_mode():
    encoder, decoder = autoencoder()
    norm = nn.InstanceNorm1d(1)
    layers = [encoder[0], lambda h: norm(h[:, None])[:, 0], encoder[1]]
    assert norm.training
    assert set(Pathway(layers, decoder).score(X)) == {"recon", "sap"}


def test_a_detectors_network_is_scored_in_eval_mode_whoever_had_it():
    x = load("digits").x[:60]
    detector = DeepSVDD(image_shape=(8, 8), epochs=1, pretrain_epochs=1, device="cpu").fit(x, x, progress=False)
    expected = detector.scores(x)["score"]
    detector.net.train()
    np.testing.assert_array_equal(detector.scores(x)["score"], expected)
    np.testing.assert_allclose(detector.scores(x[:7])["score"], expected[:7], rtol=1e-4, atol=1e-5)
