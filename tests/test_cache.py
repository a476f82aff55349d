import pickle

import pytest
import torch
from safetensors.torch import save_file

from rapp.cache import DamagedFileError, cache_folder, load_if_sound, load_tensors, save_tensors, write_atomically

TENSORS = {"a": torch.arange(2000.0), "b": torch.ones(3, dtype=torch.uint8)}


@pytest.fixture
def path(tmp_path):
    save_tensors(tmp_path / "model.safetensors", TENSORS, {"key": "k", "n": 1})
    return tmp_path / "model.safetensors"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def pickled(path):
    path.write_bytes(pickle.dumps({"a": 1}))


def foreign(path):
    save_file(TENSORS, path)


def altered_about(path):
    path.write_bytes(path.read_bytes().replace(b'\\"n\\": 1', b'\\"n\\": 2'))


def test_round_trip(path):
    tensors, about = load_tensors(path)
    assert about == {"key": "k", "n": 1}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, pickled, foreign, altered_about])
def test_damage_is_named_and_set_aside(path, damage, capsys):
    damage(path)
    with pytest.raises(DamagedFileError, match=path.name):
        load_tensors(path)
    assert load_if_sound(path, "k") is None
    assert not path.exists()
    assert path.with_name("model.safetensors.damaged").exists()
    assert "model.safetensors" in capsys.readouterr().err


def test_a_file_of_another_model_is_set_aside(path, capsys):
    assert load_if_sound(path, "other") is None
    assert "another model" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file_and_no_other(path):
    before = path.read_bytes()

    def fail(beside):
        beside.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_who_may_read_a_file_may_read_the_next_one(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    path.chmod(0o660)
    write_atomically(path, lambda beside: beside.write_text("new"))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o660)
