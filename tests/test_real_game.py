"""Every algorithm learns for some updates on the real game, at its smallest.

The recurrent expert with E3B, which rests on what ICM learns, does so in the pipeline of `test_pipeline.py`.
"""

import jax
import numpy as np
import pytest

from remdm.ablations.arm import load_arm
from remdm.ablations.finetuning import make_finetuning
from remdm.ablations.problem import make_problem
from remdm.config.denoiser import NO_PAST
from remdm.config.layers import Layer, base_layers, build
from remdm.config.stages import STAGES
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.play.policy import random_policy
from tests.smallest import SMALLEST
from tests.test_arms import named, run
from tests.tiers import slow_except

ENVS, STEPS, UPDATES = 4, 8, 2
KEYS = {
    **SMALLEST, **NO_PAST,
    "seed": 0, "num_envs": ENVS, "num_steps": STEPS, "ppo_num_envs": ENVS, "ppo_num_steps": STEPS,
    "val_num_envs": ENVS, "eval_num_envs": ENVS, "ppo_total_timesteps": UPDATES * ENVS * STEPS,
    "offline_total_timesteps": UPDATES * ENVS * STEPS, "online_total_timesteps": 1000,
    "val_diffusion_steps": 3, "ablation_diffusion_steps": 3, "ablation_diagnostics_every": None,
    "ablation_cka_every": None,
}  # fmt: skip


def config_of(stage, **keys):
    return build(STAGES[stage].model, [*base_layers(None), Layer("test", {**KEYS, **keys})])


def algorithm_of(name):
    if name in ("offline", "online"):
        config = config_of(name)
        env = make_batch_env(config.env, ENVS, config.denoiser)
        make = {"offline": make_offline, "online": make_online}[name]
        return make(config, env, env, random_policy(env.game.num_actions))
    if name == "ablations":
        config, network = config_of("ablations"), config_of("offline").denoiser
        env = make_batch_env(config.env, ENVS, network)
        denoiser = make_denoiser(network, env.game.num_actions)
        params = init_params(denoiser, jax.random.PRNGKey(1), env.game.obs_dim)
        return make_finetuning(make_problem(config, network, env), env, load_arm("baseline_rl"), params)
    model, _, exploration = name.partition("+")
    config = config_of("ppo", ppo_model_type=model, ppo_exploration=exploration or "none")
    return make_ppo(config, make_batch_env(config.env, ENVS))


FAST = ["ppo", "offline", "online", "ablations"]


@pytest.mark.parametrize("name", slow_except(["ppo+icm", "ppo_rnd", *FAST], FAST))
def test_an_algorithm_learns_on_the_real_game(name):
    algorithm = algorithm_of(name)
    first, last, metrics = run(algorithm, UPDATES)
    for found in metrics:
        for key, value in found.items():
            if key.endswith(("loss", "grad_norm", "env/reward", "exploration/reward")):
                assert np.isfinite(value), key
        [norm] = [key for key in found if key in ("ppo/grad_norm", "diffusion/grad_norm")]
        assert found[norm] > 0
        assert found["env/episodes"].shape == ()
    before, after = named(algorithm.params(first)), named(algorithm.params(last))
    assert all(np.isfinite(x).all() for x in after.values())
    assert any((x != after[path]).any() for path, x in before.items())
