"""The policies that were evaluated: the episodes of all their seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.statistics import improvement_estimate, ratio
from remdm.analysis.style import label, role
from remdm.base.estimates import Estimate, Samples, estimate, estimate_of_two, rate

MAX_RETURN = {"Craftax-Classic-Symbolic-v1": 22, "Craftax-Symbolic-v1": 226}


@dataclass(frozen=True)
class EvaluatedPolicy:
    """A policy in a game, and its evaluations, one for each training seed.

    Attributes:
        title: its label in figures and tables; derived from its name if empty.
    """

    env: str
    name: str
    results: tuple[Result, ...]
    title: str = ""

    @property
    def role(self) -> str:
        """Expert, offline, online, random or planner."""
        return role(self.name)

    @property
    def label(self) -> str:
        """Its name in figures and tables."""
        return self.title or label(self.name)

    @property
    def episodes(self) -> int:
        """The number of episodes of all seeds."""
        return sum(map(len, self.returns))

    @property
    def returns(self) -> Samples:
        """Returns of each seed's episodes."""
        return [result.returns for result in self.results]

    @cached_property
    def lengths(self) -> Samples:
        """Numbers of steps of each seed's episodes."""
        return [result.episodes["length"].to_numpy() for result in self.results]

    @property
    def achievements(self) -> tuple[str, ...]:
        """The game's achievements."""
        return tuple(self.results[0].summary["achievements"])

    @cached_property
    def unlocks(self) -> Samples:
        """Number of achievements in each seed's episodes."""
        return [result.episodes.select(self.achievements).to_numpy().sum(axis=1) for result in self.results]

    def rates(self) -> dict[str, Estimate]:
        """The share of episodes that unlock each achievement."""
        return {
            name: rate([result.episodes[name].to_numpy() for result in self.results])
            for name in self.achievements
        }

    def mean(self) -> Estimate:
        """Mean return."""
        return estimate(self.returns)

    def evaluated_alike(self, other: "EvaluatedPolicy") -> bool:
        """Whether another policy was evaluated by the same protocol."""
        keys = ("eval_protocol", "eval_num_envs", "eval_steps")
        mine, theirs = self.results[0].config, other.results[0].config
        return all(mine[key] == theirs[key] for key in keys)


def read_policies(evaluations: list[str]) -> list[EvaluatedPolicy]:
    """The policies of all games from files or folders of evaluations, in the order they come."""
    return evaluated_policies(read_results(evaluations))


def evaluated_policies(results: Iterable[Result]) -> list[EvaluatedPolicy]:
    """The policies whose evaluations are among results, in the order they come."""
    groups = grouped((result for result in results if result.stage == "inference"), "env", "name")
    return [EvaluatedPolicy(env, name, tuple(evaluations)) for (env, name), evaluations in groups.items()]


def first_evaluations(policies: list[EvaluatedPolicy]) -> list[EvaluatedPolicy]:
    """The evaluation of each policy with its preset's settings, without the further ways to play."""
    names = {(policy.env, policy.name) for policy in policies}
    return [policy for policy in policies if (policy.env, policy.name.rpartition("-")[0]) not in names]


def share_of_expert(policy: EvaluatedPolicy, rivals: list[EvaluatedPolicy]) -> Estimate | None:
    """A policy's mean return over the expert's of the same seed, seeds averaged.

    None without an expert among `rivals` that was evaluated alike and earned something in each seed.
    """
    experts = (rival for rival in rivals if rival.role == "expert" and rival.evaluated_alike(policy))
    expert = next(experts, None)
    pairs = _same_seeds(policy, expert) if expert else []
    if not pairs or min(theirs.returns.mean() for _, theirs in pairs) <= 0:
        return None
    return estimate_of_two(*_returns_of(pairs), ratio)


def differences(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> list[np.ndarray]:
    """For each seed that both have, first minus second return of the first episodes in the same worlds [N].

    The first episode of environment e starts in the world that seed and e determine, whichever policy plays
    and however many environments there are. Later episodes are left out: in a fixed number of steps, a policy
    that dies sooner plays more of them. An episode that did not end counts up to the last step, so seeds are
    paired only if both policies had the same number of steps.
    """
    found = []
    for ours, theirs in _same_seeds(policy, other):
        if ours.config["eval_steps"] == theirs.config["eval_steps"]:
            pairs = ours.first_episodes.join(theirs.first_episodes, on="env", suffix="_other")
            found.append((pairs["return"] - pairs["return_other"]).to_numpy())
    return found


def probability_of_improvement(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> Estimate | None:
    """Probability that an episode of the first returns more than one of the other, over seeds that both have.

    None without such a seed, or if the two were evaluated by different protocols.
    """
    pairs = _same_seeds(policy, other)
    return improvement_estimate(*_returns_of(pairs)) if pairs and policy.evaluated_alike(other) else None


def behind(policies: list[EvaluatedPolicy], of: str) -> str:
    """How many seeds and episodes the numbers come from, for a caption.

    Args:
        of: the statistic that the intervals belong to, such as `mean`.
    """
    parts = []
    for env, rivals in grouped(policies, "env").items():
        seeds = _range([len(policy.results) for policy in rivals])
        plural = "" if seeds == "1" else "s"
        episodes = _range([policy.episodes for policy in rivals])
        parts.append(f"{env}: {seeds} training seed{plural}, {episodes} episodes of each policy")
    over = "training seeds (Student's t)."
    if max(len(policy.results) for policy in policies) == 1:
        over = "episodes of the one training seed; they say nothing about another."
    return f"{'; '.join(parts)}. 95 % intervals of the {of} over {over}"


def _range(counts: list[int]) -> str:
    """`1,000`, or `900 to 1,000` where they differ."""
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))


def _same_seeds(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> list[tuple[Result, Result]]:
    """The evaluations of both, of each seed that both have."""
    theirs = {result.seed: result for result in other.results}
    return [(ours, theirs[ours.seed]) for ours in policy.results if ours.seed in theirs]


def _returns_of(pairs: list[tuple[Result, Result]]) -> tuple[Samples, Samples]:
    """The returns of the first of each pair, and of the second."""
    return [ours.returns for ours, _ in pairs], [theirs.returns for _, theirs in pairs]
