"""Which published rows the numbers in a page's tables are means of, as the page's own code chose these rows."""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rapp.detectors import DETECTORS
from rapp.experiment import SCORES
from rapp.grid import cells
from rappbook import paper_tables, published, ranking
from rappbook.chapters import nobody_picked
from rappbook.chapters.adbench import halves_of

Line = dict[str, str]  # of a page's table: column → text; "heading" and "before" say what stands above the table
SECONDS = {"s to train": "seconds", "s / 1,000 rows": "seconds_per_1000"}


@dataclass(frozen=True)
class Trace:
    """A number is the mean of a column over some lines of a file of published rows."""

    column: str  # of the page's table
    file: str  # under book/
    lines: tuple[int, ...]  # as an editor counts them: the header is line 1
    of: str = "auroc"  # the file's column
    at: int = 0  # which number of the page's cell


@dataclass
class Page:
    """A page, what it was run with, and the published rows, each file read once."""

    name: str
    dataset: str = "mnist-5k"
    results: str = "paper"  # the profile whose rows it shows
    protocol: str = "shuffled"
    files: dict[str, pd.DataFrame] = field(default_factory=dict)
    texts: dict[str, pd.DataFrame] = field(default_factory=dict)

    def read(self, file: str) -> pd.DataFrame:
        """The rows of a file under book/, each with its file and line."""
        if file not in self.files:
            rows = pd.read_csv(published.BOOK / file, dtype={"target": str})
            rows = cells.completed(rows) if re.fullmatch(r"results/[^/]+\.csv", file) else rows
            texts = rows.select_dtypes(
                exclude=["number", "bool"]
            ).columns  # as plain objects: many small parts are taken
            self.files[file] = rows.astype(dict.fromkeys(texts, object)).assign(file=file, line=rows.index + 2)
        return self.files[file]

    def raw(self, file: str) -> pd.DataFrame:
        """A file as it stands there: all its values are texts, and the index counts its lines."""
        if file not in self.texts:
            rows = pd.read_csv(published.BOOK / file, dtype=object, na_filter=False)
            self.texts[file] = rows.set_index(rows.index + 2)
        return self.texts[file]

    def rows(self, profile: str = "", options: str = "") -> pd.DataFrame:
        """The rows of a profile, "" for the page's own, and of options that differ from it."""
        path = published.results_file(profile or self.results, options)
        return self.read(path.relative_to(published.BOOK).as_posix()) if path.exists() else published.our_rows("none")

    @functools.cached_property
    def chosen(self) -> pd.DataFrame:
        """``paper_tables.chosen`` of its own rows, with the paper's names for the data sets."""
        rows = paper_tables.chosen(self.rows())
        return rows.assign(named=rows["dataset"].map(published.NAMES))

    @functools.cached_property
    def compared(self) -> pd.DataFrame:
        """``ranking.compared`` of its own rows."""
        return ranking.compared(self.rows(), self.results)

    def digits(self, options: str = "") -> pd.DataFrame:
        """The rows of MNIST with a digit novel, for any number of epochs and in any precision."""
        return _same(self.rows("paper", options), dataset="mnist", setting="multimodal", contamination=0.0)

    def adbench(self, protocol: str = "") -> pd.DataFrame:
        """The rows of a way to split; "" for the page's own."""
        rows = self.read("results/adbench/rows.csv")
        return rows[rows["protocol"] == (protocol or self.protocol)]


def _trace(column: str, part: pd.DataFrame, of: str = "auroc", at: int = 0) -> Iterator[Trace]:
    """The trace to some rows; none to no rows, or to rows of several files."""
    if part["file"].nunique() == 1:
        yield Trace(column, part["file"].iloc[0], tuple(sorted(part["line"])), of, at)


