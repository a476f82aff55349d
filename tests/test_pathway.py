import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from torch import nn

from rapp.pathway import FewRowsWarning, Pathway, Whitening, encode, nap, project, recon, sap


def linear(weight):
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    layer.weight.data = torch.tensor(weight)
    return layer.eval()


def by_svd(d, x):
    """The paper's equation, letter by letter, on the row space: ‖(d − μ)ᵀ V Σ⁻¹‖²."""
    mu = d.mean(0)
    _, sigma, v = torch.linalg.svd(d - mu, full_matrices=False)
    keep = sigma > 1e-9 * sigma[0]
    return ((x - mu) @ v[keep].T / sigma[keep]).square().sum(1)


# An autoencoder on paper: g1 halves both numbers, g2 adds them, f puts the sum into both places.
ENCODER = [linear([[0.5, 0.0], [0.0, 0.5]]), linear([[1.0, 1.0]])]
DECODER = linear([[1.0], [1.0]])


def test_pathway_by_hand():
    x = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    # x = (3, 1): h1 = (1.5, .5), h2 = 2, x̂ = (2, 2), ĥ1 = (1, 1), ĥ2 = 2. x = (1, 1) is a fixed point.
    h, x_hat, h_hat = project(ENCODER, DECODER, x)
    assert [a[0].tolist() for a in h] == [[3, 1], [1.5, 0.5], [2]]
    assert x_hat.tolist() == [[2, 2], [1, 1]]
    assert [a[0].tolist() for a in h_hat] == [[2, 2], [1, 1], [2]]
    d = Pathway(ENCODER, DECODER).differences(x)
    assert d.tolist() == [[0.5, -0.5, 0], [0, 0, 0]]
    assert sap(d).tolist() == [0.5, 0]
    assert recon(x, x_hat).tolist() == [2, 0]


def test_a_row_that_cannot_be_scored_is_named():
    x = torch.tensor([[3.0, 1.0], [1.0, float("nan")]])
    with pytest.raises(ValueError, match=r"recon of row 1 is nan: x, .* holds NaN or infinite values there; fill"):
        Pathway(ENCODER, DECODER).score(x)
    with pytest.raises(ValueError, match="row 1 is nan"):
        Pathway(ENCODER, DECODER).fit(x)
    with pytest.raises(ValueError, match="at least 2 training rows"):
        Pathway(ENCODER, DECODER).fit(x[:1])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.ones(4, 2, dtype=torch.float64), r"shape \(2,\) and torch.float64 \(its weights: torch.float32\)"),
        (torch.ones(4, 3), r"cannot take rows of shape \(3,\)"),
        (torch.ones(2), r"must hold rows, .* got shape \(2,\)"),
    ],
)
def test_rows_that_the_network_cannot_take_are_told(x, words):
    network = [nn.Linear(2, 1).eval()]
    for use in (Pathway(network, DECODER).score, Pathway(network, DECODER).fit):
        with pytest.raises(ValueError, match=words):
            use(x)


def test_layer_range_and_input():
    x = torch.tensor([[3.0, 1.0]])
    with_input = Pathway(ENCODER, DECODER, include_input=True)
    assert with_input.differences(x).tolist() == [[1, -1, 0.5, -0.5, 0]]
    assert Pathway(ENCODER, DECODER, layers=[0]).differences(x).tolist() == [[1, -1]]
    assert Pathway(ENCODER, DECODER, layers=[2]).differences(x).tolist() == [[0]]
    # SAP of the input layer alone is the reconstruction error.
    scores = Pathway(ENCODER, DECODER, layers=[0]).score(x)
    assert scores["sap"] == scores["recon"]


def test_nap_by_hand():
    # Training differences (±1, 0), (0, ±2): μ = 0, Σ² = diag(2, 8).
    train = torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
    whitening = Whitening().fit([train])
    d = torch.tensor([[2.0, 0], [0, 2], [2, 4]])
    torch.testing.assert_close(nap(d, whitening), torch.tensor([4 / 2, 4 / 8, 4 / 2 + 16 / 8]))
    assert whitening.rank == 2


