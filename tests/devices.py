"""What `test_devices.py` runs in processes of their own, for JAX must know its devices before it starts.

`python -m tests.devices eight|two FOLDER` runs it, with `XLA_FLAGS` saying how many devices there are, and
leaves a JSON file or the results of runs in the folder.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from remdm.base.errors import Interrupted
from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import PPOConfig
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.play.policy import Policy
from remdm.stages.session import prepare_jax
from remdm.training import devices
from remdm.training.checkpoint import named
from remdm.training.loop import _Loop, train
from remdm.training.run import Run
from tests.compiling import quick_environment
from tests.toy import CHAIN_GAME, ChainEnv, toy_env

REPOSITORY = Path(__file__).parents[1]
CACHE = REPOSITORY / ".tests-cache"
E, T, UPDATES = 8, 16, 3
PPO_KEYS = {
    "seed": 0, "layer_size": 8, "ppo_num_envs": E, "ppo_num_steps": T, "ppo_num_minibatches": 2,
    "ppo_update_epochs": 1, "icm_layer_size": 8, "icm_latent_size": 4, "icm_update_epochs": 1,
    "ppo_total_timesteps": E * T * UPDATES, "ppo_lr": 1e-2,
}  # fmt: skip
PLANNER_KEYS = {
    "seed": 0, "plan_horizon": 4, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8,
    "obs_encoder_layers": 1, "obs_encoder_width": 8, "dropout_rate": 0.0, "num_envs": E, "num_steps": T,
    "num_minibatches": 2, "microbatch_size": 16, "update_epochs": 1, "lr": 2e-3,
    "val_interval": 2, "val_steps": 8, "val_num_envs": E, "use_loop": False,
    "val_diffusion_steps": 2, "val_replan_every": 2, "diffusion_steps": 2,
    "offline_total_timesteps": E * T * UPDATES, "online_total_timesteps": E * T * UPDATES,
    "dagger_buffer_max": 203, "dagger_beta_final": 0.1,
}  # fmt: skip
# Trained on eight devices and on one: the combination lock has a single world, so nothing may differ.
NAMES = ("ppo+e3b", "ppo_rnn", "offline", "online")


def start(what, folder, num_devices, *launcher, **variables):
    """Run this module in a process that sees so many devices, or in several by a launcher."""
    command = [*launcher, sys.executable, "-m", "tests.devices", what, str(folder)]
    # XLA has a thread for each device, and a device may wait for others in several threads at once: with no
    # thread left, all would wait for ever.
    environment = quick_environment(NPROC="64", **variables)
    environment["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={num_devices}"
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def assert_alike(table, expected):
    assert table.columns == expected.columns
    for name in table.columns:
        ours, theirs = (t[name].cast(pl.Float64).fill_null(-1.0).to_numpy() for t in (table, expected))
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4, err_msg=name)


def lock_expert():
    """Knows the combination."""
    combination = jnp.array((*ChainEnv.COMBINATION, 0))
    return Policy(None, lambda batch_size: (), lambda params, key, obs, *_: (combination[obs.argmax(-1)], ()))


def algorithm_of(name):
    """Of a tiny network, on the combination lock."""
    env = toy_env(E, game=CHAIN_GAME)
    if name in ("offline", "online"):
        model, make = {"offline": (OfflineConfig, make_offline), "online": (OnlineConfig, make_online)}[name]
        return make(build(model, [*base_layers(None), Layer("test", PLANNER_KEYS)]), env, env, lock_expert())
    model_type, _, exploration = name.partition("+")
    return make_ppo(ppo_config(ppo_model_type=model_type, ppo_exploration=exploration or "none"), env)


def ppo_config(**keys):
    return build(PPOConfig, [*base_layers(None), Layer("test", PPO_KEYS | keys)])


def run_of(folder, results="run", **keys):
    keys = {"progress": False, "use_wandb": False, "compilation_cache_dir": str(CACHE), **keys}
    runtime = build(TrainingRuntimeConfig, [*base_layers(None), Layer("test", keys)])
    return Run("test", folder / results, folder / "state", "digest", runtime)


def interrupt(name, folder, **keys):
    """Stop after the first update; the state is saved."""
    try:
        train(algorithm_of(name), 0, run_of(folder, time_limit_minutes=1e-6, **keys))
    except Interrupted:
        return
    raise AssertionError("not interrupted")


def on_mesh(function, mesh, out, *arguments):
    """A program for all devices of a mesh."""

    def traced(*arguments):
        with devices.traced_on(mesh):
            return function(*arguments)

    return jax.jit(traced, out_shardings=out).lower(*arguments).compile()


def all_devices():
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def collectives(compiled):
    """What a program says to other devices."""
    pattern = r"(all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
    return re.findall(pattern, compiled.as_text())


def play(num_steps=40):
    """The worlds of the toy game, and the steps left in them, by step [T, E]."""
    env = toy_env(E)

    def run(key):
        _, state = env.reset(key)

        def step(state, key):
            _, state, _ = env.step(key, state, jnp.zeros(E, jnp.int32))
            return state, (state.env_state.env_state.world, state.env_state.env_state.left)

        return jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    key = np.asarray(jax.random.PRNGKey(0))
    mesh = all_devices() if jax.device_count() > 1 else None
    compiled = on_mesh(run, mesh, devices.replicated(mesh), key) if mesh else jax.jit(run)
    return [np.asarray(x).tolist() for x in compiled(key)]


def step_collectives(env):
    """What a step of environments says to other devices."""
    mesh = all_devices()
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    key = np.asarray(jax.random.PRNGKey(0))
    with devices.traced_on(mesh):
        _, state = jax.eval_shape(env.reset, key)
    batch = (state, jax.ShapeDtypeStruct((E,), jnp.int32))
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split), batch)
    return collectives(on_mesh(env.step, mesh, None, key, *batch))


def eight(folder):
    """Everything that eight devices are asked."""
    assert jax.device_count() == 8
    found = {"shares": {}}
    for name in NAMES:
        loop = _Loop(algorithm_of(name), 0, run_of(folder / name), None)
        loop.run_all()
        loop.results()
        found["shares"][name] = {
            leaf: [x.shape, x.addressable_shards[0].data.shape] for leaf, x in named(loop.state).items()
        }
    train(algorithm_of("ppo"), 0, run_of(folder / "repeats"), repeats=2)
    train(algorithm_of("online"), 0, run_of(folder / "from-one"))
    interrupt("online", folder / "from-eight")
    interrupt("online", folder / "resumed")
    train(algorithm_of("online"), 0, run_of(folder / "resumed"))
    found["worlds"] = play()
    found["collectives"] = {
        "pooled": step_collectives(toy_env(E)),
        "optimistic": step_collectives(toy_env(E, reset_ratio=2)),
    }
    (folder / "found.json").write_text(json.dumps(found))


def craftax(folder):
    """One update in the real game."""
    config = ppo_config(ppo_model_type="ppo_rnn", ppo_total_timesteps=E * T)
    train(make_ppo(config, make_batch_env(config.env, E)), 0, run_of(folder))


def two(folder):
    """One of two processes, which go on from where they were interrupted."""
    own = f"run{jax.process_index()}"
    assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 4, 2)
    interrupt("online", folder, results=own)
    train(algorithm_of("online"), 0, run_of(folder, own))


if __name__ == "__main__":
    prepare_jax(run_of(Path(sys.argv[2])).runtime)
    {"eight": eight, "craftax": craftax, "two": two}[sys.argv[1]](Path(sys.argv[2]))
