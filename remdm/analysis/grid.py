"""What each value of a searched key is worth: planners of a grid compared by return."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from remdm.analysis.policies import EvaluatedPolicy, behind, read_policies
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.style import (
    LABELS,
    MARKER_VARIANTS,
    SERIES,
    WIDTH,
    new_figure,
    publish,
    say,
    share_limits,
)
from remdm.config.workflow import written

NONE = "No planner of a grid was evaluated."


@dataclass(frozen=True)
class GridPlanner:
    """A planner of a grid, or the preset's own beside it.

    Attributes:
        study: the planners that it is compared with; they differ in the grid's keys only.
        keys: the grid's keys that its name contains.
    """

    study: str
    keys: frozenset[str]
    config: dict[str, Any]
    policy: EvaluatedPolicy


def draw(jobs: list[str], path: Path) -> None:
    """For each grid and each of its keys, return against the key's values, a line for the others' values.

    Args:
        jobs: files of the planners' trainings and of evaluations.
        path: of the files to write, without suffix.
    """
    stages = grouped(read_results(jobs), "stage")
    policies = read_policies([str(result.folder) for result in stages.get("inference", [])])
    # A planner is evaluated under the name `<method>-<its name>`.
    played = {(policy.env, policy.name): policy for policy in policies}
    trained = {
        (r.env, f"{r.stage}-{r.name}"): r for stage in ("offline", "online") for r in stages.get(stage, [])
    }
    planners = [_planner(result, played[name]) for name, result in trained.items() if name in played]
    studies = {
        study: (each, keys) for study, each in grouped(planners, "study").items() if (keys := _keys(each))
    }
    panels = [(study, each, key) for study, (each, keys) in studies.items() for key in keys]
    figure, axes = new_figure(WIDTH, 2.6 * max(-(-len(panels) // 2), 1), max(-(-len(panels) // 2), 1), 2)
    for ax, (study, each, key) in zip(axes, panels, strict=False):
        _draw(ax, each, key, [other for other in studies[study][1] if other != key])
        ax.set_title(study, loc="left")
    for ax in axes[len(panels) :]:
        say(ax, "" if panels else NONE)
    if panels:
        share_limits(axes[: len(panels)])
    publish(figure, path, _caption([planner.policy for each, _ in studies.values() for planner in each]))


def _planner(result: Result, policy: EvaluatedPolicy) -> GridPlanner:
    """A planner whose name is `<preset>_<key>_<value>...`, and `_by_<expert>` of a further expert."""
    name, by, expert = result.name.partition("_by_")
    keys = set()
    while found := [key for key, value in result.config.items() if name.endswith(f"_{key}_{written(value)}")]:
        key = max(found, key=len)  # `collect_temperature` ends like `temperature`
        name = name.removesuffix(f"_{key}_{written(result.config[key])}")
        keys.add(key)
    study = f"{LABELS[result.stage]} ({name}{by.replace('_', ' ')}{expert})\n{result.env}"
    return GridPlanner(study, frozenset(keys), result.config, policy)


def _keys(planners: Iterable[GridPlanner]) -> list[str]:
    """The keys of a grid, in a fixed order."""
    return sorted(frozenset().union(*(planner.keys for planner in planners)))


def _draw(ax: Axes, planners: list[GridPlanner], key: str, others: list[str]) -> None:
    values = sorted(
        {planner.config[key] for planner in planners}, key=lambda x: (isinstance(x, str), x is None, x)
    )
    lines: dict[str, list[GridPlanner]] = {}
    for planner in sorted(planners, key=lambda planner: values.index(planner.config[key])):
        lines.setdefault(", ".join(f"{k} {written(planner.config[k])}" for k in others), []).append(planner)
    for k, (text, line) in enumerate(lines.items()):
        means = [planner.policy.mean() for planner in line]
        shift = 0.06 * (k - (len(lines) - 1) / 2)  # intervals beside each other, not one over the other
        ax.errorbar(
            [values.index(planner.config[key]) + shift for planner in line],
            [mean.value for mean in means],
            [[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]],
            color=SERIES[k % len(SERIES)], marker=MARKER_VARIANTS[k % len(MARKER_VARIANTS)],
            capsize=2, mec="black", mew=0.5, elinewidth=0.8, label=text,
        )  # fmt: skip
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
