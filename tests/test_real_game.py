"""Every algorithm learns for some updates on the real game, at its smallest.

The recurrent expert with E3B, which rests on what ICM learns, and DAgger do so in the pipeline of
`test_pipeline.py`.
"""

import jax
import numpy as np
import pytest

from remdm.ablations.arm import load_arm
from remdm.ablations.finetuning import make_finetuning
from remdm.ablations.problem import make_problem
from remdm.config.layers import Layer, base_layers, build
from remdm.config.stages import STAGES
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.offline import make_offline
from remdm.play.policy import random_policy
from tests.smallest import SMALLEST
from tests.test_arms import named
from tests.tiers import slow_except

ENVS, STEPS, UPDATES = 4, 8, 2
KEYS = {
    **SMALLEST, "seed": 0, "num_envs": ENVS, "num_steps": STEPS, "ppo_num_envs": ENVS, "ppo_num_steps": STEPS,
    "val_num_envs": ENVS, "eval_num_envs": ENVS, "ppo_total_timesteps": UPDATES * ENVS * STEPS,
    "offline_total_timesteps": UPDATES * ENVS * STEPS, "val_diffusion_steps": 3,
    "ablation_diffusion_steps": 3, "ablation_diagnostics_every": None, "ablation_cka_every": None,
}  # fmt: skip


def config_of(stage, **keys):
    return build(STAGES[stage].model, [*base_layers(None), Layer("test", {**KEYS, **keys})])


def algorithm_of(name):
    if name == "offline":
        config = config_of("offline")
        env = make_batch_env(config.env, ENVS)
        return make_offline(config, env, env, random_policy(env.game.num_actions))
    if name == "ablations":
        config, network = config_of("ablations"), config_of("offline").denoiser
        env = make_batch_env(config.env, ENVS)
        denoiser = make_denoiser(network, env.game.num_actions)
        params = init_params(denoiser, jax.random.PRNGKey(1), env.game.obs_dim)
        return make_finetuning(make_problem(config, network, env), env, load_arm("baseline_rl"), params)
    model, _, exploration = name.partition("+")
    config = config_of("ppo", ppo_model_type=model, ppo_exploration=exploration or "none")
    return make_ppo(config, make_batch_env(config.env, ENVS))


FAST = ["ppo_rnd", "offline", "ablations"]


@pytest.mark.parametrize("name", slow_except(["ppo", "ppo+icm", "ppo+e3b", "ppo_rnn", *FAST], FAST))
def test_an_algorithm_learns_on_the_real_game(name):
    algorithm = algorithm_of(name)

    @jax.jit
    def run(key):
        first = algorithm.init(key)
        last, metrics = jax.lax.scan(lambda state, _: algorithm.update(state), first, length=UPDATES)
        return algorithm.params(first), algorithm.params(last), metrics

    first, last, metrics = jax.device_get(run(jax.random.PRNGKey(0)))
    for key in metrics:
        if key.endswith(("loss", "grad_norm", "env/reward", "exploration/reward")):
            assert np.isfinite(metrics[key]).all(), key
    [norm] = [key for key in metrics if key in ("ppo/grad_norm", "diffusion/grad_norm")]
    assert (metrics[norm] > 0).all()
    assert metrics["env/episodes"].shape == (UPDATES,)
    before, after = named(first), named(last)
    assert all(np.isfinite(x).all() for x in after.values())
    assert any((x != after[path]).any() for path, x in before.items())
