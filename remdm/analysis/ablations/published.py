"""Published scores of an early version of the suite, for orientation."""

from typing import Any

from remdm.analysis.ablations.runs import Suite
from remdm.config.arms import BASELINE

# Return of RL fine-tuning in Craftax-Classic; groups are means over their arms. That version's scores of
# group C and of lora are left out: frozen parameters received raw gradients, and another policy played.
SCORES = {"-": 10.82, "A": 8.85, "B": 10.01, "D": 10.98}
BEST = ("action_diversity", 11.08)
SETTING: dict[str, Any] = {
    "env_name": "Craftax-Classic-Symbolic-v1",
    "num_envs": 192,
    "ablation_iterations": 500,
}
SEEDS = 3


def published_scores(suite: Suite) -> dict[str, float]:
    """The scores by group, `-` for the baseline; empty if the setting is another one."""
    return {} if mismatch(suite) else SCORES


def mismatch(suite: Suite) -> str | None:
    """The differences of the setting from the published one, in words; None if there are none."""
    differing = [
        f"{key} = {suite.config[key]}, not {value}"
        for key, value in SETTING.items()
        if suite.config[key] != value
    ]
    seeds = len(suite.of(BASELINE))
    if seeds != SEEDS:
        differing.append(f"seeds of {BASELINE} = {seeds}, not {SEEDS}")
    return ", ".join(differing) or None
