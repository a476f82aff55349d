"""rapp fit and rapp score, as commands in one process."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rapp import RaPP, cli, load, save_whitening, table_model
from rapp.cache import DamagedFileError
from rapp.progress import Progress

QUICK = ["--epochs", "3"]


def rows(n=200, seed=0):
    """A table of numbers that go together, a text, a row number and a state, in which the last rows are faulty."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(n, 3))
    frame = pd.DataFrame(x, columns=["heat", "noise", "speed"])
    frame["kind"] = np.where(rng.random(n) < 0.5, "a", "b")
    frame["state"] = "ok"
    frame.loc[n - 20 :, "state"] = np.where(np.arange(20) % 2, "crack", "dent")
    frame.loc[n - 20 :, "noise"] += 8
    frame.insert(0, "nr", np.arange(n))
    return frame


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows().to_csv("train.csv", index=False)

    def words(*told):
        status = cli.main([str(word) for word in told])
        out = capsys.readouterr()
        return status, out.out, out.err

    return words


def test_a_table_is_fitted_and_scored(run, tmp_path):
    status, out, err = run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", "--epochs", 60)
    assert status == 0, err
    assert "180 rows with state=ok are normal, 20 are left out" in err
    assert "dropped as row number: nr" in err
    assert "5 features" in out
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["rapp.safetensors"]
    new = rows(seed=1).drop(columns=["state", "nr"])
    new[new.columns[::-1]].to_csv("new.csv", index=False, sep=";")  # another order, another separator
    status, _, err = run("score", "model", "new.csv", "--out", "scores.csv")
    assert status == 0, err
    scores = pd.read_csv("scores.csv")
    assert list(scores.columns) == ["row", "score", "p_value", "is_novel", "reason_1", "reason_2", "reason_3"]
    assert scores["row"].tolist() == list(range(1, 201))
    assert scores["is_novel"][180:].all()
    assert (scores["reason_1"][180:] == "noise").mean() >= 0.8
    assert scores["is_novel"][:180].mean() < 0.25
    assert f"{scores['is_novel'].sum()} of 200 rows are novel" in err
    new.to_parquet("new.parquet")
    assert run("score", "model", "new.parquet", "--out", "again.csv")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv("again.csv"), scores, rtol=1e-5)


def test_parts_of_a_large_file_are_scored_as_the_whole(run, monkeypatch):
    assert run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)[0] == 0
    _, whole, _ = run("score", "model", "train.csv")
    monkeypatch.setattr("rapp.table_model.CHUNK", 7)
    _, parts, _ = run("score", "model", "train.csv")
    assert parts.splitlines()[0] == whole.splitlines()[0]
    one, other = (pd.read_csv(io.StringIO(text)) for text in (whole, parts))
    assert one["row"].tolist() == other["row"].tolist()
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-4)


def test_a_model_knows_that_its_numbers_had_decimal_commas(run, monkeypatch):
    numbers = np.random.default_rng(0).normal([500, 5], [90, 1], (120, 2)).round(3)
    numbers[0], numbers[-1] = (0.5, 4.25), (512.25, 1.125)
    lines = ["a;b", *(f"{a:.3f};{b:.3f}".replace(".", ",") for a, b in numbers)]
    for name, kept in (("whole.csv", lines), ("one.csv", [lines[0], lines[-1]])):
        Path(name).write_text("\n".join(kept) + "\n")
    assert run("fit", "whole.csv", "--out", "model", *QUICK)[0] == 0
    monkeypatch.setattr("rapp.table_model.CHUNK", 119)  # the last part has one row, of numbers that could be thousands
    last = [run("score", "model", name)[1].splitlines()[-1].split(",")[1:] for name in ("whole.csv", "one.csv")]
    assert last[0] == last[1]
    assert float(last[0][0]) < 1e6


@pytest.mark.parametrize(("kind", "odd"), [("decimal commas", "n/a"), ("truth", "n/a"), ("truth", "-1")])
def test_one_odd_word_costs_one_row(run, kind, odd):
    numbers = np.random.default_rng(0).normal(size=(120, 2)).round(3)
    words = [f"{a:.3f};{b:.3f}".replace(".", ",") for a, b in numbers]
    if kind == "truth":
        words = [f"{a:.3f};{b > 0}" for a, b in numbers]
    Path("whole.csv").write_text("\n".join(["a;b", *words]) + "\n")
    Path("odd.csv").write_text("\n".join(["a;b", *words[:50], words[50].split(";")[0] + f";{odd}", *words[51:]]) + "\n")
    assert run("fit", "whole.csv", "--out", "model", *QUICK)[0] == 0
    whole, (status, out, err) = (
        run("score", "model", "whole.csv")[1],
        run("score", "model", "odd.csv", "--on-missing", "skip"),
    )
    assert (status, "1 rows were left out: 'b' is no number in 1" in err) == (0, True)
    assert out.splitlines() == [line for line in whole.splitlines() if not line.startswith("51,")]
    assert f"'b' is '{odd}', no number of at most 1e100 in data row 51" in run("score", "model", "odd.csv")[2]


