"""Results on the terminal, and in a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remdm.base.errors import UserError
from remdm.training.metrics import write_parquet

if TYPE_CHECKING:
    import polars as pl

HEAD = (
    f"{'case':22} {'rate':>18} {'compile':>9} {'seconds a call: median, range':>29} {'GFLOP':>8} "
    f"{'GFLOP/s':>8} {'of peak':>7} {'GB':>7} {'GB/s':>6} {'of copy':>7} {'arrays':>8} {'peak':>9}"
)
LEGEND = (
    "GFLOP and GB are of a call; ? where a loop of unknown length was counted once, or the dearest branch "
    "of a choice. Bytes found in a cache count, so their share can pass 100 %"
)
# What is compared: columns and their names.
COMPARED = {
    "rate": "rate",
    "compile_seconds": "compile",
    "flops": "FLOPs",
    "bytes": "bytes",
    "temp_mb": "temporary",
    "process_mb": "process",
    "device_mb": "device",
}


def line(row: dict[str, Any]) -> str:
    """A result as `HEAD` announces and `LEGEND` explains it."""
    name = f"{row['case']} {row['varied']}={row['value']}" if row["varied"] else row["case"]
    spread = f"{row['seconds']:.3g} ({row['seconds_min']:.3g} to {row['seconds_max']:.3g})"
    arrays = None if row["temp_mb"] is None else row["temp_mb"] + row["argument_mb"]
    cells = (
        (f"{number(row['rate'])} {row['unit']}/s", 18),
        (_cell(row["compile_seconds"], ".1f", " s"), 9),
        (spread, 29),
        (_cell(row["flops"] and row["flops"] / 1e9, ".3g", "" if row["flops_exact"] else "?"), 8),
        (_cell(row["flops_per_second"] and row["flops_per_second"] / 1e9, ".3g"), 8),
        (_cell(row["flops_share"], ".1%"), 7),
        (_cell(row["bytes"] and row["bytes"] / 1e9, ".3g", "" if row["bytes_exact"] else "?"), 7),
        (_cell(row["bytes_per_second"] and row["bytes_per_second"] / 1e9, ".3g"), 6),
        (_cell(row["bytes_share"], ".0%"), 7),
        (_cell(arrays, ",.0f", " MB"), 8),
        (_cell(row["device_mb"] or row["process_mb"], ",.0f", " MB"), 9),
    )
    return f"{name:22} " + " ".join(f"{text:>{width}}" for text, width in cells)


def number(value: float) -> str:
    """Three digits at least, and no power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a file of results, which need not be there yet.

    Raises:
        UserError: it holds something else.
        OSError: the disk does not take it.
    """
    import polars as pl

    tables = [read(path)] if path.exists() else []
    table = pl.concat([*tables, pl.DataFrame([row], infer_schema_length=None)], how="diagonal_relaxed")
    write_parquet(table, path)


def read(path: Path) -> "pl.DataFrame":
    """A file of results.

    Raises:
        UserError: there is none, or it holds something else.
    """
    import polars as pl

    if not path.is_file():
        raise UserError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file'}")
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError:
        raise UserError(f"{path}: is no parquet file") from None
    if missing := [name for name in ("case", "varied", "value", *COMPARED) if name not in table.columns]:
        raise UserError(f"{path}: holds no results of bench, for it has no column {missing[0]}")
    return table


def comparison(before: Path, after: Path) -> str:
    """Ratios of the second file's newest figures to the first's, for every case that both hold.

    Raises:
        UserError: a file is missing or none of ours, or they have no case in common.
    """
    old, new = _newest(before), _newest(after)
    common = [case for case in old if case in new]
    if not common:
        raise UserError(f"{before} and {after} have no case in common")
    lines = [f"{after} / {before}", f"{'case':30}" + "".join(f"{name:>11}" for name in COMPARED.values())]
    for case in common:
        name = case[0] if case[1] is None else f"{case[0]} {case[1]}={case[2]}"
        ratios = [_ratio(new[case][column], old[case][column]) for column in COMPARED]
        other = " (other settings)" if _settings(old[case]) != _settings(new[case]) else ""
        lines.append(f"{name:30}" + "".join(f"{ratio:>11}" for ratio in ratios) + other)
    return "\n".join(lines)


def _newest(path: Path) -> dict[tuple, dict[str, Any]]:
    """Rows by case and what was varied; a later one counts."""
    return {(row["case"], row["varied"], row["value"]): row for row in read(path).iter_rows(named=True)}


def _settings(row: dict[str, Any]) -> Any:
    return json.loads(row.get("settings") or "null")


def _ratio(new: float | None, old: float | None) -> str:
    return "-" if new is None or not old else f"{new / old:.3f}"


def where_time_goes(result: dict[str, Any]) -> str:
    """A trace's seconds by scope."""
    total = sum(result["seconds"].values())
    lines = [f"{result['case']}: where the {total:.4g} s of a call go, mean of {result['calls']} calls"]
    for name, seconds in result["seconds"].items():
        lines.append(f"  {name:18} {seconds:9.4f} s {seconds / total:7.1%}")
    copies = [f"{count:g} {name}" for name, count in result["transfers"].items()]
    lines.append(f"  transfers between host and device, a call: {', '.join(copies) or 'none'}")
    return "\n".join([*lines, f"  the profile is in {result['profile']}"])
