import torch

from rapp.experiment import Cell, run
from rappbook.page_info import made_with
from tests.test_experiment import TINY


def test_what_a_page_was_made_with(blobs):
    trial = run(blobs, [Cell(TINY, "2")])[0]
    table = made_with([trial], "tiny", 3.2).set_index("what")["value"]
    assert "blobs" in table["data set"]
    assert table["settings"] == "multimodal, target class two"
    assert table["ae"].startswith(
        "n_layers 2 (the protocol: 10), bottleneck 2, epochs 3, batch 16 (the protocol: 256), "
    )
    assert "precision float32" in table["ae"]
    assert f"torch {torch.__version__.split('+')[0]}" in table["versions"]
