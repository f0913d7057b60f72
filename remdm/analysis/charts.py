"""The figures of a page as Plotly's traces and layouts (plotly.com/javascript/reference), without colours.

A trace's `meta` is the number of its player, by which the page looks up colour, line and marker, and whether
it is switched on. Text from configurations is escaped, because Plotly interprets some markup in labels.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from remdm.analysis.achievements import unlocked
from remdm.analysis.costs import PARTS, averaged
from remdm.analysis.formats import number, rounded
from remdm.analysis.gap import gaps
from remdm.analysis.policies import EvaluatedPolicy
from remdm.analysis.results import Result
from remdm.analysis.statistics import iqm, profile
from remdm.analysis.style import Look, readable
from remdm.base.estimates import Estimate, estimate

Chart = dict[str, Any]
Numbers = Mapping[EvaluatedPolicy, int]  # of players
POINTS = 120  # of a performance profile

DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
SYMBOLS = {
    "s": "square", "o": "circle", "^": "triangle-up", "X": "x", "D": "diamond", "v": "triangle-down",
    "P": "cross",
}  # fmt: skip


def look_of(look: Look) -> dict[str, str]:
    """A look in Plotly's terms."""
    line = look.line
    dash = DASHES[line] if isinstance(line, str) else ",".join(f"{2 * part}px" for part in line[1])
    return {"colour": look.colour, "dash": dash, "symbol": SYMBOLS[look.marker]}


def plain(text: str) -> str:
    """Text escaped so that Plotly shows it literally."""
    return html.escape(text, quote=False)


