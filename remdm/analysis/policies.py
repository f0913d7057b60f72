"""The policies that were evaluated: the episodes of all their seeds."""

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
        title: its name in figures and tables; by its name if empty.
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
        """Episodes of all seeds."""
        return sum(len(sample) for sample in self.returns)

    @cached_property
    def returns(self) -> Samples:
        """Returns of each seed's episodes."""
        return [result.episodes["return"].to_numpy() for result in self.results]

    @cached_property
    def lengths(self) -> Samples:
        """Steps of each seed's episodes."""
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
        """Whether another policy's episodes were counted in the same way."""
        keys = ("eval_protocol", "eval_num_envs", "eval_steps")
        mine, theirs = self.results[0].config, other.results[0].config
        return all(mine[key] == theirs[key] for key in keys)


def read_policies(evaluations: list[str]) -> list[EvaluatedPolicy]:
    """The policies of all games, in the order they come."""
    groups = grouped(read_results(evaluations), "env", "name")
    return [EvaluatedPolicy(env, name, tuple(results)) for (env, name), results in groups.items()]


def share_of_expert(policy: EvaluatedPolicy, rivals: list[EvaluatedPolicy]) -> Estimate | None:
    """A policy's mean return over the expert's of the same seed, seeds averaged.

    None without an expert among `rivals` that was evaluated alike and earned something in each seed.
    """
    experts = (rival for rival in rivals if rival.role == "expert" and rival.evaluated_alike(policy))
    expert = next(experts, None)
    ours, theirs = _paired_returns(policy, expert) if expert else ([], [])
    if not theirs or min(sample.mean() for sample in theirs) <= 0:
        return None
    return estimate_of_two(ours, theirs, ratio)


def differences(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> dict[int, np.ndarray]:
    """For each seed both have, first minus second return of the first episodes in the same worlds [N].

    The first episode of environment e starts in the world that seed and e decide, whoever plays and in
    however many environments. Later ones are left out: in a fixed time, who dies sooner plays more of them.
    An episode that had not ended counts as far as it went, so nothing is paired where the two had different
    times to end theirs.
    """
    others = {result.seed: result for result in other.results}
    found = {}
    for result in policy.results:
        rival = others.get(result.seed)
        if rival is not None and result.config["eval_steps"] == rival.config["eval_steps"]:
            pairs = result.first_episodes.join(rival.first_episodes, on="env", suffix="_other")
            found[result.seed] = (pairs["return"] - pairs["return_other"]).to_numpy()
    return found


def probability_of_improvement(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> Estimate | None:
    """Probability that an episode of the first returns more than one of the other, of seeds both have.

    None where there is no such seed, or episodes were not counted in the same way.
    """
    ours, theirs = _paired_returns(policy, other)
    return improvement_estimate(ours, theirs) if ours and policy.evaluated_alike(other) else None


def behind(policies: list[EvaluatedPolicy], of: str) -> str:
    """How many seeds and episodes stand behind the numbers, for a caption.

    Args:
        of: what the intervals are of, such as `mean`.
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


def _paired_returns(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> tuple[Samples, Samples]:
    """Returns of the episodes of each, of seeds that both have."""
    ours, theirs = (
        {result.seed: sample for result, sample in zip(each.results, each.returns, strict=True)}
        for each in (policy, other)
    )
    seeds = [seed for seed in ours if seed in theirs]
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