def test_nap_is_mahalanobis_up_to_n():
    rng = np.random.default_rng(0)
    train, d = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8)) + 5, rng.normal(size=(50, 8))
    peer = EmpiricalCovariance().fit(train).mahalanobis(d) / len(train)
    ours = nap(torch.from_numpy(d), Whitening().fit([torch.from_numpy(train)]))
    np.testing.assert_allclose(ours, peer, rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "features", "rank"), [(200, 10, 10), (200, 10, 7), (20, 50, 19), (300, 60, 40), (5, 3, 1)]
)
def test_rank_deficient_and_fewer_rows_than_features(n, features, rank):
    torch.manual_seed(0)
    mixing = torch.randn(min(rank, features), features, dtype=torch.float64)
    train = torch.randn(n, len(mixing), dtype=torch.float64) @ mixing + 3
    off_the_row_space = 5 * torch.randn(9, features, dtype=torch.float64)
    whitening = Whitening().fit(train.split(7))
    assert whitening.rank == min(rank, n - 1)
    torch.testing.assert_close(nap(off_the_row_space, whitening), by_svd(train, off_the_row_space), rtol=1e-8, atol=0)


def test_constant_features_and_all_constant():
    train = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    train[:, 2] = 4
    whitening = Whitening().fit([train])
    assert whitening.rank == 4
    d = torch.randn(6, 5)
    torch.testing.assert_close(nap(d, whitening).double(), by_svd(train.double(), d.double()), rtol=1e-4, atol=1e-6)
    flat = Whitening().fit([torch.ones(5, 3)])
    assert flat.rank == 0
    assert nap(torch.ones(2, 3), flat).tolist() == [0, 0]


def test_chunks_do_not_matter_and_float32_products_agree():
    torch.manual_seed(0)
    train, d = torch.randn(1000, 30) @ torch.randn(30, 30), torch.randn(20, 30)
    whole = nap(d, Whitening().fit([train]))
    torch.testing.assert_close(nap(d, Whitening().fit(train.split(64))), whole, rtol=1e-4, atol=0)
    torch.testing.assert_close(nap(d, Whitening(torch.float32).fit(train.split(64))), whole, rtol=1e-3, atol=0)


def test_nap_ignores_linear_remixing_and_sap_does_not():
    torch.manual_seed(0)
    train, d = torch.randn(400, 6, dtype=torch.float64), torch.randn(30, 6, dtype=torch.float64)
    mix = torch.randn(6, 6, dtype=torch.float64) + 3 * torch.eye(6)
    before, after = nap(d, Whitening().fit([train])), nap(d @ mix, Whitening().fit([train @ mix]))
    torch.testing.assert_close(after, before)
    assert not torch.allclose(sap(d @ mix), sap(d))


def test_nap_ignores_the_scale_of_a_feature_however_small():
    torch.manual_seed(0)
    train, d = torch.randn(400, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    scale = torch.tensor([1.0, 1e-5, 1e5], dtype=torch.float64)
    whitening = Whitening().fit([train * scale])
    assert whitening.rank == 3
    torch.testing.assert_close(nap(d * scale, whitening), nap(d, Whitening().fit([train])))


def test_convolutional_autoencoder():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 3, 2, 1))).eval()
    decoder = nn.Sequential(
        nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(3, 1, 4, 2, 1)
    ).eval()  # fmt: skip
    x = torch.rand(300, 1, 8, 8)
    pathway = Pathway(encoder, decoder).fit(x)
    scores = pathway.score(x[:10] * 3)
    assert [len(scores[name]) for name in ("recon", "sap", "nap")] == [10, 10, 10]
    assert pathway.differences(x).shape == (300, 3 * 4 * 4 + 2 * 2 * 2)
    assert (scores["nap"] > pathway.score(x)["nap"].mean()).all()
    assert [h.shape[1] for h in encode(encoder, x)[0]] == [64, 48, 8]


def test_scoring_changes_nothing_and_repeats():
    x = torch.randn(40, 2)
    kept = x.clone()
    pathway = Pathway(ENCODER, DECODER).fit(x)
    first, second = pathway.score(x), pathway.score(x)
    assert all((first[name] == second[name]).all() for name in first)
    assert torch.equal(x, kept)


def test_layers_that_work_in_place_are_not_in_the_way():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    in_place = nn.Sequential(nn.ReLU(inplace=True), plain[1], nn.ReLU(inplace=True), plain[3]).eval()
    back = nn.Linear(2, 4).eval()
    x = torch.randn(50, 4)
    kept = x.clone()
    one, other = (Pathway(list(layers), lambda h: back(h.relu_())).fit(x).score(x) for layers in (plain, in_place))
    assert torch.equal(x, kept)
    for name in one:
        np.testing.assert_allclose(other[name], one[name])
    np.testing.assert_allclose(Pathway(list(plain), lambda h: back(h.relu())).score(x)["sap"], one["sap"])


