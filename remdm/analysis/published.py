"""What others reached, as numbers."""

from typing import Literal, NamedTuple

from remdm.analysis.policies import MAX_RETURN, Policy
from remdm.analysis.statistics import Estimate, estimate

CLASSIC, FULL = "Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"
CRAFTAX = "Matthews et al. 2024, arXiv 2402.16801"
PLANNERS = "report on these planners"
UNITS = {"achievements": "achievements of an episode", "share": "% of the maximum return"}


class Published(NamedTuple):
    """A figure in its own unit; `low` and `high` differ where a range is given."""

    quantity: Literal["achievements", "share"]
    low: float
    high: float
    frames: int
    source: str

    @property
    def value(self) -> float:
        """The figure, or the middle of its range."""
        return (self.low + self.high) / 2

    def ours(self, policy: Policy) -> Estimate:
        """What a policy reaches, in the same unit."""
        if self.quantity == "achievements":
            return estimate(policy.unlocks)
        return Estimate(*(100 * value / MAX_RETURN[policy.env] for value in policy.mean()))


# The first of each is the one that tables and figures show.
PUBLISHED = {
    (CLASSIC, "expert"): [
        Published("achievements", 19, 19, 1_000_000_000, PLANNERS),
        Published("share", 90, 90, 1_000_000_000, CRAFTAX),
    ],
    (CLASSIC, "offline"): [Published("achievements", 14, 15, 100_000_000, PLANNERS)],
    (CLASSIC, "online"): [Published("achievements", 12, 13, 100_000_000, PLANNERS)],
    (FULL, "expert"): [Published("share", 15, 15, 1_000_000_000, CRAFTAX)],
    (FULL, "offline"): [Published("share", 10.7, 10.7, 100_000_000, PLANNERS)],
    (FULL, "online"): [Published("share", 8.8, 8.8, 100_000_000, PLANNERS)],
}


def published(policy: Policy) -> list[Published]:
    """What was published about a policy's like."""
    return PUBLISHED.get((policy.env, policy.role), [])
