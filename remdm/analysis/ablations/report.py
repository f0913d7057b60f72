"""The suite's tables, figures and report, written from the folders of its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from remdm.analysis.ablations import curves, maps, play, scores
from remdm.analysis.ablations.conclusions import conclude
from remdm.analysis.ablations.decision import decide
from remdm.analysis.ablations.hypotheses import judge
from remdm.analysis.ablations.runs import Suite, read_suite
from remdm.analysis.ablations.standing import Standings, stand
from remdm.analysis.ablations.tables import write_tables
from remdm.analysis.ablations.tree import draw_tree
from remdm.analysis.style import save_both
from remdm.base.files import whole_file

Draw = Callable[[Suite, Standings], Figure]


def _of_runs(draw: Callable[[Suite], Figure]) -> Draw:
    """A figure that needs no standings."""
    return lambda suite, _: draw(suite)


# By file name: who draws it, and its caption.
FIGURES: dict[str, tuple[Draw, str]] = {
    "scores": (scores.draw_scores, "Episode return at the last evaluation; dots are seeds."),
    "differences": (
        scores.draw_differences,
        "Difference to baseline_rl, with 95 % intervals over seeds (Welch).",
    ),
    "groups": (scores.draw_group_scores, "Groups of arms; dots are arms."),
    "decision_tree": (lambda s, st: draw_tree(decide(s, st)), "The way from the scores to what is next."),
    "training_return": (_of_runs(curves.draw_training), "Return of the collected windows, by arm."),
    "training_loss": (_of_runs(curves.draw_loss), "Loss, by arm."),
    "evaluation": (_of_runs(curves.draw_evaluation), "Episode return over training; bands span the seeds."),
    "alignment": (_of_runs(curves.draw_alignment), "Cosine of RL and BC gradients, and their norms."),
    "conflict": (_of_runs(maps.draw_conflict), "Where RL and BC gradients conflict."),
    "layers": (_of_runs(maps.draw_layers), "Gradient norm of each layer; hatched where it is zero."),
    "drift": (_of_runs(curves.draw_drift), "KL to the pretrained policy, by noise level."),
    "similarity": (_of_runs(curves.draw_similarity), "CKA of logits with the pretrained planner's."),
    "noise_levels": (_of_runs(maps.draw_noise_levels), "Gradient norm by noise level t."),
    "signal": (_of_runs(curves.draw_signal), "Win rate and effective batch size."),
    "achievements": (_of_runs(maps.draw_achievements), "Change of each achievement's rate, by arm."),
    "achievements_start_end": (maps.draw_achievements_start_end, "Achievements, start against end."),
    "achievements_over_time": (_of_runs(maps.draw_achievements_over_time), "Achievements over training."),
    "actions": (_of_runs(play.draw_actions), "Change of the share of each action, by arm."),
    "transitions": (_of_runs(play.draw_transitions), "Which action follows which, before and after."),
    "divergence": (_of_runs(play.draw_divergence), "Divergence of actions from the pretrained planner's."),
}


def draw(results: Sequence[str], path: Path) -> None:
    """Write the suite's report beside its tables and figures, from files of its runs."""
    write_ablations(list(dict.fromkeys(str(Path(file).parent) for file in results)), path.parent)


def write_ablations(folders: Sequence[str], output: Path) -> None:
    """Write `tables/`, `figures/` and `report.md` of the suite.

    Args:
        folders: of the runs asked for, `.../<arm>/s<seed>`; one without a finished run counts as missing.
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
    with whole_file(output / "report.md") as partial:
        text = conclude(suite, standings, findings, output / "tables", captions)
        partial.write_text(text, encoding="utf-8")