def test_row_numbers_are_known_by_the_whole_table(run):
    frame = rows().sample(frac=1, random_state=0).assign(nr=range(200))  # normal rows alone are numbered with gaps
    frame.to_csv("mixed.csv", index=False)
    status, out, err = run("fit", "mixed.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    assert (status, out.split()[0], "dropped as row number: nr" in err) == (0, "5", True)


def test_columns_of_other_kinds_in_parquet_are_no_row_numbers(run):
    frame = rows().assign(took=pd.to_timedelta(np.arange(200), unit="s"), none=pd.array([None] * 200, dtype="Int64"))
    frame.to_parquet("kinds.parquet")
    status, _, err = run("fit", "kinds.parquet", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    assert (status, "dropped as empty: none" in err) == (0, True)
    rows()[["nr", "state"]].to_csv("numbers.csv", index=False)
    status, _, err = run("fit", "numbers.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    assert (status, "no column is left to learn from; add a column of numbers" in err) == (2, True)


def test_a_home_that_is_not_there_is_a_name(run):
    run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    assert run("score", "model", "train.csv", "--out=~nobody-is-called-so.csv")[0] == 0
    assert Path("~nobody-is-called-so.csv").exists()


def test_reasons_are_features_that_lower_the_score(run):
    run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    scores = pd.read_csv(io.StringIO(run("score", "model", "train.csv")[1]), keep_default_na=False)
    model = table_model.read(Path("model"))
    (part,) = model.parts("train.csv")
    novel = scores["is_novel"].to_numpy()
    helpful = (model.estimator.explain(model.scaled(part.x[novel])).to_numpy() > 0).sum(1)
    told = (scores.loc[novel, ["reason_1", "reason_2", "reason_3"]] != "").sum(axis=1)
    assert told.tolist() == np.minimum(helpful, 3).tolist()


def test_a_home_is_found_and_other_formats_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out=~/model", *QUICK)
    assert run("score", "~/model", "train.csv", "--out=~/scores.csv")[0] == 0
    assert (tmp_path / "home" / "scores.csv").exists()
    assert not Path("~").exists()
    status, _, err = run("score", "~/model", "train.csv", "--out", "scores.csv.gz")
    assert (status, "scores are written as plain CSV" in err) == (2, True)


def test_pipes_devices_and_links_stay_what_they_are(run):
    run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    _, expected, _ = run("score", "model", "train.csv")
    Path("target.csv").write_text("old")
    Path("link.csv").symlink_to("target.csv")
    assert run("score", "model", "train.csv", "--out", "link.csv")[0] == 0
    assert Path("link.csv").is_symlink()
    assert Path("target.csv").read_text() == expected
    assert run("score", "model", "train.csv", "--out", "-")[1] == expected
    assert not Path("-").exists()
    os.mkfifo("pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_text()))
    reader.start()
    run("score", "model", "train.csv", "--out", "pipe")
    reader.join(60)
    assert found == [expected]
    assert Path("pipe").is_fifo()


def test_a_tables_model_is_not_loaded_without_its_scaling_nor_written_over(run):
    run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    with pytest.raises(DamagedFileError, match="rapp score model TABLE"):
        load("model")
    x = np.random.default_rng(0).normal(size=(100, 3))
    estimator = RaPP(epochs=1, random_state=0).fit(x)
    with pytest.raises(ValueError, match=r"model holds the model of a table .*name another folder"):
        estimator.save("model")
    with pytest.raises(ValueError, match="would lose it to a Whitening"):
        save_whitening(estimator.pathway_.whitening, "model")
    estimator.save("estimator")
    status, _, err = run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "estimator", *QUICK)
    assert (status, "estimator holds a RaPP" in err, "epochs on" in err) == (2, True, False)  # before the work
    estimator.save("estimator")


@pytest.mark.parametrize(("normal", "n"), [("1", 60), ("01", 40), ("2.0", 0)])
def test_normal_is_a_word_of_the_file(run, normal, n):
    frame = rows().drop(columns="state").assign(code=np.repeat(["1", "01", "2"], [60, 40, 100]))
    frame.to_csv("codes.csv", index=False)
    status, _, err = run("fit", "codes.csv", "--label", "code", "--normal", normal, "--out", "model", *QUICK)
    assert (f"{n} rows with code={normal} are normal" in err) if n else (status == 2)
    floats = frame.assign(code=np.repeat([1.0, 0.0], 100))
    floats.to_csv("floats.csv", index=False)
    assert "100 rows with code=1 are" in run("fit", "floats.csv", "--label=code", "--normal=1.0", "--out=m", *QUICK)[2]


def test_standard_input_and_output(run, monkeypatch):
    text = rows().drop(columns=["state"]).to_csv(index=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run("fit", "-", "--out", "model", *QUICK)[0] == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(("\ufeff" + text.replace(",", "\t")).encode())))
    status, out, err = run("score", "model", "-")
    assert status == 0, err
    assert len(out.splitlines()) == 201
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run("score", "model", "-", "--out", "-")[:2] == (0, out)


def test_rows_that_cannot_be_scored_are_refused_or_counted(run):
    assert run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)[0] == 0
    new = rows().astype({"heat": object})
    new.loc[3, "heat"], new.loc[5, "kind"], new.loc[8, "heat"] = np.nan, "c", "hot"
    new.to_csv("new.csv", index=False)
    status, out, err = run("score", "model", "new.csv", "--out", "scores.csv")
    assert status == 2
    assert err.startswith("error: new.csv: column 'heat' is missing in data row 4; correct it, or leave such rows out")
    assert not pd.io.common.file_exists("scores.csv")
    status, out, err = run("score", "model", "new.csv", "--on-missing", "skip")
    assert status == 0
    why = "'heat' is missing in 1, 'heat' is no number in 1, 'kind' is a new category in 1"
    assert f"new.csv: 3 rows were left out: {why}" in err
    scored = pd.read_csv(io.StringIO(out))["row"]
    assert not {4, 6, 9} & set(scored)
    assert len(scored) == 197


def test_rows_are_named_as_they_stand_in_the_file(run):
    rows().astype({"heat": object}).sort_values("state").assign(
        heat=lambda t: t["heat"].mask(t["nr"] == 50, "")
    ).to_csv("new.csv", index=False)
    status, _, err = run("fit", "new.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)
    assert status == 2
    row = pd.read_csv("new.csv")["nr"].tolist().index(50) + 1
    assert f"column 'heat' has 1 missing values (blank), the first in data row {row};" in err
    pd.DataFrame(columns=["heat", "state"]).to_csv("none.csv", index=False)
    assert "none.csv has no rows" in run("fit", "none.csv", "--label", "state", "--normal", "ok", "--out", "m")[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fit", "none.csv", "--out", "m"], "'none.csv': there is no such file"),
        (
            ["fit", "train.csv", "--label", "status", "--normal", "ok", "--out", "m"],
            "no column 'status'; it has 'nr'",
        ),
        (
            ["fit", "train.csv", "--label", "state", "--out", "m"],
            "say both or none of --label COLUMN and --normal VALUE",
        ),
        (["fit", "train.csv", "--label", "state", "--normal", "fine", "--out", "m"], "there are 'crack', 'dent', 'ok'"),
        (["fit", "train.csv", "--out", "m", "--epochs", "0"], "epochs=0"),
        (["fit", "train.csv", "--out", "m", "--false-alarm-rate", "0.001"], "needs 999 rows that calibrate"),
        (["fit", "train.csv", "--out", "train.csv/model"], "train.csv is a file; name another folder"),
        (["fit", "train.csv", "--out", "m", "--seed", "-1"], "seed=-1 must be at least 0 and below 2^32"),
        (["fit", ".", "--out", "m"], "'.' is a folder; write the table as one file"),
        (["fit", "train.csv", "--out", "there"], "out=there is there, and no model of rapp"),
        (["fit", "train.csv", "--out", "train.csv"], "out=train.csv is there, and no model of rapp"),
        (["score", "m", "train.csv"], "m holds no model of a table; rapp fit TABLE --out m makes one"),
        (["fit", "binary.csv", "--out", "m"], "binary.csv"),
        (["fit", "empty.csv", "--out", "m"], "empty.csv"),
    ],
)
def test_what_cannot_be_used_is_one_line(run, tmp_path, words, says):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").touch()
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "empty.csv").write_bytes(b"")
    status, _, err = run(*words)
    assert status == 2
    *_, line = err.strip().splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "m").exists()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes.txt"]


