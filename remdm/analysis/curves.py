"""The curves of one training run."""

from pathlib import Path

from remdm.analysis.results import Result
from remdm.analysis.seeds import draw_curve
from remdm.analysis.style import LINE_VARIANTS, Look, in_millions, new_panels, save

# Panels in order; those without any metric of the run are left out.
PANELS = {
    "Episode return": ["env/episode_return", "val/episode_return"],
    "Achievements per episode": ["env/achievements", "val/achievements"],
    "Validation reward": ["val/score"],
    "Episode length": ["env/episode_length"],
    "Loss": ["diffusion/loss", "diffusion/unweighted_loss"],
    "Accuracy on masked actions": [
        "diffusion/accuracy",
        "diffusion/accuracy_low_t",
        "diffusion/accuracy_mid_t",
        "diffusion/accuracy_high_t",
    ],
    "Gradient norm": ["diffusion/grad_norm", "ppo/grad_norm"],
    "Entropy": ["ppo/entropy"],
    "Value loss": ["ppo/value_loss"],
    "KL and clip fraction": ["ppo/kl", "ppo/clip_fraction"],
    "Explained variance": ["ppo/explained_variance"],
    "Intrinsic reward": ["exploration/reward"],
    "Exploration's losses": ["exploration/rnd_loss", "exploration/forward_loss", "exploration/inverse_loss"],
    "Expert share and agreement": ["dagger/beta", "dagger/agreement"],
    "Valid windows": ["train/valid_fraction", "dagger/valid_fraction"],
}


def draw(results: list[str], path: Path) -> None:
    """Draw every panel for which the run has metrics, as a PNG.

    Args:
        results: files of the run's folder.
    """
    result = Result(Path(results[0]).parent)
    panels = {
        title: found
        for title, names in PANELS.items()
        if (found := [name for name in names if name in result.metrics.columns])
    }
    figure, axes = new_panels(len(panels), 3, 2.6, 1.9)
    for ax, (title, names) in zip(axes, panels.items(), strict=True):
        for i, name in enumerate(names):
            draw_curve(ax, [result], name, Look(f"C{i}", "", "", LINE_VARIANTS[i]), name)
        ax.set_title(title)
        ax.legend(fontsize=5.5)
        in_millions(ax)
    figure.suptitle(f"{result.stage} · {result.env} · seed {result.seed}")
    save(figure, path.with_suffix(".png"))