def _same(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows with these values in the columns of these names."""
    kept = np.ones(len(rows), dtype=bool)
    for name, value in values.items():
        kept &= (rows[name] == value).to_numpy()
    return rows[kept]


def _worst(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of the class with the lowest mean."""
    return _same(part, target=part.groupby("target")["auroc"].mean().idxmin()) if len(part) else part


def full_scale(line: Line, page: Page) -> Iterator[Trace]:
    """The front page's: ours, the re-implementation's, the authors' chart."""
    model = line["model"].lower()
    theirs = _same(page.read("paper/reimplementation_runs.csv"), model=model, target="1")
    chart = _same(page.read("paper/mnist_per_digit.csv"), model=model, target="1")
    for score, column in SCORES.items():
        if line["source"] == "ours":
            epochs, precision = line["trained"].split(" epochs, ")
            rows = paper_tables.of_one_class(_same(page.digits(), model=model, score=score), "mnist", "1")
            yield from _trace(column, _same(rows, epochs=int(epochs), precision=precision))
        elif line["trained"] == "not stated":
            yield from _trace(column, _same(chart[chart["source"].str.contains("bars")], score=score))
        else:
            yield from _trace(column, theirs, of=score)


def runs(line: Line, page: Page) -> Iterator[Trace]:
    """``paper_tables.runs`` of the digit 1; with "whose" it is the re-implementation's network."""
    model = line["model"].lower()
    if line.get("whose") == "theirs":
        theirs = _same(page.read("paper/reimplementation_runs.csv"), model=model, target="1")
        for score, column in SCORES.items():
            yield from _trace(column, theirs, of=score)
    else:
        digits = page.digits("layers=reimplementation" if "whose" in line else "")
        part = _same(digits, target="1", model=model, precision=line["precision"], epochs=int(line["epochs"]))
        for score, column in SCORES.items():
            yield from _trace(column, _same(part, score=score))


def ten_digits(line: Line, page: Page) -> Iterator[Trace]:
    """The mean over the ten digits: ours after some epochs, the paper's, the re-implementation's."""
    model = line["model"].lower()
    files = {"paper": "paper/table2.csv", "re-implementation": "paper/reimplementation.csv"}
    if line["whose"] in files:
        rows = _same(page.read(files[line["whose"]]), dataset="MNIST", setting="multimodal", model=model)
    else:
        digits = page.digits("layers=reimplementation" if line["layers"] == "re-implementation's" else "")
        rows = _same(digits, model=model, epochs=int(line["epochs"]), precision=line["precision"])
        rows = rows[rows.groupby("seed")["target"].transform("nunique") == published.CLASSES["MNIST"]]
    for score, column in SCORES.items():
        yield from _trace(column, _same(rows, score=score))


def table2(line: Line, page: Page) -> Iterator[Trace]:
    """``paper_tables.for_page`` and ``ledger.outside``: ours first, then the paper's."""
    setting = line.get("setting") or line["before"].split()[-1]
    block = {"setting": setting, "model": line["model"]}
    ours = _same(page.chosen, named=line["dataset"], **block)
    paper = _same(page.read("paper/table2.csv"), dataset=line["dataset"], **block)
    for score, column in SCORES.items():
        if "score" not in line:
            yield from _trace(column, _same(ours, score=score))
            yield from _trace(column, _same(paper, score=score), at="pending" not in line[column])
        elif line["score"] == score:
            yield from _trace("ours", _same(ours, score=score))
            yield from _trace("paper", _same(paper, score=score))


def table3(line: Line, page: Page) -> Iterator[Trace]:
    """Our rivals beside the paper's."""
    block = {"setting": line["setting"]}
    text = line[paper_tables.NUMBER]
    for (model, score), method in paper_tables.RIVALS_OF_TABLE3.items():
        if method == line["method"]:
            ours = _same(page.chosen, named=line["dataset"], model=model, score=score, **block)
            yield from _trace(paper_tables.NUMBER, ours)
    paper = _same(page.read("paper/table3.csv"), dataset=line["dataset"], method=line["method"], **block)
    yield from _trace(paper_tables.NUMBER, paper, at="pending" not in text)


def swings(line: Line, page: Page) -> Iterator[Trace]:
    """``ledger.spread`` of STL."""
    part = _same(page.rows(), dataset="steel", score="nap", setting=line["setting"], target=line["class"])
    yield from _trace("mean", part)
    for column, extreme in (("lowest", part["auroc"].min()), ("highest", part["auroc"].max())):
        yield from _trace(column, _same(part, auroc=extreme))


def rivals(line: Line, page: Page) -> Iterator[Trace]:
    """``paper_tables.reported``."""
    by_title = {known.title: name for name, known in DETECTORS.items()}
    model, classes = by_title[line["method"]], line["classes"].split(", ")
    theirs = page.read("paper/rivals.csv").fillna({"target": ""})
    theirs = theirs[(theirs["dataset"] == line["data"]) & theirs["model"].isin([model, model.removesuffix("-8")])]
    theirs = theirs[theirs["target"].isin(["", *classes])]
    for score in theirs["score"].unique():
        for path in sorted((published.BOOK / "results").glob("*.csv")):
            if path.name == published.PLAN:
                continue
            ours = _same(page.read(f"results/{path.name}"), dataset=line["data"], model=model, score=score)
            ours = _same(ours, setting="unimodal", contamination=0.0)
            ours = ours[ours["target"].isin(classes)]
            yield from _trace("ours", ours[(ours["profile"] + " " + ours["changes"]).str.strip() == line["profile"]])
    whole = "mean" in line["reported"]
    yield from _trace("reported", theirs[(theirs["target"] == "") == whole])


def ranked(line: Line, page: Page) -> Iterator[Trace]:
    """``ranking.ranked``."""
    setting = "unimodal" if "normal" in line["heading"] else "multimodal"
    rows = _same(page.compared, dataset=page.dataset, setting=setting, method=line["method"], contamination=0.0)
    yield from _trace("mean AUROC", rows)
    yield from _trace("worst class", _worst(rows))
    for column in line:
        if column.startswith("class "):
            yield from _trace(column, _same(rows, target=column.removeprefix("class ")))
    for column, of in SECONDS.items():
        yield from _trace(column, rows, of=of)


def pairs(line: Line, page: Page) -> Iterator[Trace]:
    """``ranking.out_of_distribution``."""
    for column in line:
        yield from _trace(
            column, _same(page.compared, dataset=column, method=line["method"], setting="out-of-distribution")
        )


def advice(line: Line, page: Page) -> Iterator[Trace]:
    """``ranking.advice``: several methods with a number each."""
    question = line["question"]
    setting = "unimodal" if re.search(r"\bone class\b", question, re.I) else "multimodal"
    rows = _same(page.compared, dataset=page.dataset, setting=setting)
    share = rows["contamination"].max() if "are novel" in question else 0.0
    for at, method in enumerate(re.findall(r"(?:^|; )(.+?) \d\.\d{3}", line["best"])):
        part = _same(rows, method=method, contamination=share)
        yield from _trace("best", _worst(part) if "worst" in question else part, at=at)


def side_by_side(line: Line, page: Page) -> Iterator[Trace]:
    """``ranking.side_by_side``."""
    words = line["measured"]
    setting = "unimodal" if words.startswith("one normal") else "multimodal"
    of = "seconds" if "to train" in words else "seconds_per_1000" if "to score" in words else "auroc"
    for method in line:
        part = _same(page.compared, dataset=page.dataset, setting=setting, method=method, contamination=0.0)
        if "change" not in words:
            yield from _trace(method, _worst(part) if "worst" in words else part, of=of)


def more_samples(line: Line, page: Page) -> Iterator[Trace]:
    """``ranking.more_samples``."""
    rows = page.compared if line["profile"] == page.results else Page(page.name, files=page.files).chosen
    rows = rows if "method" in rows else rows.merge(ranking.methods(), on=["model", "score"])
    rows = _same(rows, dataset=line["data"], method=line["method"], setting="multimodal", contamination=0.0)
    rows = rows[(rows["profile"] + " " + rows["changes"]).str.strip() == line["profile"]]
    yield from _trace("AUROC", rows)
    yield from _trace("s / 1,000 rows", rows, of="seconds_per_1000")


def of_tables(line: Line, page: Page) -> Iterator[Trace]:
    """Chapter 12's rankings: a method's mean over all tables, its worst five, or the columns of a table."""
    rows = nobody_picked.compared(page.adbench())
    if "table" in line:
        for column in line:
            yield from _trace(column, _same(rows, table=line["table"], name=column))
        return
    rows = _same(rows, name=line["method"])
    worst = rows.groupby("table")["auroc"].mean().nsmallest(5).index
    yield from _trace("mean AUROC", rows)
    yield from _trace("on the other half", rows[rows["table"].map(halves_of(rows["table"].unique())) == 2])
    yield from _trace("mean of the worst five", rows[rows["table"].isin(worst)])


def splits(line: Line, page: Page) -> Iterator[Trace]:
    """Chapter 12's two ways to split, over the tables that have rows of both."""
    both = {name: nobody_picked.compared(page.adbench(name)) for name in ("shuffled", "DTE")}
    shared = set.intersection(*(set(rows["table"]) for rows in both.values()))
    for name, rows in both.items():
        yield from _trace(name, _same(rows[rows["table"].isin(shared)], name=line["method"]))


def neighbours(line: Line, page: Page) -> Iterator[Trace]:
    """``nobody_picked.neighbours_against_nap``."""
    rows = _same(page.adbench(), method=line["network"].replace("before", nobody_picked.BEFORE))
    for column, score in (("NAP", "nap"), (nobody_picked.SCORES[nobody_picked.OURS], nobody_picked.OURS)):
        yield from _trace(column, _same(rows, score=score))


def selection(line: Line, page: Page) -> Iterator[Trace]:
    """``nobody_picked.selection``."""
    rows = page.adbench("shuffled")
    half = rows["table"].map(halves_of(rows["table"].unique()))
    rows = rows.assign(half=half)
    for i in (1, 2):
        name = line["candidate"].replace("before", nobody_picked.BEFORE)
        yield from _trace(f"AUROC, half {i}", _same(rows, method=name, score="nap", half=i))


def networks(line: Line, page: Page) -> Iterator[Trace]:
    """The playground's: a row for each network and score."""
    score = {"reconstruction": "recon"}.get(line["score"], line["score"].lower())
    rows = _same(page.read("results/playground/networks.csv"), unseen=int(line["unseen"]), score=score)
    for column in line:
        if column in rows and column not in ("unseen", "score"):
            yield from _trace(column, rows, of=column)


# Pages, and for each of their tables: columns by which it is known, and whose rows its numbers are of.
TABLES: dict[str, dict[tuple[str, ...], Callable[[Line, Page], Iterator[Trace]]]] = {
    "intro": {("source", "trained", "recon"): full_scale},
    "playground": {("unseen", "auroc shipped"): networks},
    "09_who_wins_where": {
        ("rank", "mean AUROC"): ranked, ("question", "best"): advice, ("measured",): side_by_side,
        ("data", "AUROC"): more_samples, ("method", "*"): pairs,
    },
    "10_paper_tables": {
        ("dataset", "model", "recon", "seeds"): table2, ("score", "ours", "paper"): table2,
        ("dataset", "method", paper_tables.NUMBER): table3, ("whose", "layers"): ten_digits,
        ("model", "precision", "runs"): runs, ("class", "splits", "lowest"): swings,
        ("data", "reported", "ours"): rivals,
    },
    "11_why_nap_works": {("model", "precision", "runs"): runs},
    "12_tables_nobody_picked": {
        ("method", "mean AUROC"): of_tables, ("table", "training rows"): of_tables,
        ("method", "mean of the worst five"): of_tables, ("method", "shuffled", "DTE"): splits,
        ("network", "NAP"): neighbours, ("candidate",): selection,
    },
}  # fmt: skip