def test_an_altered_model_is_told_and_an_older_one_is_replaced(run, tmp_path):
    words = ["fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model"]
    assert run(*words, *QUICK)[0] == 0
    assert run(*words, *QUICK, "--method", "sap")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "train.csv"]
    file = tmp_path / "model" / "rapp.safetensors"
    file.write_bytes(file.read_bytes().replace(b"heat", b"heap", 1))
    status, _, err = run("score", "model", "train.csv")
    assert status == 2
    assert "rapp.safetensors does not match its own SHA-256" in err


def generated(rng):
    """A CSV as people have them: some sound, many not."""
    n, separator = int(rng.integers(0, 60)), str(rng.choice([",", ";", "\t", "|"]))
    frame = rows(max(n, 25), int(rng.integers(1000)))[:n].astype(object)
    for _ in range(int(rng.integers(0, 4))):
        if not len(frame):
            break
        row, column = int(rng.integers(len(frame))), str(rng.choice(frame.columns))
        holes = ["", "NaN", "inf", "?", "1,5", "12 %", "é", '"', "\x00", 1e308, -0.0, "2020-01-01", " ", "None"]
        frame.loc[row, column] = holes[int(rng.integers(len(holes)))]
    text = frame.to_csv(index=bool(rng.random() < 0.1), sep=separator, lineterminator=str(rng.choice(["\n", "\r\n"])))
    if rng.random() < 0.1:
        text = text.replace("noise", "heat", 1)
    if rng.random() < 0.1:
        text = text[: int(rng.integers(len(text) + 1))]
    if rng.random() < 0.05:
        text = text.replace("\n", separator + "\n")
    return text.encode(str(rng.choice(["utf-8", "utf-8-sig", "latin-1", "utf-16"], p=[0.7, 0.1, 0.1, 0.1])))


