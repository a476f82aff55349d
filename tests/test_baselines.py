import numpy as np

from rapp.baselines.classical import PCAReconstruction


def test_pca_misses_what_lies_in_its_plane_and_sees_what_leaves_it():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    detector = PCAReconstruction(n_components=2).fit(*2 * [rng.normal(size=(100, 2)) @ plane])
    off = np.linalg.svd(plane)[2][-1]
    np.testing.assert_allclose(detector.scores(np.array([100 * plane[0], 3 * off]))["recon"], [0, 9], atol=1e-6)


def test_more_components_than_rows_or_features_are_cut():
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(PCAReconstruction(n_components=20).fit(x, x).scores(x)["recon"], 0, atol=1e-12)
