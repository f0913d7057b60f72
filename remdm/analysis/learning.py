"""The learning curves of expert and planners side by side."""

from pathlib import Path

from remdm.analysis.results import read_results, smooth
from remdm.analysis.style import colour, in_millions, label, new_figure, save


def draw_learning_curves(trainings: list[str], output: Path) -> None:
    """Left the expert's return in training, in the middle the planners' validation, right their accuracy.

    Args:
        trainings: files of trainings, one line for each folder.
    """
    figure, (expert_ax, score_ax, accuracy_ax) = new_figure(13, 3.8, 1, 3)
    for result in read_results(trainings):
        is_expert = result.stage == "ppo"
        policy = result.name if is_expert else f"{result.stage}-{result.name}"
        panels = (
            [(expert_ax, "env/episode_return")]
            if is_expert
            else [(score_ax, "val/score"), (accuracy_ax, "diffusion/accuracy")]
        )
        for ax, metric in panels:
            frames, values = result.curve(metric)
            few = len(values) < 30
            ax.plot(
                frames, values, color=colour(policy), alpha=1.0 if few else 0.2, marker="o" if few else None
            )
            text = f"{label(policy)}, seed {result.seed}"
            ax.plot(frames, smooth(values, 1 if few else len(values) // 25), color=colour(policy), label=text)
    for ax, title, unit in (
        (expert_ax, "Expert", "mean episode return"),
        (score_ax, "Planners: validation", "reward per environment"),
        (accuracy_ax, "Planners: masked actions", "accuracy"),
    ):
        ax.set_title(title)
        ax.set_ylabel(unit)
        ax.set_ylim(bottom=0)
        in_millions(ax)
        ax.legend(fontsize=8)
    save(figure, output)
