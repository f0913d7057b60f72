"""Denoising only what is wanted gives what denoising everything gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from remdm.diffusion.lookahead import Course, can_look_ahead, draw_course, needed_steps, sample_wanted
from remdm.diffusion.sampling import Sampler, sample, step_uniforms
from remdm.planners.control import Planner
from remdm.play.rollout import rollout, start
from tests.test_planners import SAMPLER, NoisyDenoiser
from tests.test_sampling import H, V, denoise, literal_distribution
from tests.toy import toy_env

LENGTH, TOKENS = 6, 4


def denoise_rows(tokens, t):
    """A model whose logits depend on time and on all tokens of a row, and on nothing else."""
    seen = jnp.sum(tokens * 3.0 ** jnp.arange(LENGTH), axis=1) + t
    return 2.0 * jnp.sin(seen[:, None, None] + jnp.arange(LENGTH)[:, None] * 5.0 + 2.0 * jnp.arange(TOKENS))


def both(sampler, batch, wanted, locked, block_size, seed=0):
    """The whole plans, and the wanted tokens."""
    given = {
        "num_tokens": TOKENS,
        "locked_tokens": jnp.broadcast_to(jnp.arange(LENGTH) % TOKENS, locked.shape),
        "locked": locked,
    }

    @jax.jit
    def run(key):
        whole, _ = sample(key, denoise_rows, sampler, **given)
        some = sample_wanted(
            key,
            lambda rows, tokens, t: denoise_rows(tokens, t),
            sampler,
            **given,
            wanted=wanted,
            block_size=block_size,
        )
        return whole, some

    return jax.device_get(run(jax.random.PRNGKey(seed)))


@pytest.mark.parametrize("block_size", [1, 7, 64])
@pytest.mark.parametrize("use_loop", [False, True])
@pytest.mark.parametrize("strategy", ["rescale", "cap"])
def test_wanted_tokens_are_those_of_the_whole_plan(strategy, use_loop, block_size):
    """The same key gives the same tokens, whatever is wanted and locked."""
    sampler = Sampler(7, "cosine", strategy, 0.6, use_loop, 0.7, 0.3, 0.8, 0.95)
    rng = np.random.default_rng(0)
    wanted = rng.random((64, LENGTH)) < rng.random((64, 1))
    locked = np.arange(LENGTH) < rng.integers(0, LENGTH + 1, (64, 1))
    whole, some = both(sampler, 64, wanted, locked, block_size)
    assert (whole[wanted] == some[wanted]).all()
    assert (some[locked] == whole[locked]).all()
    # A comparison of what is not wanted could not pass: that it is not computed.
    assert (whole != some).any()


@pytest.mark.parametrize("use_loop", [False, True])
@pytest.mark.parametrize("strategy", ["rescale", "cap"])
def test_a_wanted_token_has_the_distribution_of_the_literal_implementation(strategy, use_loop):
    """Chi-square on 100,000 tokens against exact probabilities, at a level of 1e-4."""
    sampler = Sampler(5, "cosine", strategy, 0.7, use_loop, 0.6, 0.3, 0.8, 0.9)
    exact = np.zeros(V)
    for plan, probability in literal_distribution(sampler).items():
        exact[plan[0]] += probability
    nothing = jnp.zeros((100_000, H), bool)
    plans = jax.jit(
        lambda key: sample_wanted(
            key,
            lambda rows, tokens, t: denoise(tokens, t),
            sampler,
            num_tokens=V,
            locked_tokens=jnp.zeros((100_000, H), jnp.int32),
            locked=nothing,
            wanted=nothing.at[:, 0].set(True),
            block_size=50_000,
        )
    )(jax.random.PRNGKey(0))
    counts = np.bincount(np.asarray(plans[:, 0]), minlength=V)
    assert stats.chisquare(counts, exact / exact.sum() * 100_000).pvalue > 1e-4


def test_needed_steps_by_hand():
    """One row, three tokens, five steps: 0 is drawn at step 3 and sees 1; 2 is drawn too late to matter."""
    masked = np.ones((5, 1, 3), bool)
    unmask = np.zeros((5, 1, 3), bool)
    unmask[0, 0, 0] = unmask[3, 0, 0] = True  # drawn, masked again in step 1, drawn again
    masked[1, 0, 0], masked[4, 0, 0] = False, False
    unmask[2, 0, 1] = True
    masked[3:, 0, 1] = False
    unmask[4, 0, 2] = True
    course = Course(jnp.asarray(masked), jnp.asarray(unmask))

    def needed(*wanted):
        return np.flatnonzero(needed_steps(course, jnp.array([wanted]))[:, 0]).tolist()

    # Step 2 draws what step 3 sees; at step 2 itself token 0 is masked, so step 0 does not matter.
    assert needed(True, False, False) == [2, 3]
    assert needed(False, True, False) == [2]
    assert needed(False, False, True) == [2, 3, 4]
    assert needed(False, False, False) == []


def test_the_last_token_of_a_plan_needs_one_step():
    """All others are locked: whatever it was before, only its last draw counts."""
    sampler = Sampler(9, "cosine", "rescale", 0.5, True, 0.7, 0.3, 0.5, 0.95)
    locked = jnp.ones((50, LENGTH), bool).at[:, -1].set(False)
    _, for_masks = step_uniforms(jax.random.PRNGKey(0), sampler, locked.shape)
    course = draw_course(for_masks, sampler, locked)
    assert (needed_steps(course, ~locked).sum(axis=0) == 1).all()
    assert (course.unmask.sum(axis=(0, 2)) > 1).any()


def test_confidence_cannot_be_foreseen():
    assert [can_look_ahead(SAMPLER._replace(strategy=name)) for name in ("rescale", "cap", "conf")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(("replan_every", "inpaint_history"), [(1, True), (2, False)])
def test_a_policy_acts_the_same_without_whole_plans(replan_every, inpaint_history):
    env = toy_env(6)

    def play(whole_plans):
        policy = Planner(NoisyDenoiser(), SAMPLER).policy(None, replan_every, inpaint_history, whole_plans)

        @jax.jit
        def run(key):
            return rollout(key, env, policy, start(key, env, policy.init(6)), 60)

        return jax.device_get(run(jax.random.PRNGKey(0)))[1]

    one, other = play(True), play(False)
    assert (one.action == other.action).all()
    assert (one.obs == other.obs).all()
    assert one.step.reward.mean() < 1
