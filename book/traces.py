"""A link on each number that is a mean of published rows: to a page with these rows and the command of each.

A number gets its link only if it is the mean, as printed, of the rows that are shown: a wrong link is worse than none.
"""

import html
import json
import re
import shlex

import numpy as np
import pandas as pd

from rapp.experiment import SCORES
from rapp.grid import cells
from traced_tables import TABLES, Line, Page, Trace

NUMBER = re.compile(r"[+-]?\d[\d,]*\.\d+(?:\s±\s\d+\.\d+)?")
HEADING = re.compile(r"<h[1-4]>(.*?)</h[1-4]>|<p>(.*?)</p>", re.DOTALL)
CONDITIONS = (
    "protocol",
    "dataset",
    "setting",
    "model",
    "method",
    "score",
    "target",
    "profile",
    "changes",
    "contamination",
    "table",
    "unseen",
    "source",
    "seed",
)  # columns, in the order in which a query names them
SHOWN = ("auroc", "epochs", "seconds", "seconds_per_1000", "device", "precision", "torch", "commit")
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Rows behind {title}</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"><style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }} body {{ margin: 1rem auto;
max-width: 75rem; padding: 0 1rem; }} h2 {{ font-size: 1.05rem; margin-top: 2.5rem; overflow-wrap: anywhere; }}
div {{ overflow-x: auto; }}
td, th {{ text-align: left; padding: 0 .8em 0 0; white-space: nowrap; font-size: .85rem; }}
section:target {{ outline: 2px solid; outline-offset: .6rem; }}</style></head><body><main>
<h1>Rows behind {title}</h1><p><a href="../{page}.html">Back to the page</a>. Each section has the published rows of
which a number on that page is the mean. <em>line</em> counts the lines of the file; the header is line 1. Where a row
has an <em>ID</em>, <code>make row ID="…"</code> trains it again and compares.</p>
"""


def with_links(text: str, page: Page) -> tuple[str, str]:
    """A page's text with such links, and the text of the page of rows; "" without any link.

    Args:
        text: of the rendered page.
        page: which it is, and what it was run with.
    """
    sections: dict[tuple[str, tuple[int, ...]], str] = {}

    def linked(found: re.Match) -> str:
        return _table(found[0], page, _above(text[: found.start()]), sections)

    text = re.sub(r"<table\b.*?</table>", linked, text, flags=re.DOTALL) if page.name in TABLES else text
    if not sections:
        return text, ""
    head = HEAD.format(title=page.name, page=page.name)
    found = []
    for (file, lines), name in sections.items():
        rows = page.raw(file)
        found.append(_section(file, rows.loc[list(lines)], name, rows))
    return text, head + "".join(found) + "</main></body></html>\n"


def _above(text: str) -> dict[str, str]:
    """The last heading, and the last paragraph, in front of a table."""
    found = list(HEADING.finditer(text))
    heading = next((_plain(each[1]) for each in reversed(found) if each[1]), "")
    before = next((_plain(each[2]) for each in reversed(found) if each[2]), "")
    return {"heading": heading.rstrip("#"), "before": before}


def _plain(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).replace("\xa0", " ").replace("’", "'").strip()


def _table(markup: str, page: Page, above: dict[str, str], sections: dict) -> str:
    """One table's markup with its links; new sections are added to ``sections``."""
    columns = [_plain(cell) for cell in re.findall(r"<th\b.*?</th>", markup, re.DOTALL)]
    known = TABLES[page.name].items()
    of_line = next((spec for names, spec in known if set(names) - {"*"} <= set(columns)), None)
    if of_line is None:
        return markup

    def row(found: re.Match) -> str:
        parts = re.split(r"(?<=</td>)(?=\s*<td)", found[0])
        line: Line = dict(zip(columns, map(_plain, parts), strict=False)) | above
        there = [trace for trace in of_line(line, page) if trace.column in columns]
        for trace in sorted(there, key=lambda each: -each.at):  # from the cell's end, for links move what follows
            at = columns.index(trace.column)
            rows, lines = page.raw(trace.file), list(trace.lines)
            if _is_mean(trace, parts[at], rows.loc[lines]):
                name = sections.setdefault((trace.file, trace.lines), f"rows-{len(sections) + 1}")
                parts[at] = _link(parts[at], trace, f"_rows/{page.name}.html#{name}", rows)
        return "".join(parts)

    return re.sub(r"<tr\b[^>]*><td.*?</tr>", row, markup, flags=re.DOTALL)


def _numbers(cell: str) -> list[re.Match]:
    """The numbers in a table's cell, outside of its tags."""
    return [found for found in NUMBER.finditer(cell) if "<" not in re.split(r">", cell[: found.start()])[-1]]


