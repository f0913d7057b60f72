"""What a GPU's speed depends on and any machine can count, in the programs that run.

A scatter whose order matters becomes a loop over its indices there. At a loop or choice of unknown outcome
the host waits for the device. A sort is many kernels.
"""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import pytest

from remdm.config.arms import ARMS
from remdm.envs.batch import make_batch_env, make_paired_env
from remdm.experts.acting import expert_policy
from remdm.experts.gru import GPU_UNROLL
from remdm.experts.network import init_params as init_expert
from remdm.experts.network import make_network
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser, make_sampler
from remdm.play.player import play_chunk
from remdm.play.rollout import start
from tests.programs import Counts, counts, equations, serial_scatters
from tests.test_keys import algorithm_of, config_of
from tests.tiers import slow_except
from tests.toy import GAME, paired_env, toy_env

KEY = jax.random.PRNGKey(0)
CLASSIC, FULL = "Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"


def algorithm(stage, **keys):
    """A training algorithm on the toy game."""
    config = config_of(stage, **keys)
    if stage == "ppo":
        return algorithm_of(stage, config, toy_env(config.ppo_num_envs))
    validated = config.eval_num_envs if stage == "ablations" else config.validation.val_num_envs
    return algorithm_of(stage, config, toy_env(config.num_envs), toy_env(validated))


def update(stage, **keys):
    trained = algorithm(stage, **keys)
    return jax.jit(trained.update).trace(jax.eval_shape(trained.init, KEY))


def validation(stage):
    trained = algorithm(stage)
    params = jax.eval_shape(lambda key: trained.params(trained.init(key)), KEY)
    return jax.jit(trained.validate).trace(KEY, params)


def playing(env, policy):
    """A chunk of steps of which all is kept."""
    state = jax.eval_shape(lambda key, policy: start(key, env, policy.init(env.num_envs)), KEY, policy)
    return jax.jit(play_chunk(env, lambda played: played)).trace(KEY, policy, state)


def planner(whole_plans, **keys):
    """An evaluation's play, in the same worlds for each policy."""
    config, network = config_of("inference", **keys), config_of("offline").denoiser
    denoiser = make_denoiser(network, GAME.num_actions)
    sampler = make_sampler(config.sampler, network.diffusion_schedule, config.diffusion_steps_eval)
    params = jax.eval_shape(lambda key: init_params(denoiser, key, GAME.obs_dim), KEY)
    policy = Planner(denoiser, sampler).policy(
        params, config.replan_every, config.inpaint_history, whole_plans=whole_plans
    )
    return playing(paired_env(config.eval_num_envs), policy)


def expert():
    """Collecting."""
    network = make_network(config_of("ppo").network, GAME.num_actions)
    params = jax.eval_shape(lambda key: init_expert(network, key, GAME.obs_dim), KEY)
    return playing(toy_env(8), expert_policy(network, params, temperature=1.0))


def game_step(name, make=make_batch_env):
    """A step of the real game, worlds of ended episodes replaced."""
    env = make(config_of("offline", env_name=name).env, 8)
    state = jax.eval_shape(env.reset, KEY)[1]
    return jax.jit(env.step).trace(KEY, state, jnp.zeros(8, jnp.int32))