@pytest.mark.filterwarnings("ignore")
def test_three_hundred_generated_files_end_in_a_model_or_in_one_line(run, tmp_path):
    rng, ends = np.random.default_rng(0), []
    assert run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)[0] == 0
    for i in range(300):
        (tmp_path / "some.csv").write_bytes(generated(rng))
        words = ["fit", "some.csv", "--out", "other", "--epochs", 1] if i % 3 == 0 else ["score", "model", "some.csv"]
        words += ["--on-missing", "skip"] if i % 3 == 1 else []
        status, _, err = run(*words)
        ends.append(status)
        assert "Traceback" not in err
        assert status in (0, 2)
        if status:
            assert err.strip().splitlines()[-1].startswith("error: ")
        assert {path.name for path in tmp_path.iterdir()} <= {"train.csv", "some.csv", "model", "other"}
    assert 30 < sum(status == 0 for status in ends) < 270


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize(
    "out", ["train.csv", "../{here}/train.csv", "model", "model/rapp.safetensors", "model/new.csv", "."]
)
def test_what_a_command_reads_is_not_written_over(run, tmp_path, command, out):
    assert run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = out.format(here=tmp_path.name)
    status, _, err = run(command, "model", "train.csv", "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: out={out} is ")
    assert "name a" in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("value", [1e300, -1e101])
def test_a_number_whose_square_is_none_is_refused_by_its_place(run, value):
    assert run("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK)[0] == 0
    far = rows()
    far.loc[4, "heat"] = value
    far.to_csv("far.csv", index=False)
    status, _, err = run("fit", "far.csv", "--label", "state", "--normal", "ok", "--out", "other", *QUICK)
    assert status == 2
    assert "column 'heat' has 1 values beyond 1e100, the first in data row 5; correct them or" in err
    status, _, err = run("score", "model", "far.csv", "--out", "scores.csv")
    assert status == 2
    assert "column 'heat' is '" in err
    assert "no number of at most 1e100 in data row 5; correct it" in err
    assert run("score", "model", "far.csv", "--out", "scores.csv", "--on-missing", "skip")[0] == 0
    assert len(pd.read_csv("scores.csv")) == 199


@pytest.mark.slow
def test_as_commands(tmp_path):
    rng = np.random.default_rng(1)
    rows().to_csv(tmp_path / "train.csv", index=False)
    rapp = [sys.executable, "-m", "rapp.cli"]

    def ended(*words):
        done = subprocess.run([*rapp, *words], cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done.returncode

    assert ended("fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", *QUICK) == 0
    for _ in range(19):
        (tmp_path / "some.csv").write_bytes(generated(rng))
        assert ended("score", "model", "some.csv", "--out", "scores.csv") in (0, 2)


def test_work_without_a_known_end_says_how_far_it_is(capsys):
    progress = Progress(None, "row", "new.csv", every=-1)
    progress.add(10_000)
    progress.add(2_345)
    progress.close()
    assert capsys.readouterr().err == "rapp: new.csv, 10,000 rows\nrapp: new.csv, 12,345 rows\n"
