"""Curves over training: each arm's own panel, and all arms of a group together."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.analysis.ablations.drawing import GROUP_COLOURS, draw_groups, group_of, mean_curve, say_missing
from remdm.analysis.ablations.runs import SCORE, Suite
from remdm.analysis.results import smooth
from remdm.analysis.style import new_figure
from remdm.config.arms import BASELINE


def draw_training(suite: Suite) -> Figure:
    """The return of the collected windows, a panel for each arm."""
    return _draw_panels(suite, "train/window_return", "window return")


def draw_loss(suite: Suite) -> Figure:
    """The loss, a panel for each arm."""
    return _draw_panels(suite, "diffusion/loss", "loss")


def draw_evaluation(suite: Suite) -> Figure:
    """Episode return at each evaluation, beside the pretrained planner's."""
    return draw_groups(suite, ((SCORE, "episode return"),), pretrained=SCORE)


def draw_alignment(suite: Suite) -> Figure:
    """Cosine of RL and BC gradient, and both norms."""
    return draw_groups(
        suite,
        (
            ("diag/gradient_cosine", "cosine of RL and BC gradient"),
            ("diag/rl_grad_norm", "norm of the RL gradient"),
            ("diag/bc_grad_norm", "norm of the BC gradient"),
        ),
    )


def draw_drift(suite: Suite) -> Figure:
    """KL to the pretrained policy: over all t, and by noise level."""
    parts = (("", "all t"), ("_low_t", "t < 0.2"), ("_mid_t", "t 0.3-0.7"), ("_high_t", "t > 0.8"))
    return draw_groups(suite, [(f"diag/kl{part}", f"KL (nats), {title}") for part, title in parts])


def draw_similarity(suite: Suite) -> Figure:
    """Linear CKA of logits with the pretrained planner's."""
    return draw_groups(suite, (("diag/cka", "CKA with pretrained logits"),))


def draw_signal(suite: Suite) -> Figure:
    """Share of winning windows, and effective batch size."""
    return draw_groups(
        suite,
        (("train/win_rate", "win rate of windows"), ("train/effective_batch", "effective batch (windows)")),
    )


def _draw_panels(suite: Suite, metric: str, unit: str) -> Figure:
    """Running mean over seeds with the seeds' range; the baseline dotted in every panel."""
    columns = min(5, len(suite.arms))
    rows = -(-len(suite.arms) // columns)
    figure, axes = new_figure(2.6 * columns, 1.9 * rows + 0.3, rows, columns)
    for ax, arm in zip(axes, suite.arms, strict=False):
        if suite.baseline and arm != BASELINE:
            _draw_smooth(ax, suite, BASELINE, metric, color="#555555", linestyle=":", label=BASELINE)
        if not _draw_smooth(ax, suite, arm, metric, color=GROUP_COLOURS[group_of(arm)], label=arm):
            say_missing(ax)
        ax.set_title(arm, fontsize=9)
    drawn = axes[: len(suite.arms)]
    low = min(ax.get_ylim()[0] for ax in drawn)
    high = max(ax.get_ylim()[1] for ax in drawn)
    for k, ax in enumerate(axes):
        ax.set_visible(k < len(suite.arms))
        ax.set_ylim(low, high)
        ax.tick_params(labelsize=7)
    figure.supxlabel(f"iteration (dotted: {BASELINE})" if suite.baseline else "iteration", fontsize=9)
    figure.supylabel(unit, fontsize=9)
    return figure


def _draw_smooth(ax: Axes, suite: Suite, arm: str, metric: str, **look: Any) -> bool:
    """Draw an arm's curve, smoothed where it has no gap; whether it has any value."""
    curve = mean_curve(suite.runs.get(arm, []), metric)
    if not np.isfinite(curve.mean).any():
        return False
    whole = not np.isnan(curve.mean).any()
    mean, low, high = (smooth(x, len(x) // 25) if whole else x for x in curve[1:])
    ax.plot(curve.updates, mean, **look)
    if "linestyle" not in look:
        ax.fill_between(curve.updates, low, high, color=look["color"], alpha=0.2, linewidth=0)
    return True