# Each program, and what it has. A pool of worlds is two loops; worlds by number are a choice, a loop and a
# sort; looking ahead is a loop and a sort. Shuffling is a sort, and so is putting valid windows first.
# Planners choose whether to plan, and gradients in parts whether a part has valid windows.
PROGRAMS = {
    "ppo": (partial(update, "ppo", ppo_model_type="ppo"), Counts(2, 0, 1)),
    "ppo_rnn": (partial(update, "ppo"), Counts(2, 0, 1)),
    "ppo_rnd": (partial(update, "ppo", ppo_model_type="ppo_rnd"), Counts(2, 0, 2)),
    "ppo + icm": (partial(update, "ppo", ppo_exploration="icm"), Counts(2, 0, 2)),
    "ppo + e3b": (partial(update, "ppo", ppo_exploration="e3b"), Counts(2, 0, 2)),
    "offline": (partial(update, "offline"), Counts(2, 0, 2)),
    "offline in parts": (
        partial(update, "offline", microbatch_size=4, soft_labels=True, prefix_share=0.5),
        Counts(2, 1, 2),
    ),
    "offline validation": (partial(validation, "offline"), Counts(2, 1, 0)),
    "online": (partial(update, "online"), Counts(2, 0, 1)),
    "online in parts": (
        partial(update, "online", microbatch_size=4, soft_labels=True, prefix_share=0.5, optimizer="muon"),
        Counts(2, 1, 1),
    ),
    "online validation": (partial(validation, "online"), Counts(2, 1, 0)),
    "ablations": (partial(update, "ablations"), Counts(2, 2, 1)),
    "ablations validation": (partial(validation, "ablations"), Counts(2, 1, 0)),
    "expert": (expert, Counts(2, 0, 0)),
    "planner": (partial(planner, whole_plans=True), Counts(1, 2, 1)),
    "planner by confidence": (partial(planner, whole_plans=True, remask_strategy="conf"), Counts(1, 2, 1)),
    "planner looking ahead": (partial(planner, whole_plans=False), Counts(2, 2, 2)),
    CLASSIC: (partial(game_step, CLASSIC), Counts(2, 0, 0)),
    FULL: (partial(game_step, FULL), Counts(2, 0, 1)),
    f"{CLASSIC} by number": (partial(game_step, CLASSIC, make_paired_env), Counts(1, 1, 1)),
}
SLOW = {FULL, f"{CLASSIC} by number"}
each_program = pytest.mark.parametrize("name", slow_except(PROGRAMS, PROGRAMS.keys() - SLOW))


@cache
def traced(name):
    """Traced once for all tests of this file."""
    return PROGRAMS[name][0]()


@each_program
def test_no_scatter_is_a_loop_on_a_gpu(name):
    assert serial_scatters(traced(name).jaxpr) == []


@each_program
def test_programs_wait_for_outcomes_and_sort_no_more_than_they_did(name):
    assert counts(traced(name).jaxpr) == PROGRAMS[name][1]


@each_program
def test_programs_lower_for_cuda_without_float64(name):
    text = traced(name).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.while" in text
    assert not re.search(r"[<x]f64>", text)


def test_on_gpus_nothing_is_looked_ahead_and_the_gru_takes_several_steps_a_turn(monkeypatch):
    """Calls of the network count there, and turns of a loop of small kernels."""
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert counts(planner(whole_plans=False).jaxpr) == PROGRAMS["planner"][1]
    unrolled = [each for each in equations(update("ppo").jaxpr) if each.params.get("unroll") == GPU_UNROLL]
    assert {each.params["reverse"] for each in unrolled} == {False, True}


@pytest.mark.slow
@pytest.mark.parametrize("arm", [arm.name for arm in ARMS])
def test_no_arm_has_a_scatter_that_is_a_loop_on_a_gpu(arm):
    assert serial_scatters(update("ablations", arm=arm).jaxpr) == []


@pytest.mark.parametrize(
    ("scatter", "is_serial"),
    [
        (lambda x, i: x.at[i].set(1.0), True),
        (lambda x, i: x.at[i].add(1.0), True),
        (lambda x, i: x.at[i].set(1.0, unique_indices=True), False),
        (lambda x, i: x.at[i].max(1.0), False),
        (lambda x, i: x.at[i[:1]].set(1.0), False),
        (lambda x, i: x.astype(int).at[i].add(1), False),
        (lambda x, i: x.astype(int).at[i].set(1), True),
        (lambda x, i: jax.lax.map(lambda y: y.at[i].add(1.0), x[None]), True),
        (lambda x, i: jax.grad(lambda x: jnp.sum(x[i] ** 2))(x), True),
        # As Craftax does it: one place in each game.
        (lambda x, i: jax.vmap(lambda y, j: y.at[j].set(1.0))(jnp.stack([x] * 3), i), False),
    ],
)
def test_scatters_whose_order_counts_are_found(scatter, is_serial):
    found = serial_scatters(jax.make_jaxpr(scatter)(jnp.zeros(8), jnp.array([1, 1, 2])))
    assert bool(found) == is_serial
