"""The learning curves of expert and planners side by side."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from remdm.analysis.results import Result, by_env, read_results, smooth
from remdm.analysis.style import colour, in_millions, label, new_figure, save


def draw_learning_curves(trainings: list[str], output: Path) -> None:
    """A row for each game: the expert's return in training, the planners' validation, their accuracy.

    Args:
        trainings: files of trainings, one line for each folder.
    """
    games = by_env(read_results(trainings))
    figure, axes = new_figure(13, 3.8 * len(games), len(games), 3)
    for row, (env, results) in enumerate(games.items()):
        _draw_row(axes[3 * row : 3 * row + 3], env, results)
    save(figure, output)


def _draw_row(axes: Sequence[Axes], env: str, results: list[Result]) -> None:
    expert_ax, score_ax, accuracy_ax = axes
    for result in results:
        if result.stage == "ppo":
            _draw_curve(expert_ax, result, "env/episode_return", result.name)
        else:
            policy = f"{result.stage}-{result.name}"
            _draw_curve(score_ax, result, "val/score", policy)
            _draw_curve(accuracy_ax, result, "diffusion/accuracy", policy)
    for ax, title, unit in (
        (expert_ax, f"{env}: expert", "mean episode return"),
        (score_ax, "Planners: validation", "reward per environment"),
        (accuracy_ax, "Planners: masked actions", "accuracy"),
    ):
        ax.set_title(title)
        ax.set_ylabel(unit)
        ax.set_ylim(bottom=0)
        in_millions(ax)
        if ax.lines:
            ax.legend(fontsize=8)
        else:  # an expert that was not trained here
            ax.set_axis_off()


def _draw_curve(ax: Axes, result: Result, metric: str, policy: str) -> None:
    """The values, faint, and their running mean; few values are marked and joined as they are."""
    frames, values = result.curve(metric)
    few = len(values) < 30
    ax.plot(frames, values, color=colour(policy), alpha=1.0 if few else 0.2, marker="o" if few else None)
    smoothed = smooth(values, 1 if few else len(values) // 25)
    ax.plot(frames, smoothed, color=colour(policy), label=f"{label(policy)}, seed {result.seed}")
