"""What every algorithm computes, written down: a change of code that is to keep results keeps these.

    uv run python -m tests.golden [--write]

Without the flag it compares, as tests/test_golden.py does with most of them in the second tier.
"""

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = Path(__file__).with_name("golden.json")
UPDATES = 3
# The recurrent expert's exploration is an addition to the plain one's.
REAL = ("ppo", "ppo_rnn+e3b", "ppo_rnd", "offline", "online", "ablations")
TOY = ("ppo", "offline", "online", "ablations")
STRATEGIES = ("rescale", "cap", "conf")
RELATIVE, ABSOLUTE = 1e-3, 1e-5  # other processors round otherwise


def trained(algorithm) -> dict[str, float]:
    """Metrics of the last of some updates, of a validation after it, and the size of what was learnt."""
    state, update = jax.jit(algorithm.init)(jax.random.PRNGKey(0)), jax.jit(algorithm.update)
    for _ in range(UPDATES):
        state, metrics = update(state)
    params = algorithm.params(state)
    if algorithm.validate is not None:
        metrics |= jax.jit(algorithm.validate)(jax.random.PRNGKey(1), params)
    values = {name: float(x) for name, x in metrics.items() if jnp.ndim(x) == 0}
    values["norm"] = math.sqrt(
        sum(float(jnp.sum(x.astype(jnp.float32) ** 2)) for x in jax.tree.leaves(params))
    )
    return {name: value for name, value in values.items() if not math.isnan(value)}


def of_real_game(name: str) -> dict[str, float]:
    """Of an algorithm on Craftax, at its smallest."""
    from tests import test_real_game as real

    return trained(real.algorithm_of(name))


def of_toy(name: str) -> dict[str, float]:
    """Of an algorithm on the toy game."""
    from tests import test_keys as keys
    from tests.toy import toy_env

    config = keys.config_of(name, **({"arm": "kl_penalty"} if name == "ablations" else {}))
    if name == "ppo":
        return trained(keys.algorithm_of(name, config, toy_env(config.ppo_num_envs)))
    validated = config.eval_num_envs if name == "ablations" else config.validation.val_num_envs
    return trained(keys.algorithm_of(name, config, toy_env(config.num_envs), toy_env(validated)))


def of_sampler(strategy: str) -> dict[str, float]:
    """Of plans drawn with a remasking strategy: how often each action stands at each place."""
    from remdm.planners.control import Planner
    from remdm.planners.denoising import make_sampler
    from remdm.play.rollout import rollout, start
    from tests import test_keys as keys
    from tests.toy import paired_env

    network = keys.config_of("offline").denoiser
    config = keys.config_of("inference", remask_strategy=strategy, eta=0.5)
    env = paired_env(16)
    denoiser = keys.make_denoiser(network, env.game.num_actions)
    params = keys.init_params(denoiser, jax.random.PRNGKey(3), env.game.obs_dim)
    sampler = make_sampler(config.sampler, network.diffusion_schedule, 8)
    policy = Planner(denoiser, sampler).policy(params, replan_every=2, inpaint_history=True)
    state = start(jax.random.PRNGKey(4), env, policy.init(16))
    play = jax.jit(lambda key, state: rollout(key, env, policy, state, 32)[1])
    data = jax.device_get(play(jax.random.PRNGKey(5), state))
    places = np.arange(1, data.action.size + 1)
    return {"actions": float(np.sum(data.action.ravel() * places)), "reward": float(data.step.reward.sum())}


def computed(real: Iterable[str] = REAL) -> dict[str, dict[str, float]]:
    """Golden values by what they are of; of Craftax, of some algorithms."""
    values = {f"toy {name}": of_toy(name) for name in TOY}
    values |= {f"sampler {name}": of_sampler(name) for name in STRATEGIES}
    return values | {f"Craftax {name}": of_real_game(name) for name in real}


def differences(values: dict[str, dict[str, float]]) -> list[str]:
    """Where values are not those written down, in words."""
    golden = json.loads(GOLDEN.read_text())
    lines = []
    for name, now in values.items():
        before = golden[name]
        lines += [f"{name}: {metric} is gone, or new" for metric in sorted(before.keys() ^ now.keys())]
        for metric in sorted(before.keys() & now.keys()):
            if not math.isclose(now[metric], before[metric], rel_tol=RELATIVE, abs_tol=ABSOLUTE):
                lines.append(f"{name}: {metric} = {now[metric]}, which was {before[metric]}")
    return lines


def main() -> int:
    """Compare, or write; returns 1 if something differs."""
    values = computed()
    if "--write" in sys.argv:
        GOLDEN.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
        return 0
    found = differences(values)
    print("\n".join(found) or "all as before")
    return min(1, len(found))


if __name__ == "__main__":
    sys.exit(main())
