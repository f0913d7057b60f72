"""The figures of a page: traces and axes in Plotly's terms (plotly.com/javascript/reference), no colours.

A trace's `meta` is the number of its player: by that the page finds colour, line and marker, and whether
it is switched on. What comes from configurations is escaped, since Plotly reads some markup in labels.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from remdm.analysis.achievements import unlocked
from remdm.analysis.costs import PARTS, averaged
from remdm.analysis.formats import number
from remdm.analysis.gap import gaps
from remdm.analysis.policies import EvaluatedPolicy
from remdm.analysis.results import Result
from remdm.analysis.statistics import iqm, profile
from remdm.analysis.style import Look, readable
from remdm.base.estimates import Estimate, estimate

Chart = dict[str, Any]
Numbers = Mapping[EvaluatedPolicy, int]  # of the players
POINTS = 120  # of a performance profile

DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
SYMBOLS = {
    "s": "square", "o": "circle", "^": "triangle-up", "X": "x", "D": "diamond", "v": "triangle-down",
    "P": "cross",
}  # fmt: skip


def look_of(look: Look) -> dict[str, str]:
    """A look as Plotly names it."""
    line = look.line
    dash = DASHES[line] if isinstance(line, str) else ",".join(f"{2 * part}px" for part in line[1])
    return {"colour": look.colour, "dash": dash, "symbol": SYMBOLS[look.marker]}


def plain(text: str) -> str:
    """Text as Plotly shows it letter by letter."""
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
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "meta": numbers[policy], "x": means,
                    "y": [_row(policy.label)] * seeds,
                    "marker": {"size": 5, "opacity": 0.6, "symbol": "circle"},
                    "hovertext": [
                        f"{plain(policy.label)}, seed {result.seed}: {number(mean)}"
                        for result, mean in zip(policy.results, means, strict=True)
                    ],
                }
            )  # fmt: skip
    return _forest(rows, "return of an episode", traces, from_zero=True)


def differences(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart | None:
    """What each planner returns beyond its expert, and each further way to play beyond the first.

    None where there is nothing to compare.
    """
    rows = [
        (
            numbers[found.policy],
            f"{found.policy.label}: {found.what}",
            found.returns,
            _interval(found.returns),
        )
        for found in gaps(list(policies))
    ]
    return _forest(rows, "difference of return") if rows else None


def profiles(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart:
    """The share of episodes that return at least so much, with pointwise intervals."""
    everything = np.concatenate([sample for policy in policies for sample in policy.returns])
    x = np.linspace(everything.min(), everything.max(), POINTS)
    traces = []
    for policy in policies:
        mean, low, high = 100 * profile(policy.returns, x)
        traces += [_band(x, low, high, numbers[policy]), _line(x, mean, numbers[policy], policy.label, "%")]
    return {
        "traces": traces,
        "layout": {
            "xaxis": {"title": {"text": "return"}},
            "yaxis": {"title": {"text": "episodes that return at least this, %"}, "range": [0, 102]},
        },
    }


def achievements(policies: Sequence[EvaluatedPolicy], numbers: Numbers) -> Chart:
    """The share of episodes that unlock each achievement, those that anyone unlocks."""
    rates = {policy: policy.rates() for policy in policies}
    order = unlocked({policy.name: found for policy, found in rates.items()})
    traces = []
    for policy, found in rates.items():
        values = [found[name].percent for name in order]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "meta": numbers[policy], "orientation": "h",
                "offsetgroup": str(numbers[policy]),
                "x": _numbers(value.value for value in values),
                "y": [readable(plain(name)) for name in order],
                "error_x": _error(values), "marker": {"size": 8},
                "hovertext": [
                    f"{plain(policy.label)}<br>{readable(plain(name))} {_interval(value)} %"
                    for name, value in zip(order, values, strict=True)
                ],
            }
        )  # fmt: skip
    return {
        "traces": traces[::-1],  # the first is at the top of each row
        "rows": len(order),
        "layout": {
            "scattermode": "group",
            "xaxis": {"title": {"text": "episodes that unlock it, %"}, "range": [-1, 101]},
            "yaxis": _categories([readable(plain(name)) for name in order]),
        },
    }


def scaling(policies: Mapping[EvaluatedPolicy, int], numbers: Numbers) -> Chart:
    """Return against the number of parameters.

    Args:
        policies: and the parameters of each.
    """
    traces = []
    for policy, parameters in policies.items():
        value = policy.mean()
        traces.append(
            {
                "type": "scatter", "mode": "markers", "meta": numbers[policy], "x": [parameters],
                "y": [value.value], "error_y": _error([value]), "marker": {"size": 10},
                "hovertext": [
                    f"{plain(policy.label)}<br>{parameters:,} parameters<br>return {_interval(value)}"
                ],
            }
        )  # fmt: skip
    return {
        "traces": traces,
        "layout": {
            "xaxis": {"title": {"text": "parameters"}, "type": "log"},
            "yaxis": {"title": {"text": "return of an episode"}, "rangemode": "tozero"},
        },
    }


def costs(results: Sequence[Result]) -> Chart:
    """Minutes of each kind of job by their parts, seeds averaged."""
    kinds = averaged(list(results))
    traces = [
        {
            "type": "bar", "orientation": "h", "name": part,
            "x": _numbers(kind[part] for kind in kinds.values()),
            "y": list(map(plain, kinds)), "marker": {"color": colour},
            "hovertext": [
                f"{plain(name)}<br>{part} {number(kind[part])} minutes<br>"
                f"{number(kind['memory_GB'])} GB at most"
                for name, kind in kinds.items()
            ],
        }
        for part, (colour, _) in PARTS.items()
    ]  # fmt: skip
    return {
        "traces": traces,
        "rows": len(kinds),
        "layout": {
            "barmode": "stack", "xaxis": {"title": {"text": "minutes of a job"}},
            "yaxis": _categories(list(map(plain, kinds))), "showlegend": True,
        },
    }  # fmt: skip


def _forest(
    rows: Sequence[tuple[int, str, Estimate, str]],
    unit: str,
    more: Sequence[dict[str, Any]] = (),
    from_zero: bool = False,
) -> Chart:
    """A row for each player's number, label, value and what to say of it; the first is at the top."""
    traces = [
        {
            "type": "scatter", "mode": "markers", "meta": player, "x": [value.value], "y": [_row(text)],
            "error_x": _error([value]), "marker": {"size": 10}, "hovertext": [f"{plain(text)}<br>{about}"],
        }
        for player, text, value, about in rows
    ]  # fmt: skip
    reach = max((abs(bound) for _, _, value, _ in rows for bound in value if np.isfinite(bound)), default=1.0)
    values = [value.value for _, _, value, _ in rows]
    # An interval of two seeds may be far wider than all values: it may leave the picture.
    most = min(reach, 2 * max(map(abs, values), default=1.0) or 1.0) * 1.05
    return {
        "traces": [*traces, *more],
        "rows": len(rows),
        "layout": {
            "xaxis": {"title": {"text": unit}, "zeroline": True, "range": [0 if from_zero else -most, most]},
            "yaxis": _categories([_row(text) for _, text, _, _ in rows]),
        },
    }


def _row(text: str) -> str:
    """A label in two lines."""
    return plain(text).replace(" (", "<br>(", 1)


def _categories(names: list[str]) -> dict[str, Any]:
    return {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "automargin": True}


def _error(values: Sequence[Estimate]) -> dict[str, Any]:
    """The ends of intervals as distances from the values."""
    return {
        "type": "data",
        "symmetric": False,
        "array": _numbers(value.high - value.value for value in values),
        "arrayminus": _numbers(value.value - value.low for value in values),
    }


def _line(x: np.ndarray, y: np.ndarray, player: int, text: str, unit: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "meta": player, "name": plain(text),
        "x": _numbers(x), "y": _numbers(y),
        "hovertemplate": f"%{{fullData.name}}: %{{y:.3g}} {unit} at %{{x:.4g}}<extra></extra>",
    }  # fmt: skip


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, player: int) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "meta": player, "fill": "toself", "hoverinfo": "skip",
        "x": _numbers([*x, *x[::-1]]), "y": _numbers([*high, *low[::-1]]), "line": {"width": 0},
    }  # fmt: skip


def _numbers(values: Any) -> list[float | None]:
    """Four digits of each; a gap where there is no number."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in map(float, values)]


def _interval(value: Estimate) -> str:
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"
