"""The playground: what is shipped, and its page in headless Chromium."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import build
from rapp import evaluation
from rapp.data import load
from rappbook.playground import LAYERS, SCORES, SHOWN, Shipped, cells, eight_bits, picked
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
    data, network = load("mnist"), shipped(1)
    split = cells(data)[1].split(data)
    parts = [network.scores(data.x[rows].astype(float)) for rows in np.array_split(split.test, 10)]
    for score in SCORES:
        values, line = np.concatenate([part[score] for part in parts]), table.loc[(1, score)]
        assert len(values) == line["n_test"]
        assert evaluation.auroc(split.is_novel, values) == pytest.approx(line["auroc shipped"], abs=1e-5)
        threshold = np.quantile(network.arrays[f"{score}.normal"], 0.95)  # of validation rows, as the page has it
        assert (values[split.is_novel] > threshold).mean() == pytest.approx(line["caught at 5%"], abs=2e-3)


def test_the_page_says_what_its_networks_were_trained_on():
    text = build.playground_filled((ROOT / "book" / "playground.md").read_text(encoding="utf-8"))
    assert "{{" not in text
    table = pd.read_csv(ROOT / "book" / "results" / "playground" / "networks.csv")
    assert f"{table['n_train'].min():,} to {table['n_train'].max():,}" in text
    assert (table["auroc"] - table["auroc shipped"]).abs().max() <= float(
        re.search(r"by more than (0\.\d+)\.", text)[1]
    )


def alone(tmp_path: Path, name: str) -> Path:
    """A file of what a page of the book holds as HTML, without the book around it."""
    text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
    body = re.search(r"```\{raw\} html\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "playground").symlink_to(FOLDER)
    colours = (ROOT / "book" / "_static" / "rapp.css").read_text(encoding="utf-8")
    file = tmp_path / f"{name}.html"
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>x</title><style>{colours}</style>"
    )
    start = "<!doctype html><html lang=en data-theme=light>"
    file.write_text(f"{start}<head>{head}<style>{colours}</style></head><body>{body}</body></html>", encoding="utf-8")
    return file


@pytest.fixture
def page(opened, tmp_path):
    """The playground's part of its page."""
    file = alone(tmp_path, "playground")

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
    if has_touch:
        board = tab.locator("#rapp-draw")
        board.tap(position={"x": board.bounding_box()["width"] / 2, "y": 20})  # once the page has settled
    else:
        drawn(tab)
    tab.wait_for_function("document.getElementById('rapp-what').innerText == 'your drawing'")
    assert says(tab) != before
    image = np.array(tab.evaluate("Array.from(page.x)")).reshape(28, 28)
    assert image.max() > 0.5
    assert abs((image.sum(0) * np.arange(28)).sum() / image.sum() - 13.5) < 0.6  # its centre of mass is in the middle
    assert abs((image.sum(1) * np.arange(28)).sum() / image.sum() - 13.5) < 0.6


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


def drawn(tab) -> list[float]:
    """Draw a stroke down the board, and return the image that the network is given."""
    board = tab.locator("#rapp-draw")
    board.hover()  # which waits until the page has settled
    box = board.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x, y + box["height"] / 2, steps=4)
    tab.mouse.up()
    tab.wait_for_function("document.getElementById('rapp-what').innerText == 'your drawing'")
    return tab.evaluate("Array.from(page.x)")


@pytest.mark.slow
def test_a_drawing_stays_when_the_network_changes_and_goes_when_cleared(page):
    tab = page()
    first, before = tab.evaluate("Array.from(page.x)"), says(tab)
    image = drawn(tab)
    assert image != first
    of_one = says(tab)
    assert tab.locator('#rapp-gallery button[aria-checked="true"]').count() == 0
    tab.check('input[name="rapp-unseen"][value="7"]', force=True)
    tab.wait_for_function("page.network.unseen === '7'")
    assert tab.evaluate("Array.from(page.x)") == image
    assert tab.inner_text("#rapp-what") == "your drawing"
    assert says(tab) != of_one
    tab.check('input[name="rapp-unseen"][value="1"]', force=True)
    tab.wait_for_function("page.network.unseen === '1'")
    assert says(tab) == of_one
    tab.click("#rapp-clear")
    assert (tab.evaluate("Array.from(page.x)"), says(tab)) == (first, before)


@pytest.mark.slow
def test_morphing_works_before_anything_is_picked(page):
    tab = page()
    before = tab.evaluate("Array.from(page.x)")
    tab.locator("#rapp-morph").fill("0")
    after = tab.evaluate("Array.from(page.x)")
    assert after != before
    tab.locator("#rapp-morph").fill("100")
    assert tab.evaluate("Array.from(page.x)") == before


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "ink"), [("light", 0x55), ("dark", 0xDD)])
def test_differences_are_drawn_in_an_ink_that_shows(page, theme, ink):
    tab = page()
    tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    row = """Array.from(document.getElementById('rapp-layer-1').getContext('2d').getImageData(0, 2, 128, 1).data)"""
    red, alpha = np.array(tab.evaluate(row))[0::4], np.array(tab.evaluate(row))[3::4]
    assert alpha.max() > 50
    assert abs(int(red[alpha.argmax()]) - ink) <= 2  # a canvas keeps colours multiplied by their opacity


@pytest.mark.slow
def test_the_results_stand_near_the_drawing_on_a_phone(page):
    tab = page(390)
    tops = [tab.locator(name).bounding_box()["y"] for name in ("#rapp-draw", "#rapp-x-hat")]
    assert tops[1] - tops[0] < 500


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
def test_the_front_page_has_a_histogram_with_three_buttons_and_a_threshold_to_drag(opened, tmp_path, width):
    tab = opened(alone(tmp_path, "intro"), width)
    tab.wait_for_function("!document.querySelector('.rapp-front').hidden")
    told = lambda: tab.inner_text(".rapp-says")  # noqa: E731
    heights = "[...document.querySelectorAll('.rapp-front rect')].map(bar => bar.getAttribute('height'))"
    seen = {}
    for score in SCORES:
        tab.click(f'.rapp-front button[value="{score}"]')
        about = f"AUROC {shipped(1).about['auroc'][score]:.3f}"
        assert about in told()
        assert "5 % of the normal digits" in told()  # where the threshold stands at first
        assert tab.locator('.rapp-front button[aria-pressed="true"]').get_attribute("value") == score
        seen[score] = str(tab.evaluate(heights))
    assert len(set(seen.values())) == len(SCORES)
    svg = tab.locator(".rapp-front svg").bounding_box()
    tab.mouse.move(svg["x"] + svg["width"] / 2, svg["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(svg["x"] + svg["width"] / 4, svg["y"] + 20, steps=3)
    tab.mouse.up()
    assert float(tab.locator(".rapp-front line").get_attribute("x1")) == pytest.approx(100, abs=2)
    dragged = told()
    tab.focus(".rapp-front input")
    for _ in range(150):
        tab.keyboard.press("ArrowRight")
    assert told() != dragged
    assert tab.get_attribute(".rapp-front input", "aria-valuetext") == told()
    assert tab.locator(".rapp-images > div").count() == 8
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
