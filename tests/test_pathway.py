import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from torch import nn

from rapp.pathway import Pathway, Whitening, encode, nap, project, recon, sap


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
        Pathway([nn.Identity().eval()], lambda h: h[:, :2]).score(torch.ones(4, 3))
    with pytest.raises(ValueError, match="cut"):
        Whitening(cut=2)


def test_arrays_and_encoders_without_layers_are_refused_plainly():
    with pytest.raises(TypeError, match=r"torch tensor, got ndarray; torch\.as_tensor"):
        Pathway(ENCODER, DECODER).fit(np.zeros((4, 2)))
    with pytest.raises(TypeError, match=r"sequence of layers, .* got Linear"):
        Pathway(nn.Linear(2, 2).eval(), DECODER)