def where(rows: pd.DataFrame, part: pd.DataFrame) -> dict[str, list[str]]:
    """What singles out a part of rows: the values of a few columns or, where none do, of "line".

    Args:
        rows: as ``Page.raw``.
        part: some of them.
    """
    found: dict[str, list[str]] = {}
    kept = np.ones(len(rows), dtype=bool)
    for name in CONDITIONS:
        values = sorted(part[name].unique()) if name in rows else []
        alike = kept & rows[name].isin(values).to_numpy() if values else kept
        if alike.sum() < kept.sum():
            found[name], kept = values, alike
    return found if kept.sum() == len(part) else {**found, "line": [str(line) for line in part.index]}


def in_words(conditions: dict[str, list[str]]) -> str:
    """``where`` for people."""
    return ", ".join(f"{name}={' '.join(value or '(none)' for value in values)}" for name, values in conditions.items())


def _is_mean(trace: Trace, cell: str, rows: pd.DataFrame) -> bool:
    """Whether the number, as printed, is the mean of these rows."""
    found = _numbers(cell)
    if trace.at >= len(found):
        return False
    printed = found[trace.at][0].split("±")[0].strip().replace(",", "")
    decimals = len(printed.split(".")[1]) if "second" in trace.of else 3
    return abs(float(printed) - _mean(rows, trace.of)) <= 0.5000001 * 10.0**-decimals


def _mean(rows: pd.DataFrame, of: str) -> float:
    """The mean over classes of each one's mean, where there are classes."""
    values = pd.to_numeric(rows[of])
    return float(values.groupby(rows["target"]).mean().mean() if "target" in rows else values.mean())


def _link(cell: str, trace: Trace, href: str, rows: pd.DataFrame) -> str:
    """A cell with its number as a link; what the number is, in words, is the link's title."""
    part = rows.loc[list(trace.lines)]
    mean = "Mean of the classes' means" if "target" in part and part["target"].nunique() > 1 else "Mean"
    of = f"{mean} of {trace.of} over {_n_rows(part)} of book/{trace.file}"
    words = f"{of}: {in_words(where(rows, part))}{_made(part)}"
    found = _numbers(cell)[trace.at]
    attributes = f'class="rapp-rows" data-of="{trace.of}" href="{href}" title="{html.escape(words)}"'
    return f"{cell[: found.start()]}<a {attributes}>{found[0]}</a>{cell[found.end() :]}"


def _n_rows(part: pd.DataFrame) -> str:
    return f"{len(part)} row{'s' if len(part) > 1 else ''}"


def _made(part: pd.DataFrame) -> str:
    """Seconds of training, where, and at which commits, as far as the rows say so."""
    words = ""
    if "seconds" in part:
        trainings = part.drop_duplicates([name for name in (*cells.KEY, "protocol", "table", "method") if name in part])
        words = f"; trained in {pd.to_numeric(trainings['seconds']).sum():,.0f} s"
    if "device" in part:
        words += f" on {', '.join(part['device'].unique())}"
    return words + (f"; commits {', '.join(part['commit'].unique())}" if "commit" in part else "")


def _again(file: str, part: pd.DataFrame) -> str:
    """The command that makes all of the rows again."""
    if file.startswith("paper/"):
        return "retyped from what others have published; the file says whose"
    if "table" in part:
        seeds = part["seed"].astype(int).max() + 1
        tables = " ".join(map(shlex.quote, part["table"].unique()))
        return f"<code>python -m rappbook.chapters.adbench --tables {html.escape(tables)} --seeds {seeds}</code>"
    if "unseen" in part:
        return "<code>make playground</code>"
    words = ["rapp run"]
    for option in ("profile", "dataset", "setting", "model", "target", "contamination"):
        values = [shlex.quote(value.replace(" + ", "+")) for value in part[option].unique()]
        words += [f"--{option} {' '.join(values)}"]
    words += [f"--seeds {part['seed'].astype(int).max() + 1}"]
    words += [f"--params {shlex.quote(changes)}" for changes in part["changes"].unique() if changes]
    return f"<code>{html.escape(' '.join(words))}</code>"


def _section(file: str, part: pd.DataFrame, name: str, rows: pd.DataFrame) -> str:
    """The part of a page of rows that some numbers lead to."""
    conditions = where(rows, part)
    told = html.escape(json.dumps(conditions))
    shown = part
    if set(SHOWN) <= set(part):  # rows of cells, which have IDs
        shown = part[list(SHOWN)]
        if (part["contamination"].astype(float) == 0).all():
            shown = shown.assign(ID=cells.ids(part))
    table = shown.rename_axis("line").reset_index().to_html(index=False, border=0)
    return (
        f'<section id="{name}" data-file="book/{file}" data-where="{told}"><h2>{_n_rows(part)} of book/{file}: '
        f"{html.escape(in_words(conditions))}</h2><p>Mean of {_means(part)}{html.escape(_made(part))}. "
        f'Again: {_again(file, part)}.</p><div tabindex="0">{table}</div></section>\n'
    )


def _means(part: pd.DataFrame) -> str:
    """The means of what the rows measure."""
    names = [name for name in ("auroc", "seconds", "seconds_per_1000", *SCORES) if name in part]
    return ", ".join(f"{name} {_mean(part, name):.4f}" for name in names)
