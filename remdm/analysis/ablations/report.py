"""The suite's tables, figures and report, written from the folders of its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from remdm.analysis.ablations import actions, maps, scores
from remdm.analysis.ablations.conclusions import conclude
from remdm.analysis.ablations.decision import decide, draw_tree
from remdm.analysis.ablations.drawing import draw_groups, draw_panels
from remdm.analysis.ablations.hypotheses import judge
from remdm.analysis.ablations.runs import SCORE, Suite, read_suite
from remdm.analysis.ablations.standing import Standings, stand
from remdm.analysis.ablations.tables import write_tables
from remdm.analysis.formats import write_text
from remdm.analysis.style import own_settings, save_both

Draw = Callable[[Suite, Standings], Figure]


def _of_runs(draw: Callable[..., Figure], *panels: Any, **keys: Any) -> Draw:
    """A figure that does not need the standings."""
    return lambda suite, _: draw(suite, *panels, **keys)


# By file name: the function that draws it, and its caption.
FIGURES: dict[str, tuple[Draw, str]] = {
    "scores": (scores.draw_scores, "Return of first episodes at the last evaluation; dots are seeds."),
    "differences": (scores.draw_differences,
                    "Difference to baseline_rl in the same worlds, with 95 % intervals."),
    "groups": (scores.draw_group_scores, "Groups of arms; dots are arms."),
    "decision_tree": (lambda s, st: draw_tree(decide(s, st)), "The way from the scores to what is next."),
    "training_return": (_of_runs(draw_panels, "train/window_return", "window return"),
                        "Return of the collected windows, by arm."),
    "training_loss": (_of_runs(draw_panels, "diffusion/loss", "loss"), "Loss, by arm."),
    "evaluation": (_of_runs(draw_groups, (SCORE, "return of first episodes"), pretrained=SCORE),
                   "Return of first episodes over training; bands span the seeds."),
    "alignment": (_of_runs(draw_groups, ("diag/gradient_cosine", "cosine of RL and BC gradient"),
                           ("diag/rl_grad_norm", "norm of the RL gradient"),
                           ("diag/bc_grad_norm", "norm of the BC gradient")),
                  "Cosine of RL and BC gradients, and their norms."),
    "conflict": (_of_runs(maps.draw_conflict), "Where RL and BC gradients conflict."),
    "layers": (_of_runs(maps.draw_layers), "Gradient norm of each layer; hatched where it is zero."),
    "drift": (_of_runs(draw_groups, ("diag/kl", "KL (nats), all t"), ("diag/kl_low_t", "KL (nats), t < 0.2"),
                       ("diag/kl_mid_t", "KL (nats), t 0.3-0.7"), ("diag/kl_high_t", "KL (nats), t > 0.8")),
              "KL to the pretrained policy, by noise level."),
    "similarity": (_of_runs(draw_groups, ("diag/cka", "CKA with pretrained logits")),
                   "CKA of logits with the pretrained planner's."),
    "noise_levels": (_of_runs(maps.draw_noise_levels), "Gradient norm by noise level t."),
    "signal": (_of_runs(draw_groups, ("train/win_rate", "win rate of windows"),
                        ("train/effective_batch", "effective batch (windows)")),
               "Win rate and effective batch size."),
    "variety": (_of_runs(draw_groups, ("train/action_entropy", "entropy of actions (nats)"),
                         ("train/distinct_actions", "distinct actions")),
                "How varied the actions of the rollouts are."),
    "achievements": (_of_runs(maps.draw_achievements), "Change of each achievement's rate, by arm."),
    "achievements_start_end": (maps.draw_achievements_start_end, "Achievements, start against end."),
    "achievements_over_time": (_of_runs(maps.draw_achievements_over_time), "Achievements over training."),
    "actions": (_of_runs(actions.draw_actions), "Change of the share of each action, by arm."),
    "transitions": (_of_runs(actions.draw_transitions), "Which action follows which, before and after."),
    "divergence": (_of_runs(actions.draw_divergence), "Divergence of actions from the pretrained planner's."),
}  # fmt: skip


def draw(results: Sequence[str], path: Path) -> None:
    """Write the suite's report, tables and figures from files of its runs."""
    write_ablations(list(dict.fromkeys(str(Path(file).parent) for file in results)), path.parent)


@own_settings()
def write_ablations(folders: Sequence[str], output: Path) -> None:
    """Write `tables/`, `figures/` and `report.md` of the suite.

    Args:
        folders: of the requested runs, `.../<arm>/s<seed>`; one without a finished run counts as missing.
        output: receives the results, such as `results/<env>/ablations`.

    Raises:
        UserError: a file that cannot be read, an unknown arm, or no finished run.
        ConfigError: the runs cannot be pooled.
    """
    suite = read_suite(folders)
    standings = stand(suite)
    findings = judge(suite, standings)
    write_tables(suite, standings, findings, output / "tables")
    for name, (draw, _) in FIGURES.items():
        save_both(draw(suite, standings), output / "figures" / name)
    captions = {name: caption for name, (_, caption) in FIGURES.items()}
    text = conclude(suite, standings, findings, output / "tables", captions)
    write_text(text, output / "report.md")
