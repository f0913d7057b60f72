"""Mean return for each value of the keys in a grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from remdm.analysis.policies import EvaluatedPolicy, behind, evaluated_policies
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.style import (
    LABELS,
    WIDTH,
    draw_estimates,
    new_panels,
    publish,
    say,
    series_look,
    share_limits,
)
from remdm.config.workflow import written

NONE = "No planner of a grid was evaluated."


@dataclass(frozen=True)
class GridPlanner:
    """A planner of a grid, or the preset's own planner.

    Attributes:
        study: of the planners that it is compared with, which differ in the grid's keys only.
        keys: the grid's keys that its name contains.
    """

    study: str
    keys: frozenset[str]
    config: dict[str, Any]
    policy: EvaluatedPolicy


def draw(jobs: list[str], path: Path) -> None:
    """For each grid and each of its keys, return against the key's values; other keys' values are lines.

    Args:
        jobs: files of the planners' trainings and of evaluations.
        path: of the files to write, without suffix.
    """
    results = read_results(jobs)
    played = {(policy.env, policy.name): policy for policy in evaluated_policies(results)}
    trained = {(r.env, r.policy): r for stage in ("offline", "online") for r in results if r.stage == stage}
    planners = [_planner(result, played[name]) for name, result in trained.items() if name in played]
    studies = {study: each for study, each in grouped(planners, "study").items() if _keys(each)}
    panels = [(study, key) for study, each in studies.items() for key in _keys(each)]
    figure, axes = new_panels(max(len(panels), 1), 2, WIDTH / 2, 2.6)
    for ax, (study, key) in zip(axes, panels, strict=False):
        _draw(ax, studies[study], key)
        ax.set_title(study, loc="left")
    if panels:
        share_limits(axes)
    else:
        say(axes[0], NONE)
    publish(figure, path, _caption([planner.policy for each in studies.values() for planner in each]))


def _planner(result: Result, policy: EvaluatedPolicy) -> GridPlanner:
    """A planner whose name is `<preset>_<key>_<value>...`, and `_by_<expert>` of a further expert."""
    name, by, expert = result.name.partition("_by_")
    keys = set()
    while found := [key for key, value in result.config.items() if name.endswith(f"_{key}_{written(value)}")]:
        key = max(found, key=len)  # `_collect_temperature_1.0` also ends with `_temperature_1.0`
        name = name.removesuffix(f"_{key}_{written(result.config[key])}")
        keys.add(key)
    study = f"{LABELS[result.stage]} ({name}{by.replace('_', ' ')}{expert})\n{result.env}"
    return GridPlanner(study, frozenset(keys), result.config, policy)


def _keys(planners: Iterable[GridPlanner]) -> list[str]:
    """The keys of a grid, in a fixed order."""
    return sorted(frozenset().union(*(planner.keys for planner in planners)))


def _draw(ax: Axes, planners: list[GridPlanner], key: str) -> None:
    others = [other for other in _keys(planners) if other != key]
    values = sorted(
        {planner.config[key] for planner in planners}, key=lambda x: (isinstance(x, str), x is None, x)
    )
    lines: dict[str, list[GridPlanner]] = {}
    for planner in sorted(planners, key=lambda planner: values.index(planner.config[key])):
        lines.setdefault(", ".join(f"{k} {written(planner.config[k])}" for k in others), []).append(planner)
    for k, (text, line) in enumerate(lines.items()):
        shift = 0.06 * (k - (len(lines) - 1) / 2)  # intervals side by side, not one over the other
        x = [values.index(planner.config[key]) + shift for planner in line]
        draw_estimates(ax, x, [planner.policy.mean() for planner in line], series_look(k), text)
    ax.set_xticks(range(len(values)), [written(value) for value in values])
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_xlabel(key)
    ax.set_ylabel("mean episode return")
    if others:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _caption(policies: list[EvaluatedPolicy]) -> str:
    if not policies:
        return NONE
    return f"Mean return of an episode for each value of the keys in a grid. {behind(policies, 'mean')}"
