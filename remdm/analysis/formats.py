"""A table as CSV with every digit, as LaTeX (booktabs) and Markdown for readers, and as HTML for the report.

A column `x` for which there are `x_low` and `x_high` is shown as `x [low, high]`.
"""

import html
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from remdm.base.files import whole_file

MISSING = "–"
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "×": r"$\times$",
    "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def as_frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame; a column that some rows lack is null there."""
    return pl.DataFrame(list(rows), infer_schema_length=None)


def with_interval(name: str, found: tuple[float, float, float] | None) -> dict[str, float | None]:
    """The columns of a value with its interval, all null of None."""
    value, low, high = found or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def write_text(text: str, path: Path) -> None:
    """Write a text file, all of it or nothing."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_table(
    frame: pl.DataFrame, stem: Path, columns: Sequence[str] | None = None, note: str = ""
) -> None:
    """Write `stem.csv`, `stem.tex` and `stem.md`.

    Args:
        columns: those that LaTeX and Markdown show, all if None; CSV always has all.
        note: text below the table.
    """
    write_text(as_latex(frame, columns, note), stem.with_name(f"{stem.name}.tex"))
    write_text(as_markdown(frame, columns, note), stem.with_name(f"{stem.name}.md"))
    with whole_file(stem.with_name(f"{stem.name}.csv")) as partial:
        frame.write_csv(partial)


def as_latex(frame: pl.DataFrame, columns: Sequence[str] | None = None, note: str = "") -> str:
    r"""A `tabular` for `\input`; it needs the package booktabs."""
    heads, rows = shown(frame, columns)
    lines = [" & ".join(map(_tex, cells)) + r" \\" for cells in (heads, *rows)]
    align = "".join("r" if is_number else "l" for is_number in _numeric(frame, columns))
    comment = "".join(f"% {line}\n" for line in ["Needs \\usepackage{booktabs}.", *note.splitlines()])
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return comment + "\n".join([rf"\begin{{tabular}}{{{align}}}", *body, r"\end{tabular}"]) + "\n"


def as_markdown(frame: pl.DataFrame, columns: Sequence[str] | None = None, note: str = "") -> str:
    """A table of GitHub's Markdown."""
    heads, rows = shown(frame, columns)
    rule = ["--:" if is_number else "---" for is_number in _numeric(frame, columns)]
    lines = [[*map(_markdown, heads)], rule, *([*map(_markdown, row)] for row in rows)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\n{note}\n" if note else f"{text}\n"


def as_html(frame: pl.DataFrame, rows: Sequence[str] = (), names: Collection[str] = ()) -> str:
    """A table of a web page; cells of numbers have the class `n` and every digit in `data-value`.

    Args:
        rows: attributes of each row's element, as markup; none if empty.
        names: columns whose names are shown unchanged.
    """
    heads, texts = shown(frame)
    keys, kinds = _columns(frame), _numeric(frame)
    heads = [key if key in names else head for key, head in zip(keys, heads, strict=True)]

    def cell(text: str, value: Any, is_number: bool) -> str:
        counts = is_number and value is not None and math.isfinite(value)
        kind = f" class=n{f' data-value={value}' if counts else ''}" if is_number else ""
        return f"<td{kind}>{html.escape(text)}</td>"

    head = "".join(
        f'<th scope="col"{" class=n" if is_number else ""}>{html.escape(text)}</th>'
        for text, is_number in zip(heads, kinds, strict=True)
    )
    body = "".join(
        f"<tr{attributes}>{''.join(map(cell, cells, (values[key] for key in keys), kinds))}</tr>\n"
        for cells, values, attributes in zip(
            texts, frame.iter_rows(named=True), rows or [""] * frame.height, strict=True
        )
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def shown(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as readers see them, intervals after their values."""
    names = _columns(frame, columns)
    rows = [[_cell(row, name) for name in names] for row in frame.iter_rows(named=True)]
    return [_heading(name) for name in names], rows


def rounded(values: Iterable[float]) -> list[float | None]:
    """Values to four significant digits, for JSON: None in place of NaN and infinity."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in map(float, values)]


def number(value: float, like: float | None = None) -> str:
    """Three significant digits, or as many decimals as `like` would then have; four decimals at most."""
    if not math.isfinite(value):
        return MISSING
    size = abs(value if like is None else like)
    decimals = 2 if size == 0 else max(0, min(4, 2 - math.floor(math.log10(size))))
    return f"{value:,.{decimals}f}"


def _columns(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> list[str]:
    """The columns that readers see: without ends of intervals, and without columns that have no value."""
    hidden = {f"{name}_{end}" for name in frame.columns for end in ("low", "high")}
    if frame.height:
        hidden |= {name for name in frame.columns if frame[name].count() == 0}
    return [name for name in (columns or frame.columns) if name not in hidden]


def _numeric(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> list[bool]:
    return [frame.schema[name].is_numeric() for name in _columns(frame, columns)]


def _cell(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return " ".join(str(value).splitlines())
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None or not math.isfinite(low + high):
        return number(value)
    size = max(map(abs, (value, low, high)))
    return f"{number(value, size)} [{number(low, size)}, {number(high, size)}]"


def _heading(column: str) -> str:
    """The name of a column in words; a name that is no identifier is shown unchanged."""
    return column.replace("_", " ").replace("percent", "%") if column.isidentifier() else column


def _markdown(text: str) -> str:
    """Text in which nothing ends a cell of a table or begins HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\\", r"\\").replace("|", r"\|")


def _tex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)
