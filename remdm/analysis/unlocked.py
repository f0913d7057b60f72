"""What one policy unlocks."""

from pathlib import Path

from remdm.analysis.achievements import draw_rates
from remdm.analysis.policies import read_policies
from remdm.analysis.style import save


def draw(evaluations: list[str], path: Path) -> None:
    """Share of episodes that unlock each achievement, of one policy in each game, as a PNG."""
    policies = read_policies(evaluations)
    titles = [
        f"{policy.env} · seed {policy.results[0].seed} · {policy.episodes:,} episodes" for policy in policies
    ]
    save(draw_rates(policies, titles), path.with_suffix(".png"))