def test_half_precision_models_are_aggregated_in_float32():
    layers = [nn.Linear(4, 3).bfloat16().eval()]
    scores = (
        Pathway(layers, nn.Linear(3, 4).bfloat16().eval())
        .fit(torch.randn(40, 4).bfloat16())
        .score(torch.randn(5, 4).bfloat16())
    )
    assert all(np.isfinite(values).all() for values in scores.values())


def test_a_failed_fit_leaves_no_nap_behind():
    pathway = Pathway(ENCODER, DECODER).fit(torch.randn(40, 2))
    with pytest.raises(ValueError, match="at least 2"):
        pathway.fit(torch.randn(1, 2))
    assert set(pathway.score(torch.randn(3, 2))) == {"recon", "sap"}


def test_unfitted_pathway_scores_without_nap():
    assert set(Pathway(ENCODER, DECODER).score(torch.randn(3, 2))) == {"recon", "sap"}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"from 0 \(input\) to 2 \(last layer\), got \[3\]"):
        Pathway(ENCODER, DECODER, layers=[3])
    with pytest.raises(ValueError, match="eval"):
        Pathway(nn.Sequential(nn.Linear(2, 1)).train(), DECODER)
    with pytest.raises(ValueError, match="eval"):
        Pathway([nn.Sequential(nn.Linear(2, 1), nn.Dropout()).train()], DECODER)
    with pytest.raises(ValueError, match="eval"):
        Pathway(ENCODER, nn.Linear(1, 2).train().forward)
    with pytest.raises(ValueError, match="at least 2 training rows, got 1"):
        Whitening().fit([torch.ones(1, 3)])
    with pytest.raises(ValueError, match="NaN or infinite"):
        Whitening().fit([torch.tensor([[1.0], [np.nan]])])
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for an input of shape \(4, 3\)"):
        Pathway([nn.ReLU().eval()], lambda h: h[:, :2]).score(torch.ones(4, 3))
    with pytest.raises(ValueError, match="cut"):
        Whitening(cut=2)


def test_encoders_without_layers_are_refused_plainly():
    with pytest.raises(TypeError, match=r"sequence of layers, .* got Linear"):
        Pathway(nn.Linear(2, 2).eval(), DECODER)


