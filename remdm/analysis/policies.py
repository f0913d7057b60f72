"""The policies that were evaluated: the episodes of all their seeds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from remdm.analysis.results import Result, read_results
from remdm.analysis.statistics import Estimate, Samples, estimate, improvement_estimate, rate
from remdm.analysis.style import label, role

MAX_RETURN = {"Craftax-Classic-Symbolic-v1": 22, "Craftax-Symbolic-v1": 226}


@dataclass(frozen=True)
class Policy:
    """A policy in a game, and its evaluations, one for each training seed."""

    env: str
    name: str
    results: tuple[Result, ...]

    @property
    def role(self) -> str:
        """Expert, offline, online, random or planner."""
        return role(self.name)

    @property
    def label(self) -> str:
        """Its name in figures and tables."""
        return label(self.name)

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


def read_policies(evaluations: list[str]) -> list[Policy]:
    """The policies of all games, in the order they come."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in read_results(evaluations):
        groups.setdefault((result.env, result.name), []).append(result)
    return [Policy(env, name, tuple(results)) for (env, name), results in groups.items()]


def by_game(policies: Iterable[Policy]) -> dict[str, list[Policy]]:
    """Policies of each game, in the order they come."""
    games: dict[str, list[Policy]] = {}
    for policy in policies:
        games.setdefault(policy.env, []).append(policy)
    return games


def differences(policy: Policy, other: Policy) -> dict[int, np.ndarray]:
    """For each seed both have, first minus second return of the first episodes in the same worlds [N].

    The first episode of environment e starts in the world that seed and e decide, whoever plays. Later
    ones are left out: in a fixed time, who dies sooner plays more of them. Nothing is paired where the
    two were evaluated in different environments.
    """
    others = {result.seed: result for result in other.results}
    found = {}
    for result in policy.results:
        if result.seed in others and _same_worlds(result, others[result.seed]):
            pairs = _first_returns(result).join(
                _first_returns(others[result.seed]), on="env", suffix="_other"
            )
            if pairs.height:
                found[result.seed] = (pairs["return"] - pairs["return_other"]).to_numpy()
    return found


def probability_of_improvement(policy: Policy, other: Policy) -> Estimate | None:
    """Probability that an episode of the first returns more than one of the other, of seeds both have."""
    mine, theirs = (
        {r.seed: sample for r, sample in zip(p.results, p.returns, strict=True)} for p in (policy, other)
    )
    seeds = [seed for seed in mine if seed in theirs]
    if not seeds:
        return None
    return improvement_estimate([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])


def behind(policies: list[Policy], confidence: str) -> str:
    """How many seeds and episodes stand behind the numbers, for a caption.

    Args:
        confidence: what the intervals are of, such as `mean`.
    """
    parts = []
    for env, rivals in by_game(policies).items():
        fewest, most = (pick(policy.episodes for policy in rivals) for pick in (min, max))
        episodes = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        parts.append(
            f"{env}: {seeds_of(rivals, lambda p: len(p.results))}, {episodes} episodes of each policy"
        )
    return f"{'; '.join(parts)}. {interval_of(policies, confidence)}"


def interval_of(policies: list[Policy], of: str) -> str:
    """What the intervals say, for a caption."""
    most = max(len(policy.results) for policy in policies)
    if most > 1:
        return f"95 % intervals of the {of} over training seeds (Student's t)."
    return (
        f"95 % intervals of the {of} over episodes of the one training seed; they say nothing about another."
    )


def seeds_of(rivals: list[Policy], count: Callable[[Policy], int]) -> str:
    """`3 training seeds`, or a range where policies differ."""
    fewest, most = (pick(map(count, rivals)) for pick in (min, max))
    noun = "training seed" if most == 1 else "training seeds"
    return f"{most} {noun}" if fewest == most else f"{fewest} to {most} {noun}"


def _same_worlds(result: Result, other: Result) -> bool:
    keys = ("eval_num_envs", "eval_protocol")
    return all(result.recorded("config").get(key) == other.recorded("config").get(key) for key in keys)


def _first_returns(result: Result) -> pl.DataFrame:
    """The return of each environment's first episode: columns env and return."""
    # Rows stand in the order in which episodes ended, so an environment's first row is its first episode.
    return result.episodes.group_by("env", maintain_order=True).first().select("env", "return")
