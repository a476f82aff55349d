import torch

from rapp.experiments import Cell, run_trial
from rappbook.page_info import made_with
from tests.test_experiments import TINY


def test_what_a_page_was_made_with(blobs):
    trial = run_trial(blobs, Cell(TINY, "2"))
    table = made_with([trial], "tiny", 3.2).set_index("what")["value"]
    assert "blobs" in table["data set"]
    assert table["setting"] == "multimodal, target class two"
    assert table["epochs"] == "3"
    assert table["n_layers"] == "2 (the paper: 10)"
    assert table["precision"] == "float32"
    assert f"torch {torch.__version__.split('+')[0]}" in table["versions"]
