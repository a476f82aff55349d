"""A page on a table's scores for any browser, without a network: how they lie, which rows come first, and why."""

from collections import Counter
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from rapp.calibration import p_values
from rapp.table_model import Part, TableModel, told_left_out

PAGE = Path(__file__).with_name("report.html")
TOP, REASONS, BINS, BLOCKS = 10, 5, 40, 50
LEAST, A_DECADE, STEPS = -12, 50, 1200  # the histogram's finest steps: from 1e-12 to 1e12
HEAD = '<tr><th scope="col">feature</th><th scope="col">value</th><th scope="col" colspan="2">of the score</th></tr>'
WIDTH, HEIGHT = 400, 140  # of a drawing, in its own units


class Report:
    """What a table's rows scored, and its most suspicious rows; of any table it keeps a few thousand numbers.

    Args:
        model: of ``rapp fit``.
        source, skip: as for ``TableModel.parts``, whose errors are these.
    """

    def __init__(self, model: TableModel, source: str, skip: bool = False):
        self.model, self.n, self.n_novel, self.last = model, 0, 0, 0
        self.steps = np.zeros(STEPS, dtype=int)  # rows by the logarithm of their scores
        self.blocks, self.size = np.zeros((2, 2 * BLOCKS), dtype=int), 10  # of which each has: rows, novel ones
        nothing = np.zeros(0, dtype=int), np.zeros((0, len(model.features))), np.zeros(0)
        self.top = Part("", *nothing, Counter())  # at most ten rows, the highest scores first
        for part in model.parts(source, skip):
            self._add(part)

    def _add(self, part: Part) -> None:
        is_novel = part.scores > self.model.threshold
        self.n, self.n_novel = self.n + len(is_novel), self.n_novel + int(is_novel.sum())
        self.last = int(part.numbers.max(initial=self.last))
        self.steps += _steps(part.scores)
        while self.last > self.size * 2 * BLOCKS:  # each two blocks become one
            halves = self.blocks.reshape(2, BLOCKS, 2).sum(2)
            self.blocks, self.size = np.concatenate([halves, np.zeros_like(halves)], axis=1), 2 * self.size
        at = (part.numbers - 1) // self.size
        self.blocks += [np.bincount(rows, minlength=2 * BLOCKS) for rows in (at, at[is_novel])]
        top = self.top
        numbers, x = np.append(top.numbers, part.numbers), np.append(top.x, part.x, axis=0)
        first = np.argsort(-(scores := np.append(top.scores, part.scores)), kind="stable")[:TOP]
        self.top = Part(part.table, numbers[first], x[first], scores[first], part.left_out)

    def html(self) -> str:
        """The page."""
        model, normal, estimator = self.model, self.model.normal, self.model.estimator
        kind, n_features, bottleneck, *_ = estimator.architecture_
        rate, left_out = estimator.false_alarm_rate_, self.top.left_out
        page = Template(PAGE.read_text(encoding="utf-8")).substitute(
            table=escape(self.top.table), n=f"{self.n:,}", n_novel=f"{self.n_novel:,}", size=f"{self.size:,}",
            share=f"{self.n_novel / self.n:.1%}", threshold=f"{model.threshold:.4g}", rate=f"{rate:.1%}",
            left_out=f"{escape(told_left_out(left_out))}." if left_out else "",
            histogram=_histogram(self.steps, _steps(normal), model.threshold),
            blocks=_blocks(self.blocks, self.size, self.last, rate), rows=self._rows(),
            fitted_on=escape(model.table), n_rows=f"{model.n_rows:,}", n_normal=f"{len(normal):,}",
            model=kind.upper(), n_features=n_features, bottleneck=bottleneck, method=estimator.method_,
            columns=escape(", ".join(column.name for column in model.columns)), least=f"{1 / (len(normal) + 1):.2g}",
        )  # fmt: skip
        return page.encode("utf-8", "replace").decode("utf-8")  # a file's name can have what is no letter

    def _rows(self) -> str:
        names, top = self.model.features, self.top
        falls = self.model.estimator.explain(self.model.scaled(top.x)).to_numpy()
        p, texts = p_values(self.model.normal, top.scores), []
        for row, score, x, fall, value in zip(top.numbers, top.scores, top.x, falls, p, strict=True):
            kind = '<span class="novel">novel</span>' if score > self.model.threshold else "not above the threshold"
            reasons = "".join(
                f'<tr><th scope="row">{escape(names[j])}</th><td>{x[j]:.5g}</td><td>{fall[j] / score:.0%}</td>'
                f'<td class="wide"><div class="bar" style="width:{100 * fall[j] / score:.1f}%"></div></td></tr>'
                for j in np.argsort(-fall)[:REASONS]
                if fall[j] > 0
            )
            values = escape(", ".join(f"{name}: {text}" for name, text in self.model.values(x).items()))
            texts.append(
                f"<h3>Row {row}: {kind}, score {score:.4g}, p-value {value:.2g}</h3>\n<table>{HEAD}{reasons}</table>\n"
                f"<details><summary>All values of row {row}</summary><p>{values}</p></details>\n"
            )
        return "".join(texts)