def returns(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart:
    """Mean return of every policy with its interval, and the mean of each seed."""
    rows, traces = [], []
    for policy in policies:
        value, middle = policy.mean(), estimate(policy.returns, iqm)
        seeds = len(policy.results)
        about = (
            f"return {_interval(value)}<br>interquartile mean {number(middle.value)}<br>"
            f"{seeds} training {'seed' if seeds == 1 else 'seeds'}, {policy.episodes:,} episodes"
        )
        rows.append((numbers[policy], policy.label, value, about))
        if seeds > 1:
            means = [float(sample.mean()) for sample in policy.returns]
            texts = [
                f"{plain(policy.label)}, seed {result.seed}: {number(mean)}"
                for result, mean in zip(policy.results, means, strict=True)
            ]
            marker = {"size": 5, "opacity": 0.6, "symbol": "circle"}
            y = [_row(policy.label)] * seeds
            traces.append(_points(numbers[policy], means, y, texts, marker=marker))
    return _forest(rows, "return of an episode", traces, from_zero=True)


def differences(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart | None:
    """How much more each planner returns than its expert, and each further way to play than the first.

    None if there is nothing to compare.
    """
    rows = [
        (numbers[gap.policy], f"{gap.policy.label}: {gap.what}", gap.returns, _interval(gap.returns))
        for gap in gaps(list(policies))
    ]
    return _forest(rows, "difference of return") if rows else None


def profiles(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart:
    """The share of episodes with a return of at least x, with pointwise intervals."""
    everything = np.concatenate([sample for policy in policies for sample in policy.returns])
    x = np.linspace(everything.min(), everything.max(), POINTS)
    traces = []
    for policy in policies:
        mean, low, high = 100 * profile(policy.returns, x)
        traces += [_band(x, low, high, numbers[policy]), _line(x, mean, numbers[policy], policy.label, "%")]
    share = _axis("episodes that return at least this, %", range=[0, 102])
    return _chart(traces, _axis("return"), share)


def achievements(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart:
    """The share of episodes that unlock each achievement, of those that any policy unlocks."""
    rates = {policy: policy.rates() for policy in policies}
    order = unlocked({policy.name: found for policy, found in rates.items()})
    rows = [readable(plain(name)) for name in order]
    traces = []
    for policy, found in rates.items():
        values = [found[name].percent for name in order]
        texts = [
            f"{plain(policy.label)}<br>{row} {_interval(value)} %"
            for row, value in zip(rows, values, strict=True)
        ]
        x = rounded(value.value for value in values)
        trace = _points(numbers[policy], x, rows, texts, error_x=_error(values), marker={"size": 8})
        traces.append(trace | {"orientation": "h", "offsetgroup": str(numbers[policy])})
    share = _axis("episodes that unlock it, %", range=[-1, 101])
    # The last trace is at the top of each row.
    return _rows_chart(traces[::-1], share, rows, scattermode="group")


def scaling(policies: Mapping[EvaluatedPolicy, int], numbers: Numbers) -> Chart:
    """Return against the number of parameters.

    Args:
        policies: the number of parameters of each.
    """
    traces = []
    for policy, parameters in policies.items():
        value = policy.mean()
        text = f"{plain(policy.label)}<br>{parameters:,} parameters<br>return {_interval(value)}"
        traces.append(_points(numbers[policy], [parameters], [value.value], [text], error_y=_error([value])))
    return _chart(traces, _axis("parameters", type="log"), _axis("return of an episode", rangemode="tozero"))


def costs(results: Sequence[Result]) -> Chart:
    """Minutes of each kind of job by their parts, seeds averaged."""
    kinds = averaged(results)
    names = [plain(kind) for kind in kinds["kind"]]
    traces = [
        {
            "type": "bar", "orientation": "h", "name": part,
            "x": rounded(kinds[part]), "y": names, "marker": {"color": colour},
            "hovertext": [
                f"{name}<br>{part} {number(minutes)} minutes<br>{number(memory)} GB at most"
                for name, minutes, memory in zip(names, kinds[part], kinds["memory_GB"], strict=True)
            ],
        }
        for part, (colour, _) in PARTS.items()
    ]  # fmt: skip
    return _rows_chart(traces, _axis("minutes of a job"), names, barmode="stack", showlegend=True)


def _forest(
    rows: Sequence[tuple[int, str, Estimate, str]],
    unit: str,
    more: Sequence[dict[str, Any]] = (),
    from_zero: bool = False,
) -> Chart:
    """A row for each player's number, label, value and description; the first is at the top."""
    traces = [
        _points(player, [value.value], [_row(text)], [f"{plain(text)}<br>{about}"], error_x=_error([value]))
        for player, text, value, about in rows
    ]
    reach = max((abs(bound) for _, _, value, _ in rows for bound in value if np.isfinite(bound)), default=1.0)
    values = [value.value for _, _, value, _ in rows]
    # An interval of two seeds may be far wider than all values: it may extend beyond the axes.
    most = min(reach, 2 * max(map(abs, values), default=1.0) or 1.0) * 1.05
    xaxis = _axis(unit, zeroline=True, range=[0 if from_zero else -most, most])
    return _rows_chart([*traces, *more], xaxis, [_row(text) for _, text, _, _ in rows])


def _row(text: str) -> str:
    """A label in two lines."""
    return plain(text).replace(" (", "<br>(", 1)


def _chart(
    traces: list[dict[str, Any]], xaxis: dict[str, Any], yaxis: dict[str, Any], **layout: Any
) -> Chart:
    return {"traces": traces, "layout": {"xaxis": xaxis, "yaxis": yaxis, **layout}}


def _rows_chart(
    traces: list[dict[str, Any]], xaxis: dict[str, Any], names: list[str], **layout: Any
) -> Chart:
    """A figure with a row for each name, the first at the top."""
    order = {"categoryorder": "array", "categoryarray": names[::-1]}
    yaxis = {"type": "category", "automargin": True, **order}
    return _chart(traces, xaxis, yaxis, **layout) | {"rows": len(names)}


def _axis(title: str, **keys: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **keys}


def _points(
    player: int, x: Sequence[Any], y: Sequence[Any], hovertext: Sequence[str], **keys: Any
) -> dict[str, Any]:
    """A trace of markers."""
    trace = {"type": "scatter", "mode": "markers", "meta": player, "marker": {"size": 10}}
    return trace | {"x": x, "y": y, "hovertext": hovertext, **keys}


def _error(values: Sequence[Estimate]) -> dict[str, Any]:
    """The ends of intervals as distances from the values."""
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(value.high - value.value for value in values),
        "arrayminus": rounded(value.value - value.low for value in values),
    }


def _line(x: np.ndarray, y: np.ndarray, player: int, text: str, unit: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "meta": player, "name": plain(text),
        "x": rounded(x), "y": rounded(y),
        "hovertemplate": f"%{{fullData.name}}: %{{y:.3g}} {unit} at %{{x:.4g}}<extra></extra>",
    }  # fmt: skip


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, player: int) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "meta": player, "fill": "toself", "hoverinfo": "skip",
        "x": rounded([*x, *x[::-1]]), "y": rounded([*high, *low[::-1]]), "line": {"width": 0},
    }  # fmt: skip


def _interval(value: Estimate) -> str:
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"
