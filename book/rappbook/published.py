"""Numbers to stand beside ours: published ones, retyped (book/paper/), and our own earlier runs (book/results/)."""

import functools
import gzip
import re
from pathlib import Path

import pandas as pd

from rapp import evaluation
from rapp.cache import write_atomically, write_text
from rapp.data import DataError
from rapp.experiment import SCORES
from rapp.grid import cells
from rapp.models import MODELS
from rappbook import ablations as changed

BOOK = Path(__file__).parents[1]
NAMES = {  # ours → the paper's
    "mnist": "MNIST", "mnist-5k": "MNIST", "fashion-mnist": "F-MNIST",
    "steel": "STL", "otto": "OTTO", "sensorless": "SNSR", "mill-finished": "MI-F", "mill-inspected": "MI-V",
    "hrss": "EOPT", "asteroids": "NASA", "robot-arm": "RARM",
}  # fmt: skip
CLASSES = {"STL": 7, "OTTO": 9, "SNSR": 11, "MNIST": 10, "F-MNIST": 10}  # that take turns; of others one is fixed
COLUMNS = ["source", "model", "score", "auroc"]
PLAN = "plan.csv"  # of what should be published, beside what is


def retyped(name: str) -> pd.DataFrame:
    """A file of book/paper/."""
    path = BOOK / "paper" / name
    if not path.exists():
        raise DataError(
            f"{path} is missing: rappbook must be installed from its checkout (pip install --editable ./book)"
        )
    return pd.read_csv(path, dtype={"target": str})


def per_class(dataset: str, target: str | None = None) -> pd.DataFrame:
    """The authors' AUROCs of a VAE on MNIST with each digit as the novel one, read off a chart in their post (± 0.01).

    Returns:
        source, model, score, target, auroc; of one target or of all; no rows if ``dataset`` has not MNIST's digits.
    """
    rows = retyped("mnist_per_digit.csv")
    rows = rows[rows["source"].str.contains("bars") & (NAMES.get(dataset) == "MNIST")]
    return rows[rows["target"] == target if target else slice(None)].assign(source="authors' post")


def means(dataset: str, setting: str = "multimodal") -> pd.DataFrame:
    """Means over all classes: the paper's Table 2, and the known re-implementation's.

    The latter are of 200 epochs, two runs a class of AE and AAE and one of the VAE.

    Returns:
        source, model, score, auroc; without rows for a data set that neither has.
    """
    files = {"paper": "table2.csv", "re-implementation": "reimplementation.csv"}
    rows = pd.concat([retyped(file).assign(source=source) for source, file in files.items()])
    return rows[(rows["dataset"] == NAMES.get(dataset)) & (rows["setting"] == setting)][COLUMNS]


def reimplementation_runs(target: str) -> pd.DataFrame:
    """The re-implementation's runs on MNIST with one digit novel, in the columns of ours that are known of them."""
    rows = retyped("reimplementation_runs.csv")
    rows = rows[rows["target"] == target].rename(columns={"trial": "seed"})
    rows = rows.melt(["model", "target", "seed"], list(SCORES), var_name="score", value_name="auroc")
    return rows.assign(precision="not stated", epochs=200)


def results_file(profile: str, options: str = "") -> Path:
    """Where our own rows of a profile are published: Table 2 has the paper's, of any epochs and precision."""
    name = f"{profile} {options}".strip()
    stem = "table2" if name == "paper" else re.sub(r"[^\w.]+", "-", name)
    return BOOK / "results" / f"{stem}.csv"


def our_rows(profile: str, options: str = "") -> pd.DataFrame:
    """Our published rows of a profile, of any epochs and precision, as ``cells.collect``; none yet: no rows."""
    return _rows(results_file(profile, options))


def _rows(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=list(cells.COLUMNS))
    return cells.completed(pd.read_csv(path, dtype={"target": str}))


def all_rows() -> pd.DataFrame:
    """Our published rows of all profiles."""
    paths = [path for path in sorted((BOOK / "results").glob("*.csv")) if path.name != PLAN]
    return pd.concat([_rows(path) for path in paths], ignore_index=True) if paths else _rows(results_file("paper"))


def publish(rows: pd.DataFrame) -> list[Path]:
    """Put rows of ``cells.collect`` among the published ones, in place of older ones of the same cells.

    Returns:
        The files that were written.
    """
    written = []
    for _, new in rows.groupby(["profile", "options"]):
        profile, options = new[["profile", "options"]].iloc[0]
        written.append(results_file(profile, options))
        _merge(our_rows(profile, options), new, [*cells.KEY, "score"], written[-1])
    return written


def _merge(old: pd.DataFrame, new: pd.DataFrame, key: list[str], path: Path) -> None:
    merged = pd.concat([old, new.astype({"target": str})] if len(old) else [new])
    merged = merged.drop_duplicates(key, keep="last").sort_values(key[:-1], kind="stable")
    write_text(path, merged.to_csv(index=False, lineterminator="\n"))


def adbench(protocol: str) -> pd.DataFrame:
    """Rows of ``chapters.adbench``: a line for each table, seed, method and score of one way to split.

    Raises:
        DataError: no rows are split in such a way.
    """
    rows = pd.read_csv(BOOK / "results" / "adbench" / "rows.csv")
    if protocol not in set(rows["protocol"]):
        raise DataError(f"protocol={protocol!r} is unknown; allowed: {', '.join(rows['protocol'].unique())}")
    return rows[rows["protocol"] == protocol]


