"""Published results, each with the protocol by which it was measured."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from remdm.analysis.policies import MAX_RETURN, EvaluatedPolicy
from remdm.base.estimates import Estimate, estimate

CLASSIC, FULL = "Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"
RELEASED = "record of the released PPO-RNN checkpoint"
LEDGER = "results ledger of the public implementation"
SCOREBOARD = "Craftax scoreboard, PPO-RNN, 15.3 % of the maximum"
UNITS = {"return": "return of an episode", "achievements": "achievements of an episode"}
TOLERANCE = 0.05  # of the number of frames, because budgets are whole updates


class Published(NamedTuple):
    """A published value.

    Attributes:
        frames: of the training of the published policy.
        protocol: keys of the evaluation that must be equal; empty for an expert's training record.
    """

    quantity: Literal["return", "achievements"]
    value: float
    frames: int
    source: str
    protocol: Mapping[str, Any] = {}

    def ours(self, policy: EvaluatedPolicy) -> Estimate:
        """The same quantity of a policy of this project."""
        return estimate(policy.returns if self.quantity == "return" else policy.unlocks)

    def is_comparable(self, policy: EvaluatedPolicy) -> bool:
        """Whether all seeds of a policy were trained for as many frames and evaluated by this protocol."""
        return all(
            abs((result.summary["trained_frames"] or 0) / self.frames - 1) <= TOLERANCE
            and all(result.config[key] == value for key, value in self.protocol.items())
            for result in policy.results
        )


LOCKED = {
    "eval_protocol": "first_episode", "eval_num_envs": 256,
    "inpaint_history": True, "replan_every": 1, "diffusion_steps_eval": 10,
}  # fmt: skip
AFRESH = {
    "eval_protocol": "fixed_steps", "eval_num_envs": 192, "eval_steps": 1024,
    "inpaint_history": False, "replan_every": 8, "diffusion_steps_eval": 50,
}  # fmt: skip
# Of several comparable values, the table of policies shows the first.
PUBLISHED = {
    (CLASSIC, "expert"): [
        Published("return", 19.36, 1_000_000_000, RELEASED),
        Published("achievements", 19.78, 1_000_000_000, RELEASED),
    ],
    (CLASSIC, "offline"): [
        Published("return", 4.15, 100_000_000, LEDGER, LOCKED),
        Published("return", 11.56, 100_000_000, LEDGER, AFRESH),
    ],
    (CLASSIC, "online"): [Published("return", 2.72, 100_000_000, LEDGER, LOCKED)],
    (FULL, "expert"): [Published("return", 0.153 * MAX_RETURN[FULL], 1_000_000_000, SCOREBOARD)],
}


def published(policy: EvaluatedPolicy) -> list[Published]:
    """The published values of the policy's game and role that are comparable with it."""
    return [other for other in PUBLISHED.get((policy.env, policy.role), []) if other.is_comparable(policy)]


def remark(policies: list[EvaluatedPolicy]) -> str:
    """A caption's remark on the published values that are shown with policies; empty if there are none."""
    if not any(map(published, policies)):
        return ""
    share = f"{100 * TOLERANCE:.0f} %"
    return f"Published values have the same evaluation protocol and, within {share}, as many training frames."
