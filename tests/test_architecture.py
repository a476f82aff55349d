"""The plan of the house, read from imports and drawn."""

import graphlib
import itertools

import matplotlib.pyplot as plt
import pytest

from rappbook import architecture
from rappbook.figures import architecture as figures
from tests.conftest import ROOT

IMPORTS = {"a": {"a.b", "a.c.d"}, "a.b": {"a.c.e"}, "a.c": set(), "a.c.d": {"a.c.e"}, "a.c.e": set()}


def test_floors_rooms_and_implied_imports_by_hand():
    rooms = architecture.rooms(IMPORTS)
    assert rooms == {"a": {"a.b", "a.c"}, "a.b": {"a.c"}, "a.c": set()}
    assert architecture.floors(rooms) == {"a": 3, "a.b": 2, "a.c": 1}
    assert architecture.bare(rooms) == {"a": {"a.b"}, "a.b": {"a.c"}, "a.c": set()}
    with pytest.raises(graphlib.CycleError):
        architecture.floors({"a": {"b"}, "b": {"a"}})


def test_files_are_read_and_not_run(tmp_path):
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text('"""The face. And more."""\nfrom house.low import x\nraise SystemExit\n')
    (package / "low.py").write_text('"""What lies\nbelow"""\nimport os\nfrom typing import TYPE_CHECKING\n'
                                    "if TYPE_CHECKING:\n    import house\n")  # fmt: skip
    assert architecture.house(package) == {"house": {"house.low"}, "house.low": set()}
    paths = architecture.files(package)
    assert [architecture.purpose(path) for path in paths.values()] == ["The face.", "What lies below."]


def test_the_drawing_has_every_room_once_and_no_two_boxes_overlap():
    imports = architecture.rooms(architecture.house(ROOT / "rapp"))
    at = figures.places(imports)
    assert set(at) == set(imports)
    for (x, y), (to_x, to_y) in itertools.combinations(at.values(), 2):
        assert abs(x - to_x) > figures.WIDTH or abs(y - to_y) > figures.HEIGHT
    heights = architecture.floors(imports)
    assert all(at[name][1] > at[below][1] for name in imports for below in imports[name])
    figure = figures.plan(imports, {"rapp.data"})
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"rapp", "data/", "pathway", str(max(heights.values()))} <= words
    assert len(words) == len(imports) + max(heights.values())
    assert plt.get_fignums() == []