def _steps(scores: np.ndarray) -> np.ndarray:
    """How many scores lie in each of the histogram's finest steps, (STEPS,); what is beyond counts as first or last."""
    steps = np.floor((np.log10(np.maximum(scores, 10.0**LEAST)) - LEAST) * A_DECADE).astype(int)
    return np.bincount(steps.clip(0, STEPS - 1), minlength=STEPS)


def _histogram(table: np.ndarray, normal: np.ndarray, threshold: float) -> str:
    limit = (np.log10(max(threshold, 10.0**LEAST)) - LEAST) * A_DECADE  # in steps
    below = np.cumsum(table / table.sum() + normal / normal.sum()) / 2
    least, most = (int(step) for step in np.searchsorted(below, [0.005, 0.99]))
    first, last = min(least, int(limit)), max(most, int(limit) + 1) + 1
    wide = -(-(last - first) // BINS)  # steps of a bar
    bins = np.arange(STEPS).clip(first, last - 1)
    shares = [np.bincount((bins - first) // wide, counts) / counts.sum() for counts in (table, normal)]
    tall, width = HEIGHT / np.max(shares), WIDTH / len(shares[0])
    line = " ".join(f"{x * width:.1f},{HEIGHT - y * tall:.1f}" for i, y in enumerate(shares[1]) for x in (i, i + 1))
    at = float(limit - first) / wide * width
    side = 'text-anchor="end" dx="-5"' if at > WIDTH / 2 else 'dx="5"'
    ends = (f"{10 ** (LEAST + step / A_DECADE):.3g}" for step in (first, first + wide * len(shares[0])))
    return _drawing(
        "Histogram of this table's scores, of held-out normal rows' scores, and the threshold",
        _bars(shares[0] * tall),
        f'<polyline points="{line}" fill="none" stroke="var(--normal)" stroke-width="2"/>',
        f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="var(--ink)" stroke-dasharray="5 4"/>',
        f'<text x="{at:.1f}" y="-4" {side}>threshold {threshold:.3g}</text>',
        _ends(f"{next(ends)} or less", "score (logarithmic)", f"{next(ends)} or more"),
    )


def _blocks(blocks: np.ndarray, size: int, last: int, rate: float) -> str:
    n_rows, n_novel = blocks[:, : -(-last // size)]
    shares = n_novel / np.maximum(n_rows, 1)
    most = max(shares.max(), 2 * rate)
    asked = HEIGHT * (1 - rate / most)
    return _drawing(
        f"Share of rows above the threshold over the file's order, at most {shares.max():.0%}",
        _bars(HEIGHT * shares / most),
        f'<path d="M0 {HEIGHT}H{WIDTH}M0 0H{WIDTH}" stroke="var(--faint)"/><text y="-4">{most:.0%}</text>',
        f'<path d="M0 {asked:.1f}H{WIDTH}" stroke="var(--ink)" stroke-dasharray="5 4"/>',
        _ends("row 1", "", f"row {last:,}"),
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