def ablations(dataset: str = "*") -> pd.DataFrame:
    """Published rows of ``ablations.collect``, of a data set or of all; none yet: no rows."""
    paths = sorted((BOOK / "results" / "ablations").glob(f"{dataset}.csv"))
    parts = [pd.read_csv(path, dtype={"target": str, "value": str}) for path in paths]
    return changed.completed(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=changed.COLUMNS))


def publish_ablations(rows: pd.DataFrame) -> list[Path]:
    """``publish`` for rows of ``ablations.collect``: a file for each data set, apart from all other rows."""
    written = []
    for dataset, new in rows.groupby("dataset"):
        written.append(BOOK / "results" / "ablations" / f"{dataset}.csv")
        _merge(ablations(str(dataset)), new, changed.KEY, written[-1])
    return written


def publish_scores(*folders: Path) -> list[Path]:
    """Put what each test row scored in some finished cells beside the published rows.

    Returns:
        The files: row (in the data set), is_novel, and a column per score.
    """
    written = []
    for cell, text in cells.kept_scores(*folders):
        words = re.sub(r"[^\w.]+", "-", cell)
        written.append(BOOK / "results" / "scores" / f"{words}.csv.gz")
        body = gzip.compress(text.encode(), mtime=0)  # without the time, equal scores are equal files
        write_atomically(written[-1], functools.partial(Path.write_bytes, data=body))
    return written


def from_scores() -> pd.DataFrame:
    """Scores of single samples, judged anew: file, score, samples, auroc, aupr, found (of the novel, at 5 % alarms)."""
    found = []
    for path in sorted((BOOK / "results" / "scores").glob("*.csv.gz")):
        frame = pd.read_csv(path)
        for score in frame.columns.drop(["row", "is_novel"]):
            is_novel, scores = frame["is_novel"].astype(bool), frame[score]
            judged = [measure(is_novel, scores) for measure in (evaluation.auroc, evaluation.aupr)]
            judged.append((scores[is_novel] > evaluation.threshold(scores[~is_novel])).mean())
            found.append([path.name.removesuffix(".csv.gz"), score, len(frame), *judged])
    return pd.DataFrame(found, columns=["file", "score", "samples", "auroc", "aupr", "found"])


def committed(dataset: str, profile: str) -> tuple[pd.DataFrame, str]:
    """Our published rows of the autoencoders on a data set, multimodal, and where they come from, in words.

    If there are none, the frame is empty and the words are "".

    Returns:
        As ``experiment.rows_of``.
    """
    rows = our_rows(profile)
    rows = rows[(rows["dataset"] == dataset) & (rows["changes"] == "") & rows["model"].isin(list(MODELS))]
    rows = rows[(rows["setting"] == "multimodal") & (rows["contamination"] == 0)]
    names = {"epochs": "epochs", "seed": "seeds", "device": "device", "torch": "torch", "commit": "commit"}
    words = [f"{word} {', '.join(map(str, sorted(rows[name].unique())))}" for name, word in names.items() if len(rows)]
    return rows, ", ".join(words)


def full_scale(dataset: str, model: str) -> tuple[pd.DataFrame, str]:
    """Our published rows of a model at full scale, multimodal, of the most classes and then the most epochs.

    Args:
        dataset: one whose images they are, or some of them.
        model: as in ``rapp.models``.

    Returns:
        Rows as ``our_rows``, and what they are, in words; without rows the words are "".
    """
    rows = our_rows("paper")
    same = rows["dataset"].map(NAMES.get) == NAMES.get(dataset, "none of these")
    rows = rows[same & (rows["model"] == model) & (rows["setting"] == "multimodal") & (rows["contamination"] == 0)]
    if rows.empty:
        return rows, ""
    kinds = rows.groupby("changes").agg(classes=("target", "nunique"), epochs=("epochs", "max"))
    rows = rows[rows["changes"] == kinds.sort_values(["classes", "epochs"]).index[-1]]
    return rows, f"{rows['dataset'].iloc[0]}, the paper's network, {rows['epochs'].max():.0f} epochs"


def about(profile: str) -> dict[str, object]:
    """What published rows came from."""
    found: dict[str, object] = {}
    for changes, rows in our_rows(profile).groupby("changes"):
        columns = ("dataset", "seed", "epochs", "device", "precision", "torch", "commit")
        told = [f"{name} {', '.join(map(str, sorted(rows[name].unique())))}" for name in columns]
        hours = rows.drop_duplicates(cells.KEY)["seconds"].sum() / 3600
        found[f"rows of {profile} {changes}".strip()] = "; ".join([*told, f"hours of training {hours:.2f}"])
    return found


def compare(ours: pd.DataFrame, published: pd.DataFrame, unit: str = "seeds") -> pd.DataFrame:
    """Our mean ± std next to each published value with the difference, ours − theirs, in brackets.

    Args:
        ours: model, score, auroc (a row per seed, or per whatever ``unit`` says).
        published: source, model, score, auroc.
        unit: what the mean is taken over.
    """
    table = evaluation.mean_std(ours, ["model", "score"])
    spread = table["std"].map(lambda std: "" if pd.isna(std) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{std:.3f}")
    shown = pd.DataFrame(
        {
            "model": table["model"].str.upper(),
            "score": table["score"].map(SCORES),
            "ours": table["mean"].map("{:.3f}".format) + spread,
            unit: table["seeds"],
        }
    )
    for source in published["source"].unique():
        theirs = published[published["source"] == source]
        value = table.merge(theirs, how="left", on=["model", "score"])["auroc"]
        gap = table["mean"] - value
        text = value.map("{:.3f}".format) + gap.map(" ({:+.3f})".format)
        shown[f"{source} (difference)"] = text.where(value.notna(), "–")
    return shown
