"""The playground: what is shipped, and its page in headless Chromium."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rapp import evaluation
from rapp.data import load
from rappbook.playground import LAYERS, SCORES, SHOWN, Shipped, eight_bits, picked
from tests.conftest import ROOT

FOLDER = ROOT / "book" / "_static" / "playground"
SCRIPTS = sorted(FOLDER.glob("net-*.js"))


def shipped(digit: int) -> Shipped:
    return Shipped.read((FOLDER / f"net-{digit}.js").read_text(encoding="utf-8"))


def test_whole_numbers_and_a_scale_stand_for_weights():
    weights = np.random.default_rng(0).normal(size=(5, 40)) * [[1], [1e-3], [100], [1], [0]]
    for bits, off in ((8, 1 / 254), (16, 1 / 65534)):
        numbers, scale = eight_bits(weights, bits)
        assert np.abs(numbers).max() == 2 ** (bits - 1) - 1
        assert (
            np.abs(numbers * scale[:, None].astype(float) - weights) <= 1.001 * off * np.abs(weights).max(1)[:, None]
        ).all()


def test_a_script_gives_back_what_it_was_made_of():
    arrays = {"a.weight": np.arange(-3, 3, dtype=np.int8).reshape(2, 3), "b": np.float32([0.1, 2]), "c": np.int16([7])}
    again = Shipped.read(Shipped(arrays, {"unseen": "1"}).script())
    assert again.about == {"unseen": "1"}
    for name, value in arrays.items():
        assert again.arrays[name].dtype == value.dtype
        np.testing.assert_array_equal(again.arrays[name], value)


def test_images_are_drawn_by_a_seed_and_not_by_hand():
    y = np.array(list("0123456789") * 30)
    rows = picked(y, tuple("0123456789"), np.random.default_rng(0))
    assert y[rows].tolist() == [label for label in "0123456789" for _ in range(SHOWN)]
    np.testing.assert_array_equal(rows, picked(y, tuple("0123456789"), np.random.default_rng(0)))


def test_ten_networks_are_shipped_in_six_megabytes():
    assert [path.name for path in SCRIPTS] == [f"net-{digit}.js" for digit in range(10)]
    assert sum(path.stat().st_size for path in SCRIPTS) <= 6_000_000
    assert (FOLDER / "front-data.js").stat().st_size <= 100_000
    table = pd.read_csv(ROOT / "book" / "results" / "playground" / "networks.csv")
    assert len(table) == 10 * len(SCORES)
    assert (table["auroc"] - table["auroc shipped"]).abs().max() < 0.02
    for digit, lines in table.groupby("unseen"):
        assert shipped(digit).about["auroc"] == dict(zip(lines["score"], lines["auroc shipped"].round(3), strict=True))


def test_published_aurocs_are_those_of_the_shipped_networks(full_data):
    table = pd.read_csv(ROOT / "book" / "results" / "playground" / "networks.csv").set_index(["unseen", "score"])
    from rappbook.playground import cells

    data, network = load("mnist"), shipped(1)
    split = cells(data)[1].split(data)
    rows = np.concatenate([split.test[:1500], split.test[split.is_novel][:800]])
    is_novel = np.repeat([False, True], [1500, 800])
    found = network.scores(data.x[rows].astype(float))
    for score in SCORES:
        expected = table.loc[(1, score), "auroc shipped"]
        assert evaluation.auroc(is_novel, found[score]) == pytest.approx(
            expected, abs=0.04
        )  # on a part of the test rows


@pytest.fixture
def page(opened, tmp_path):
    """The playground's part of its page, without the book around it."""
    text = (ROOT / "book" / "playground.md").read_text(encoding="utf-8")
    body = re.search(r"```\{raw\} html\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "playground").symlink_to(FOLDER)
    colours = (ROOT / "book" / "_static" / "rapp.css").read_text(encoding="utf-8")
    file = tmp_path / "page.html"
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>x</title><style>{colours}</style>"
    )
    start = "<!doctype html><html lang=en data-theme=light>"
    file.write_text(f"{start}<head>{head}<style>{colours}</style></head><body>{body}</body></html>", encoding="utf-8")

    def at(width: int = 1280, **options: object):
        tab = opened(file, width, **options)
        tab.wait_for_function("document.querySelectorAll('#rapp-gallery button').length > 0")
        return tab

    return at