class Attributes(nn.Module):
    """An autoencoder with its layers as attributes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.back = nn.Linear(6, 4), nn.Linear(4, 2), nn.Linear(2, 6)
        self.eval()

    def forward(self, x):
        return self.back(self.b(torch.relu(self.a(x))))


def test_layers_are_found_by_name_in_any_module():
    net, x = Attributes(), torch.randn(50, 6)
    one = Pathway(net, layers=["a", "b"]).fit(x).score(x)
    same = Pathway([net.a, lambda h: net.b(torch.relu(h))], net.back).fit(x).score(x)
    for name, values in same.items():
        np.testing.assert_allclose(one[name], values, rtol=1e-5)
    encoder = nn.Sequential(net.a, nn.ReLU(), net.b).eval()
    np.testing.assert_allclose(Pathway(encoder, net.back, layers=["0", "2"]).score(x)["sap"], same["sap"], rtol=1e-5)
    with_input = Pathway(net, layers=["b"], include_input=True)
    assert with_input.differences(x).shape == (50, 6 + 2)
    with pytest.raises(ValueError, match="no layer 'c'; the closest is"):
        Pathway(net, layers=["a", "c"])
    with pytest.raises(ValueError, match="'0' ran twice"):
        Pathway(nn.Sequential(net.a, net.a.__class__(4, 6).eval(), net.a).eval(), nn.Linear(4, 6).eval(), ["0"]).score(
            x
        )
    with pytest.raises(TypeError, match=r"got Attributes, 0 names and no decoder"):
        Pathway(net)


def test_rows_may_be_arrays_or_a_loader():
    x = torch.randn(64, 2)
    expected = Pathway(ENCODER, DECODER).fit(x).score(x)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(64)), batch_size=10)
    for rows in (x.double().numpy(), loader):
        scores = Pathway(ENCODER, DECODER).fit(rows).score(rows)
        for name, values in expected.items():
            np.testing.assert_allclose(scores[name], values, rtol=1e-5)
    shuffled = torch.utils.data.DataLoader(x, batch_size=10, shuffle=True)
    pathway = Pathway(ENCODER, DECODER).fit(shuffled)
    with pytest.raises(ValueError, match="shuffle=False"):
        pathway.score(shuffled)
    with pytest.raises(TypeError, match="got list"):
        pathway.score(x.tolist())


def test_a_loader_that_does_not_yield_each_row_in_its_place_is_refused():
    data = torch.utils.data
    rows = data.TensorDataset(torch.randn(64, 2))
    pathway, some = Pathway(ENCODER, DECODER), data.SubsetRandomSampler(range(64))
    refused = {
        "shuffles": [
            data.DataLoader(rows, 10, sampler=some),
            data.DataLoader(rows, batch_sampler=data.BatchSampler(some, 10, drop_last=False)),
            data.DataLoader(rows, batch_sampler=[[1, 0], [3, 2]]),
            data.DataLoader(rows, 10, sampler=data.WeightedRandomSampler(torch.ones(64), 64)),
        ],
        "drop_last=False": [data.DataLoader(rows, 10, drop_last=True)],
        "holds no rows": [data.DataLoader(data.TensorDataset(torch.randn(0, 2)))],
    }
    for words, loaders in refused.items():
        for loader in loaders:
            with pytest.raises(ValueError, match=words):
                pathway.score(loader)

    class Stream(data.IterableDataset):
        def __iter__(self):
            yield from torch.ones(30, 2)

    assert pathway.score(data.DataLoader(Stream(), 8))["sap"].shape == (30,)
    assert pathway.fit(data.DataLoader(rows, 10, drop_last=True)).whitening.n_rows == 60


def test_a_module_that_works_in_place_changes_no_row():
    class InPlace(Attributes):
        def forward(self, x):
            return super().forward(x.sub_(1))

    net, x = InPlace(), torch.randn(50, 6)
    before = x.clone()
    scores = Pathway(net, layers=["a", "b"]).score(x)
    assert torch.equal(x, before)
    with torch.no_grad():
        np.testing.assert_allclose(scores["recon"], recon(x, net(x.clone())), rtol=1e-5)


def test_named_layers_are_read_for_one_thread_at_a_time():
    net, x = Attributes(), torch.randn(50, 6)
    pathway, failed, started = Pathway(net, layers=["a", "b"]), [], threading.Barrier(3)
    expected = pathway.score(x)["sap"]

    def work(score):
        started.wait()
        try:
            for _ in range(30):
                assert np.array_equal(pathway.score(x)["sap"], expected) if score else len(net(x)) == 50
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(score,)) for score in (True, True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_was_calibrated_before_another_fit_decides_nothing():
    x = torch.randn(300, 2)
    pathway = Pathway(ENCODER, DECODER).fit(x[:100]).calibrate(x[100:])
    pathway.fit(0.1 * x[:100])
    with pytest.raises(ValueError, match="call calibrate"):
        pathway.predict(x)
    early = Pathway(ENCODER, DECODER).calibrate(x)
    for ask in (early.predict, early.p_value):
        with pytest.raises(ValueError, match="allowed: recon, sap, or nap after fit and calibrate"):
            ask(x)


@pytest.mark.parametrize("layers", [np.arange(1, 3), range(1, 3), [np.int64(1), 2]])
def test_numbers_of_layers_may_be_numpys(layers):
    assert Pathway(ENCODER, DECODER, layers=layers).layers == [1, 2]
    assert Pathway(ENCODER, DECODER, layers=np.int64(2)).layers == [2]


@pytest.mark.parametrize("layers", [[1.9], [1, 1], ["a", 1], ["a", "a"]])
def test_layers_are_all_numbers_or_all_names_each_once(layers):
    encoder = Attributes() if "a" in layers else ENCODER
    with pytest.raises(ValueError, match="must be whole numbers, or else names, each once"):
        Pathway(encoder, DECODER, layers=layers)


def test_hidden_wants_eval_mode_and_batch_norm_wants_statistics():
    layer = nn.BatchNorm1d(2)
    pathway = Pathway([layer.eval()], DECODER, layers=[1])
    layer.train()
    with pytest.raises(ValueError, match="training mode"):
        pathway.hidden(torch.randn(5, 2))
    assert int(layer.num_batches_tracked) == 0
    bare = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), linear([[1.0, 1.0]])).eval()
    with pytest.raises(
        ValueError, match=r"layer 1 .*BatchNorm1d\), so scores would depend on the batch: train it with"
    ):
        Pathway(bare, DECODER)


def test_a_tuple_is_refused_or_taken():
    torch.manual_seed(0)
    lstm, x = nn.LSTM(2, 3, batch_first=True).eval(), torch.randn(60, 4, 2)
    back = nn.Linear(3, 2).eval()
    with pytest.raises(ValueError, match=r"layer 1 of the encoder returned a tuple; .*take=lambda output: output\[0\]"):
        Pathway([lstm], lambda code: back(code[0])).score(x)
    taken = Pathway([lstm], lambda code: back(code[0]), take=lambda output: output[0]).score(x)
    plain = Pathway([lambda x: lstm(x)[0]], back).score(x)
    np.testing.assert_allclose(taken["sap"], plain["sap"], rtol=1e-5)
    with pytest.raises(ValueError, match="take made a tuple"):
        Pathway([lstm], lambda code: back(code[0]), take=lambda output: output).score(x)


@pytest.mark.parametrize("take", [lambda output: output[0], lambda output: output[1][0]])
def test_a_layer_whose_rows_do_not_come_first_is_refused(take):
    """An LSTM that reads time first; a last state, whose first axis is that of the layers."""

    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.output = nn.LSTM(2, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.output(self.lstm(x.transpose(0, 1))[0]).transpose(0, 1)

    x, network = torch.randn(20, 5, 2), TimeFirst().eval()
    with pytest.raises(ValueError, match=r"layer 1 of the pathway made (5|1) rows of 20; rows must come first"):
        Pathway(network, layers=["lstm"], take=take).fit(x)
    turned = Pathway(network, layers=["lstm"], take=lambda output: output[0].transpose(0, 1))
    assert turned.differences(x).shape == (20, 5 * 4)


def test_layers_that_only_pass_numbers_on_count_once():
    torch.manual_seed(0)
    a, b, x = nn.Linear(4, 3).eval(), nn.Linear(3, 4).eval(), torch.randn(30, 2, 2)
    encoder = nn.Sequential(nn.Flatten(), a, nn.Dropout(), nn.Identity()).eval()
    pathway = Pathway(encoder, lambda h: b(h).view(-1, 2, 2))
    assert pathway.layers == [2]
    assert Pathway(encoder, pathway.decoder, include_input=True).layers == [0, 2]
    assert Pathway(encoder, pathway.decoder, layers=[1, 3]).layers == [1, 3]
    assert pathway.differences(x).shape == (30, 3)


def test_few_rows_are_warned_of():
    torch.manual_seed(0)
    wide = [nn.Linear(4, 9).eval()], nn.Linear(9, 4).eval()
    x = torch.randn(5, 4)
    with pytest.warns(FewRowsWarning, match="every training row is the same: 5 rows for 4 directions"):
        np.testing.assert_allclose(Pathway(*wide).fit(x).score(x)["nap"], 0.8, rtol=1e-4)
    with pytest.warns(FewRowsWarning, match="nearly the same: 7 rows"):
        Pathway(*wide).fit(torch.randn(7, 4))
    with pytest.warns(FewRowsWarning, match="is the same: 9 rows for 0 directions"):
        Pathway(*wide).fit(x[:1].repeat(9, 1))


def test_p_values_and_decisions_keep_their_promise():
    torch.manual_seed(0)
    x = torch.randn(3000, 2)
    pathway = Pathway(ENCODER, DECODER).fit(x[:500])
    with pytest.raises(ValueError, match="call calibrate"):
        pathway.p_value(x)
    pathway.calibrate(x[500:699])
    with pytest.raises(ValueError, match=r"at least 999 held-out normal rows, and there are 199; .* rate of 0.005"):
        pathway.predict(x, false_alarm_rate=0.001)
    for score in ("recon", "sap", "nap"):
        p = pathway.p_value(x[699:], score)
        assert p.min() == 1 / 200
        assert p.max() <= 1
        novel = pathway.predict(x[699:], 0.1, score)
        assert (novel == (p <= 0.1)).all()
        assert novel.mean() < 0.2
    with pytest.raises(ValueError, match="score='mse' is unknown; allowed: recon, sap, nap"):
        pathway.p_value(x, "mse")


class OneSize(nn.Module):
    """It takes batches of 25 rows only, as an exported network may."""

    def forward(self, x):
        assert len(x) == 25
        return 2 * x


def test_rows_that_hang_on_their_neighbours_are_told():
    x = torch.randn(50, 6, 2, generator=torch.Generator().manual_seed(0))
    lstm, decoder = nn.LSTM(2, 3).eval(), nn.Linear(3, 2).eval()  # without batch_first it takes rows for points in time
    with pytest.warns(UserWarning, match="rows change each other's activations; do they come first"):
        Pathway([lstm], lambda code: decoder(code[0]), take=lambda output: output[0]).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = nn.LSTM(2, 3, batch_first=True).eval()
        Pathway([right], lambda code: decoder(code[0]), take=lambda output: output[0]).fit(x)
        Pathway([lambda x: x + torch.randn_like(x)], lambda code: code).fit(x)  # noise differs anyway
        Pathway([OneSize().eval()], lambda code: code, chunk=25).fit(x)
    with pytest.raises(ValueError, match="NAP needs at least 2 training rows, got 0"):
        Pathway(ENCODER, DECODER).fit(torch.zeros(0, 2))


def test_arrays_may_be_views_and_come_from_other_machines():
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    pathway = Pathway(ENCODER, DECODER, whitening=Whitening()).fit(x)
    expected = pathway.score(x)["sap"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (np.asfortranarray(x), x.astype(">f4")):
            np.testing.assert_array_equal(pathway.score(same)["sap"], expected)
        np.testing.assert_array_equal(pathway.score(x[::-1])["sap"], expected[::-1])
    with pytest.raises(ValueError, match=r"of row .* is nan: .* fill or leave out such rows"):
        pathway.score(np.ma.masked_less(x, 0))


def test_hidden_layers_and_copies_are_of_arrays_and_loaders_too():
    x = torch.randn(50, 2)
    pathway = Pathway(ENCODER, DECODER, chunk=20)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=9)
    for same in (x.numpy(), loader):
        for layer, expected in zip(pathway.hidden(same), pathway.hidden(x), strict=True):
            torch.testing.assert_close(layer, expected)
        torch.testing.assert_close(pathway.reconstruct(same), pathway.reconstruct(x))


def test_autocast_of_a_caller_rounds_nothing():
    x = torch.randn(60, 2)
    expected = Pathway(ENCODER, DECODER).fit(x).score(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Pathway(ENCODER, DECODER).fit(x).score(x)
    for name, scores in expected.items():
        np.testing.assert_array_equal(found[name], scores)


@pytest.mark.parametrize(
    ("encoder", "decoder", "words"),
    [
        (
            [nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))],
            DECODER,
            r"layer 1 .* returned shape \(5,\); keep a dimension",
        ),
        ([nn.Embedding(3, 2)], DECODER, "cannot take rows"),
        ([lambda x: x[:, 7]], DECODER, "cannot take rows"),
        (nn.Sequential(nn.LazyLinear(2)), DECODER, "has no weights yet"),
    ],
)
def test_networks_that_cannot_score_are_told_by_what_to_mend(encoder, decoder, words):
    encoder = (
        encoder.eval()
        if isinstance(encoder, nn.Module)
        else [getattr(part, "eval", lambda p=part: p)() for part in encoder]
    )
    with pytest.raises(ValueError, match=words):
        Pathway(encoder, decoder).score(torch.randn(5, 2))


def test_whole_numbers_are_refused_with_what_they_may_want():
    with pytest.raises(ValueError, match=r"torch.uint8 .*scaled as in training"):
        Pathway(ENCODER, DECODER).score(np.ones((5, 2), dtype=np.uint8))


def test_a_compiled_sequence_has_its_layers():
    x = torch.randn(5, 2)
    compiled = torch.compile(nn.Sequential(*ENCODER).eval())
    np.testing.assert_array_equal(Pathway(compiled, DECODER).score(x)["sap"], Pathway(ENCODER, DECODER).score(x)["sap"])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield from torch.randn(20, 2)


def test_workers_of_a_stream_are_refused():
    loader = torch.utils.data.DataLoader(Stream(), batch_size=5, num_workers=2)
    with pytest.raises(ValueError, match="in no known order: use num_workers=0"):
        Pathway(ENCODER, DECODER).score(loader)


def test_more_activations_than_memory_holds_are_refused_before_it_is_taken(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 64)
    with pytest.raises(ValueError, match=r"NAP of 20 activations needs .* GB, and there are .*; take fewer"):
        Whitening().fit([torch.randn(5, 20)])
