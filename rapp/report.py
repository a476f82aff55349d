"""A page on a table's scores for any browser, without a network: how they lie, which rows come first, and why."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from rapp.calibration import p_values
from rapp.table_model import Part, TableModel

PAGE = Path(__file__).with_name("report.html")
TOP, REASONS, BINS, BLOCKS = 10, 5, 40, 50
HEAD = '<tr><th scope="col">feature</th><th scope="col">value</th><th scope="col" colspan="2">of the score</th></tr>'
WIDTH, HEIGHT = 400, 140  # of a drawing, in its own units


@dataclass
class Report:
    """What a table's rows scored, and its most suspicious rows."""

    model: TableModel
    scores: np.ndarray  # (n,) in the file's order
    top: Part  # at most ten rows, the highest scores first

    def html(self) -> str:
        """The page."""
        n, is_novel, normal = len(self.scores), self.scores > self.model.threshold, self.model.normal
        estimator, left_out = self.model.estimator, self.top.left_out
        model, n_features, bottleneck, *_ = estimator.architecture_
        return Template(PAGE.read_text(encoding="utf-8")).substitute(
            table=escape(self.top.table),
            n=f"{n:,}",
            n_novel=f"{is_novel.sum():,}",
            share=f"{is_novel.mean():.1%}",
            threshold=f"{self.model.threshold:.4g}",
            rate=f"{estimator.false_alarm_rate_:.1%}",
            left_out=f"{left_out:,} rows with missing values or unknown categories were left out." if left_out else "",
            histogram=_histogram(self.scores, normal, self.model.threshold),
            n_normal=f"{len(normal):,}",
            blocks=_blocks(is_novel),
            rows=self._rows(),
            model=model.upper(),
            n_features=n_features,
            columns=escape(", ".join(column.name for column in self.model.columns)),
            bottleneck=bottleneck,
            method=estimator.method_,
            least=f"{1 / (len(normal) + 1):.2g}",
        )

    def _rows(self) -> str:
        names, top = self.model.features, self.top
        falls = self.model.estimator.explain(self.model.scaled(top.x)).to_numpy()
        p, texts = p_values(self.model.normal, top.scores), []
        for row, score, x, fall, value in zip(top.numbers, top.scores, top.x, falls, p, strict=True):
            kind = '<span class="novel">novel</span>' if score > self.model.threshold else "not above the threshold"
            reasons = "".join(
                f'<tr><th scope="row">{escape(names[j])}</th><td>{x[j]:.6g}</td><td>{fall[j] / score:.0%}</td>'
                f'<td class="wide"><div class="bar" style="width:{100 * fall[j] / score:.1f}%"></div></td></tr>'
                for j in np.argsort(-fall)[:REASONS]
                if fall[j] > 0
            )
            values = escape(", ".join(f"{name}: {number:.6g}" for name, number in zip(names, x, strict=True)))
            texts.append(
                f"<h3>Row {row}: {kind}, score {score:.4g}, p-value {value:.2g}</h3>\n<table>{HEAD}{reasons}</table>\n"
                f"<details><summary>All values of row {row}</summary><p>{values}</p></details>\n"
            )
        return "".join(texts)


def of_table(model: TableModel, source: str, skip: bool = False) -> Report:
    """Score a table for its report; only scores and the ten highest rows are kept.

    Args:
        model: of ``rapp fit``.
        source, skip: as for ``TableModel.parts``, whose errors are these.
    """
    scores: list[np.ndarray] = []
    top: list[Part] = []
    for part in model.parts(source, skip):
        scores.append(part.scores)
        top = [_highest([*top, part])]
    return Report(model, np.concatenate(scores), top[0])


def _highest(parts: list[Part]) -> Part:
    """The rows of the highest scores in some parts."""
    numbers, x, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "x", "scores")
    )
    first = np.argsort(-scores, kind="stable")[:TOP]
    return Part(parts[-1].table, numbers[first], x[first], scores[first], parts[-1].left_out)


def _histogram(scores: np.ndarray, normal: np.ndarray, threshold: float) -> str:
    both = np.concatenate([scores, normal])
    least, most = np.quantile(both, [0.005, 0.99])
    least = max(least, most * 1e-6, 1e-300)  # the axis is logarithmic, and a score may be 0
    edges = np.geomspace(least, max(most, 2 * threshold, 2 * least), BINS + 1)
    shares = [np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] / len(each) for each in (scores, normal)]
    tall, wide = HEIGHT / np.max(shares), WIDTH / BINS
    steps = " ".join(f"{x * wide:.1f},{HEIGHT - y * tall:.1f}" for i, y in enumerate(shares[1]) for x in (i, i + 1))
    at = WIDTH * float(np.clip(np.log(max(threshold, least) / least) / np.log(edges[-1] / least), 0, 1))
    side = 'text-anchor="end" dx="-5"' if at > WIDTH / 2 else 'dx="5"'
    return _drawing(
        "Histogram of this table's scores, of held-out normal rows' scores, and the threshold",
        _bars(shares[0] * tall),
        f'<polyline points="{steps}" fill="none" stroke="var(--normal)" stroke-width="2"/>',
        f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="var(--ink)" stroke-dasharray="5 4"/>',
        f'<text x="{at:.1f}" y="12" {side}>threshold {threshold:.3g}</text>',
        _ends(f"{least:.3g}", "score (logarithmic)", f"{edges[-1]:.3g} or more"),
    )


def _blocks(is_novel: np.ndarray) -> str:
    shares = np.array([part.mean() for part in np.array_split(is_novel, min(BLOCKS, len(is_novel)))])
    most = max(shares.max(), 0.01)
    return _drawing(
        f"Share of rows above the threshold over the file's order, at most {most:.0%}",
        _bars(HEIGHT * shares / most),
        f'<path d="M0 {HEIGHT}H{WIDTH}M0 0H{WIDTH}" stroke="var(--faint)"/><text y="-4">{most:.0%}</text>',
        _ends("first row", "", "last row"),
    )


def _bars(heights: np.ndarray) -> str:
    wide = WIDTH / len(heights)
    return "".join(
        f'<path d="M{i * wide + 0.5:.1f} {HEIGHT}v{-height:.1f}h{wide - 1:.1f}v{height:.1f}z" fill="var(--novel)"/>'
        for i, height in enumerate(heights)
    )


def _ends(left: str, middle: str, right: str) -> str:
    y = HEIGHT + 18
    return (
        f'<text y="{y}">{left}</text><text x="{WIDTH / 2}" y="{y}" text-anchor="middle">{middle}</text>'
        f'<text x="{WIDTH}" y="{y}" text-anchor="end">{right}</text>'
    )


def _drawing(title: str, *content: str) -> str:
    return f'<svg viewBox="0 -20 {WIDTH} {HEIGHT + 44}" role="img" aria-label="{title}">{"".join(content)}</svg>'
