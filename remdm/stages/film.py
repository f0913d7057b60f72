"""Mode `film`: record one episode of a policy, with its plans."""

import logging
import time

import numpy as np

from remdm.base.files import whole_file
from remdm.config.film import FilmConfig
from remdm.envs.camera import load_camera
from remdm.envs.craftax import load_game
from remdm.envs.past import with_past
from remdm.evaluation.film import compile_film, names, stage_env
from remdm.loading.expert import load_expert
from remdm.loading.policy import load_policy, played_network
from remdm.planners.control import PlannerPolicy
from remdm.planners.recording import act_recorded
from remdm.training.progress import ProgressReport
from remdm.training.run import Run

logger = logging.getLogger("remdm")


def run_film(config: FilmConfig, run: Run) -> None:
    """Write `film.npz`, from which the pictures are drawn, and `run.json`.

    Policies recorded with the same seed play in the same worlds. An expert that is named, or that plays, is
    evaluated in every state.

    Raises:
        UserError: a checkpoint does not contain the policy needed.
    """
    network = played_network(config)
    env = stage_env(with_past(load_game(config.env.env_name), network), config.film_num_envs)
    policy = load_policy(config, env.game, network)
    asked = config.asked_expert
    expert = asked and load_expert(*asked, config.env.env_name, env.game, temperature=1.0)
    run.open(config)
    compiling = time.perf_counter()
    camera = load_camera(config.env.env_name)
    act = act_recorded if isinstance(policy, PlannerPolicy) else None
    film = compile_film(run.key(config.seed), env, policy, camera, act, expert)
    compile_seconds = time.perf_counter() - compiling
    with ProgressReport("film", config.film_steps * env.num_envs, run.runtime.progress) as progress:
        happened = film.roll(config.film_steps, lambda steps: progress.update(steps * env.num_envs))
        timing = progress.timing(compile_seconds)
    arrays = happened | names(env.game, camera)
    with whole_file(run.folder / "film.npz") as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    run.finish(config, **timing)
    rewards = happened["rewards"]
    logger.info("filmed %d steps, return %.1f", len(rewards), rewards.sum())