def says(tab) -> str:
    return tab.inner_text("#rapp-recon-rank") + tab.inner_text("#rapp-sap-rank") + tab.inner_text("#rapp-nap-rank")


@pytest.mark.slow
def test_the_page_computes_what_python_does(page):
    tab, network = page(), shipped(1)
    images = network.arrays["images"] / 255.0
    x = np.concatenate([images, images[:20][:, ::-1]])  # and twenty that are no digits
    theirs = tab.evaluate("rows => rows.map(x => { const p = rapp.pathway(page.network, x);"
                          " return [p.recon, p.sap, p.nap, ...p.xHat]; })", x.tolist())  # fmt: skip
    theirs, ours = np.array(theirs), network.scores(x)
    for i, score in enumerate(SCORES):
        np.testing.assert_allclose(theirs[:, i], ours[score], rtol=1e-3)
    np.testing.assert_allclose(theirs[:, 3:], network.differences(x)[0], atol=1e-6)
    assert len(network.encode(x)) == LAYERS


@pytest.mark.slow
@pytest.mark.parametrize("has_touch", [False, True])
def test_drawing_by_mouse_and_by_touch(page, has_touch):
    tab = page(390 if has_touch else 1280, has_touch=has_touch)
    before = says(tab)
    box = tab.locator("#rapp-draw").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
    if has_touch:
        tab.touchscreen.tap(x, y)
    else:
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.mouse.move(x, y + box["height"] / 2, steps=8)
        tab.mouse.up()
    assert tab.inner_text("#rapp-what") == "your drawing"
    assert says(tab) != before
    drawn = np.array(tab.evaluate("Array.from(page.x)")).reshape(28, 28)
    assert drawn.max() > 0.5
    assert abs((drawn.sum(0) * np.arange(28)).sum() / drawn.sum() - 13.5) < 0.6  # its centre of mass is in the middle
    assert abs((drawn.sum(1) * np.arange(28)).sum() / drawn.sum() - 13.5) < 0.6


@pytest.mark.slow
def test_switching_threshold_keys_and_morphing(page):
    tab = page()
    before = tab.inner_text("#rapp-nap-caught")
    assert "unseen 1s" in before
    tab.check('input[name="rapp-unseen"][value="7"]', force=True)
    tab.wait_for_function("page.network.unseen === '7'")
    assert "unseen 7s" in tab.inner_text("#rapp-nap-caught")
    caught = tab.inner_text("#rapp-recon-caught")
    tab.focus("#rapp-rate")
    for _ in range(6):
        tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#rapp-rate-says") == "8.0 %"
    assert tab.inner_text("#rapp-recon-caught") != caught
    tab.focus('#rapp-gallery button[tabindex="0"]')
    tab.keyboard.press("ArrowRight")
    assert tab.locator('#rapp-gallery button[aria-checked="true"]').get_attribute("aria-label").endswith("image 2")
    one = says(tab)
    tab.locator("#rapp-morph").fill("50")
    assert says(tab) != one
    assert "50 %" in tab.inner_text("#rapp-what")
    assert tab.get_attribute("#rapp-says", "aria-live") == "polite"
    assert "NAP:" in tab.text_content("#rapp-says")


@pytest.mark.slow
def test_it_fits_a_small_phone(page):
    tab = page(360)
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    for name in ("#rapp-draw", "#rapp-gallery", "#rapp-nap-mark"):
        assert tab.locator(name).is_visible()


@pytest.mark.slow
def test_without_javascript_a_picture_explains(opened, tmp_path):
    assert Path(FOLDER / "still.png").stat().st_size > 10_000
    text = (ROOT / "book" / "playground.md").read_text(encoding="utf-8")
    assert re.search(r"<noscript>.*?still\.png.*?</noscript>", text, re.DOTALL)


@pytest.mark.slow
def test_a_mark_stands_where_the_rank_says(page):
    tab = page()
    for score in SCORES:
        rank = float(re.search(r"above ([\d.]+) %", tab.inner_text(f"#rapp-{score}-rank"))[1])
        left = tab.evaluate(f"parseFloat(document.getElementById('rapp-{score}-mark').style.left)")
        assert left == pytest.approx(rank, abs=0.6)
        assert tab.evaluate(f"document.getElementById('rapp-{score}-cut').style.left") == "95%"
