"""The model card of a published policy, written from the files that are published with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remdm.analysis.formats import as_frame, as_markdown, with_interval
from remdm.analysis.results import Result, read_json, read_results
from remdm.base.checkpoint_folder import METADATA
from remdm.config.layers import base_layers
from remdm.config.policy import PolicyConfig

METHODS = {
    "ppo": "An expert, trained by PPO",
    "offline": "A discrete-diffusion planner, trained by offline behaviour cloning of an expert",
    "online": "A discrete-diffusion planner, trained by DAgger with an expert",
    "smoke": "A discrete-diffusion planner, trained by DAgger with an expert that plays at random",
    "ablations": "A discrete-diffusion planner, fine-tuned by reward",
}
PROTOCOLS = {
    "fixed_steps": "all episodes that {eval_num_envs} environments completed in {eval_steps:,} steps each",
    "first_episode": "first episodes of {eval_num_envs} environments, of {eval_steps:,} steps at most",
}
QUANTITIES = {"return": "return", "achievements": "achievements_per_episode", "length": "length"}
PLANS = """ It denoises a plan of {plan_horizon} actions, conditioned on the observation, and plays by \
model-predictive control: plan, execute, plan again."""
CITATION = """\
    @software{remdm,
      title = {remdm: discrete-diffusion planners with remasking in Craftax},
      author = {{The remdm authors}},
      year = {2026},
      version = {0.1.0},
    }
"""
CARD = """\
---
license: mit
library_name: remdm
pipeline_tag: reinforcement-learning
tags: [craftax, jax, {tags}]
---

# {name}

{method}, for {env}; {parameters:,} parameters.{plans}

{picture}## How to load it

{use}

## Results

{results}

## How it was trained

{updates:,} updates, {frames:,} frames, seed {seed}; {minutes:.0f} minutes on {device}. Code: remdm at \
commit {commit}, with {packages}. `run.json` has every key, digests of the code and of what it was trained \
from, and what it took.

Only what playing needs is published: a training cannot be resumed from it, but its weights can start another.

## Licence and citation

MIT. If you use it, please cite:

{citation}"""


def write_card(folder: Path, name: str, address: str, picture: str | None) -> None:
    """Write `README.md` of a folder from the checkpoint, `run.json` and `evaluations/` in it.

    Args:
        name: of the policy.
        address: from which it is loaded, such as `hf:owner/repo`.
        picture: a file in the folder, if any.

    Raises:
        UserError: a file is missing or damaged.
    """
    result, metadata = Result(folder), read_json(folder / METADATA)
    found = sorted(path.parent for path in folder.glob("evaluations/*/*/run.json"))
    evaluations = read_results([str(path) for path in found]) if found else []
    is_planner = metadata["kind"] == "planner"
    packages = result.recorded("packages")
    card = CARD.format(
        tags="discrete-diffusion, planning, imitation-learning" if is_planner else "ppo",
        name=name,
        method=METHODS[result.stage],
        env=result.env,
        parameters=result.recorded("parameters"),
        plans=PLANS.format(**metadata["network"]) if is_planner else "",
        picture=f"![How it plays or learned]({picture})\n\n" if picture else "",
        use=_use(address, is_planner, evaluations),
        results=_results(evaluations),
        updates=metadata["update_step"],
        frames=metadata["frames"],
        seed=result.seed,
        minutes=result.recorded("wall_seconds") / 60,
        device=result.device,
        commit=result.commit,
        packages=", ".join(f"{package} {packages[package]}" for package in ("jax", "flax", "craftax")),
        citation=CITATION,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _use(address: str, is_planner: bool, evaluations: list[Result]) -> str:
    """How to load the policy, with the settings of its first evaluation."""
    keys = _settings(evaluations[0]) if evaluations else {}
    if not is_planner:
        flags = "".join(f" --{key} {value}" for key, value in keys.items())
        return f"    uv run remdm film --checkpoint_path {address}{flags}"
    given = "".join(f", {key}={value!r}" for key, value in keys.items())
    lines = (
        "from remdm import load_planner, play_episode, save_gif",
        f'planner = load_planner("{address}"{given})',
        'save_gif(play_episode(planner, seed=1), "episode.gif")',
    )
    return "\n".join(["```python", *lines, "```"])


def _settings(evaluation: Result) -> dict[str, Any]:
    """The keys of playing that differ from the defaults."""
    keys = PolicyConfig.planning_keys() | {"expert_temperature"}
    defaults, config = base_layers(None)[0].values, evaluation.config
    unused = PolicyConfig.planning_keys() if config["policy"] == "expert" else {"expert_temperature"}
    used = sorted((keys - unused) & config.keys())
    return {key: config[key] for key in used if config[key] != defaults[key]}


def _results(evaluations: list[Result]) -> str:
    """The table of evaluations, and a note on its intervals."""
    if not evaluations:
        return "No evaluation is published with it."
    note = (
        "Intervals: 95 %, over episodes of this one trained policy; they say nothing of other training "
        "seeds. Keys that are not named have remdm's defaults."
    )
    return as_markdown(as_frame(_rows(evaluations)), note=note).strip()


def _rows(evaluations: list[Result]) -> Iterator[dict[str, Any]]:
    for evaluation in evaluations:
        summary = evaluation.summary
        settings = ", ".join(f"{key} {value}" for key, value in _settings(evaluation).items())
        row: dict[str, Any] = {"evaluation": evaluation.name}
        for title, key in QUANTITIES.items():
            row |= with_interval(title, tuple(summary[key][part] for part in ("mean", "low", "high")))
        row |= {"episodes": summary["episodes"], "played_with": settings or "defaults"}
        yield row | {"counted": PROTOCOLS[summary["protocol"]].format(**evaluation.config)}
