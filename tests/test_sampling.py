"""The reverse process: closed forms of each step, and the whole against a slow literal implementation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from remdm.diffusion.details import sampling_details
from remdm.diffusion.remasking import PER_TOKEN, STRATEGIES, sigma_max
from remdm.diffusion.sampling import Sampler, draw, make_grid, nucleus, sample, split_steps, token_probs

V, H = 3, 2
MASK = V


def settings_of(steps, **keys):
    """A sampler with the specification's settings, but for some."""
    usual = Sampler(steps, "cosine", "rescale", 0.5, True, 0.7, 0.3, 0.5, 0.95)
    return usual._replace(**keys)


def denoise(tokens, t):
    """A model whose logits depend on position, time and the other token."""
    other = tokens[:, ::-1, None].astype(jnp.float32)
    logits = jnp.sin(1.0 + jnp.arange(H)[:, None] + 2.0 * jnp.arange(V) + other)
    return 1.5 * logits + t[:, None, None] * jnp.arange(V)


def run(sampler, batch, seed=0, locked=None):
    none = jnp.zeros((batch, H), jnp.int32)
    locked = jnp.zeros((batch, H), bool) if locked is None else locked
    return jax.jit(
        lambda key: sample(key, denoise, sampler, num_tokens=V, locked_tokens=none + 1, locked=locked)
    )(jax.random.PRNGKey(seed))


# --- a literal implementation in numpy: one sample at a time, no vectorised tricks ---


def literal_alpha(schedule, t):
    return 1.0 - t if schedule == "linear" else np.cos(np.pi * t / 2)


def literal_steps(s):
    """(t told to the model, alpha_t, alpha_s, remask?, held?) of each step."""

    def run_down(start, end, n):
        times = np.linspace(start, end, n + 1)
        return list(itertools.pairwise(times))

    if not s.use_loop:
        plan = [(t, u, True, False) for t, u in run_down(1.0, 0.0, s.steps)]
    else:
        n1, n2, n3 = split_steps(s.steps, (1 - s.t_on, s.t_on - s.t_off, s.t_off))
        plan = [(t, u, False, False) for t, u in run_down(1.0, s.t_on, n1)]
        plan += [(s.t_on, s.t_on, True, True)] * n2
        plan += [(t, u, False, False) for t, u in run_down(s.t_on, 0.0, n3)]
    return [(t, literal_alpha(s.schedule, t), literal_alpha(s.schedule, u), r, h) for t, u, r, h in plan]


def literal_probs(logits, s):
    if s.temperature == 0:
        return np.eye(V)[int(np.argmax(logits))]
    p = np.exp(logits / s.temperature)
    p /= p.sum()
    kept = np.array([p[i] if sum(q for q in p if q > p[i]) < s.top_p else 0.0 for i in range(V)])
    return kept / kept.sum()


def literal_sigma(s, largest, psi, committed, held):
    sigma = np.zeros(H)
    for h in range(H):
        if s.strategy == "rescale":
            sigma[h] = s.eta * largest
        elif s.strategy == "cap":
            sigma[h] = min(s.eta, largest)
        elif committed[h] and s.strategy == "conf":
            sigma[h] = s.eta * largest * (1 - psi[h])
        elif committed[h]:
            total = sum(np.exp(-psi[j]) for j in range(H) if committed[j])
            sigma[h] = s.eta * largest * np.exp(-psi[h]) / total
    if held and s.strategy in ("conf", "conf_softmax"):
        mean = np.mean(sigma[committed]) if committed.any() else 0.0
        sigma = np.where(committed, sigma, mean)
    return sigma


def literal_distribution(s):
    """Exact distribution of plans, by following every branch: {(tokens): probability}.

    psi is part of the state, so states are (tokens, psi) pairs.
    """
    states = {((MASK,) * H, (0.0,) * H): 1.0}
    for t, alpha_t, alpha_s, remask, held in literal_steps(s):
        following = {}
        for (tokens, psi), weight in states.items():
            logits = np.asarray(denoise(jnp.array([tokens]), jnp.array([t], jnp.float32)))[0]
            committed = np.array([token != MASK for token in tokens])
            largest = min(1.0, (1 - alpha_s) / alpha_t) if alpha_t > 1e-9 else 1.0
            sigma = literal_sigma(s, largest, psi, committed, held) if remask else np.zeros(H)
            branches = [((), (), weight)]
            for h in range(H):
                options = []
                if committed[h]:
                    options = [(MASK, psi[h], sigma[h]), (tokens[h], psi[h], 1 - sigma[h])]
                else:
                    p_unmask = min(1.0, (alpha_s - (1 - sigma[h]) * alpha_t) / (1 - alpha_t))
                    probs = literal_probs(logits[h], s)
                    options = [(v, round(float(probs[v]), 9), p_unmask * probs[v]) for v in range(V)]
                    options.append((MASK, psi[h], 1 - p_unmask))
                branches = [
                    ((*done, token), (*known, q), w * p)
                    for done, known, w in branches
                    for token, q, p in options
                    if p > 1e-12
                ]
            for done, known, w in branches:
                following[done, known] = following.get((done, known), 0.0) + w
        states = following
    plans = {}
    for (tokens, _), weight in states.items():
        plans[tokens] = plans.get(tokens, 0.0) + weight
    return plans


@pytest.mark.parametrize("use_loop", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_samples_have_the_distribution_of_the_literal_implementation(strategy, use_loop):
    """Chi-square on 100,000 plans; exact probabilities, so the level is that of the test: 1e-4."""
    sampler = Sampler(5, "cosine", strategy, 0.7, use_loop, 0.6, 0.3, 0.8, 0.9)
    exact = literal_distribution(sampler)
    assert sum(exact.values()) == pytest.approx(1.0)
    assert all(MASK not in plan for plan in exact)

    plans = np.asarray(run(sampler, 100_000)[0])
    counts = {plan: int((plans == plan).all(axis=1).sum()) for plan in exact}
    assert sum(counts.values()) == 100_000
    expected = np.array([exact[plan] for plan in counts]) * 100_000
    assert stats.chisquare(list(counts.values()), expected * 100_000 / expected.sum()).pvalue > 1e-4


def test_remasking_matters_to_the_distribution():
    """If it did not, the test above could not tell the strategies apart."""
    distributions = [
        literal_distribution(Sampler(5, "cosine", name, eta, False, 0.6, 0.3, 0.8, 0.9))
        for name, eta in (
            ("rescale", 0.0),
            ("rescale", 0.7),
            ("cap", 0.7),
            ("conf", 0.7),
            ("conf_softmax", 0.7),
        )
    ]
    for i, first in enumerate(distributions):
        for second in distributions[:i]:
            distance = sum(abs(first.get(p, 0.0) - second.get(p, 0.0)) for p in {*first, *second})
            assert distance > 1e-3


@pytest.mark.parametrize("use_loop", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_no_mask_is_left(schedule, strategy, use_loop):
    sampler = settings_of(7, schedule=schedule, strategy=strategy, eta=1.0, use_loop=use_loop)
    plans, trace = run(sampler, 500)
    assert (plans != MASK).all()
    assert (trace[-1] == plans).all()
    assert trace.shape == (7, 500, H)
    # With eta = 1 some committed token is masked again on the way.
    assert ((trace[:-1] != MASK) & (trace[1:] == MASK)).any()


@pytest.mark.parametrize("use_loop", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_locked_tokens_are_never_touched(strategy, use_loop):
    """And the others are drawn, re-masked and drawn again next to them."""
    locked = jnp.arange(H) < jnp.array([0, 1, 2] * 100)[:, None]
    # No token is certain, or conf would re-mask none.
    sampler = settings_of(6, strategy=strategy, eta=1.0, use_loop=use_loop, temperature=2.0, top_p=1.0)
    _, trace = run(sampler, 300, locked=locked)
    assert (jnp.where(locked, trace, 1) == 1).all()
    assert ((trace[:-1, 1::3] != MASK) & (trace[1:, 1::3] == MASK)).any()


def test_the_last_step_that_draws_a_token_by_hand():
    """Linear schedule, three steps of `rescale`: probabilities (1 - eta) / 3, (1 + eta) / 3 and 1 / 3.

    alpha rises 0, 1/3, 2/3, 1. The first step draws a third of the tokens. In the second, sigma_max is
    (1 - 2/3) / (1/3) = 1, so eta of those are re-masked, and of the other two thirds
    (2/3 - (1 - eta) / 3) / (2/3) = (1 + eta) / 2 are drawn. In the last, sigma_max is 0: the rest is drawn.
    Positions are independent. The model says k at step k, so a plan's tokens name the steps.
    """
    batch = 100_000

    def step_of(tokens, t):
        step = jnp.rint(3 * (1 - t)).astype(jnp.int32)
        return jnp.broadcast_to(50.0 * jax.nn.one_hot(step, V)[:, None], (*tokens.shape, V))

    @jax.jit
    def plans(eta):
        sampler = settings_of(3, schedule="linear", eta=eta, use_loop=False)
        free = jnp.zeros((batch, H), jnp.int32)
        key = jax.random.PRNGKey(0)
        return sample(key, step_of, sampler, num_tokens=V, locked_tokens=free, locked=free > 0)[0]

    for eta in (0.0, 0.4, 1.0):
        expected = np.array([1 - eta, 1 + eta, 1]) / 3
        both = np.outer(expected, expected)
        first, second = np.asarray(plans(jnp.float32(eta))).T
        shares = np.bincount(V * first + second, minlength=V * V).reshape(V, V) / batch
        # Five standard errors; where nothing is expected, nothing.
        assert (np.abs(shares - both) <= 5 * np.sqrt(both * (1 - both) / batch)).all()


def test_tokens_of_the_nucleus_keep_their_ratios():
    """Frequencies are the renormalised probabilities of the nucleus; of equal tokens, all stay or none."""
    probs = np.array([[0.4, 0.3, 0.15, 0.1, 0.05], [0.3, 0.1, 0.3, 0.2, 0.1]])
    kept = np.array([[0.4, 0.3, 0.15, 0.0, 0.0], [0.3, 0.0, 0.3, 0.2, 0.0]]) / [[0.85], [0.8]]
    logits = jnp.log(jnp.asarray(probs))
    # 0.7 and 0.6 lie above the last that are kept, 0.85 and 0.8 above the first that are not.
    assert np.asarray(token_probs(logits, 1.0, 0.75)) == pytest.approx(kept, abs=1e-6)

    batch = 100_000
    sampler = settings_of(1, use_loop=False, temperature=1.0, top_p=0.75)
    free = jnp.zeros((batch, H), jnp.int32)
    plans, _ = jax.jit(
        lambda key: sample(
            key,
            lambda tokens, t: jnp.broadcast_to(logits, (batch, H, 5)),
            sampler,
            num_tokens=5,
            locked_tokens=free,
            locked=free > 0,
        )
    )(jax.random.PRNGKey(0))
    for position in range(H):
        shares = np.bincount(np.asarray(plans)[:, position], minlength=5) / batch
        # Five standard errors; of what is not in the nucleus, nothing.
        assert (np.abs(shares - kept[position]) <= 5 * np.sqrt(kept * (1 - kept) / batch)[position]).all()


def test_without_remasking_committed_tokens_stay():
    _, trace = run(settings_of(6, eta=0.0, use_loop=False), 500)
    assert not ((trace[:-1] != MASK) & (trace[1:] != trace[:-1])).any()


def test_share_of_unmasked_tokens_follows_alpha_in_every_phase():
    """E[share unmasked after a step] = alpha_s, exactly, for row-wide sigma; held in the loop."""
    sampler = settings_of(12)
    grid = make_grid(sampler)
    _, trace = run(sampler, 20_000)
    share = np.asarray((trace != MASK).mean(axis=(1, 2)))
    # 40,000 tokens: a standard error of at most 0.0025; four of them.
    assert share == pytest.approx(np.asarray(grid.alpha_s), abs=0.01)
    held = np.asarray(grid.alpha_t == grid.alpha_s)
    assert held.sum() >= 3
    assert share[held] == pytest.approx(np.cos(np.pi * 0.7 / 2), abs=0.01)


def test_sigma_by_hand():
    # alpha_t = 0.5, alpha_s = 0.8: sigma_max = 0.2 / 0.5 = 0.4.
    largest = sigma_max(jnp.float32(0.5), jnp.float32(0.8))
    assert largest == pytest.approx(0.4)
    assert sigma_max(jnp.float32(0.0), jnp.float32(0.1)) == 1.0
    psi, committed = jnp.array([[0.9, 0.5, 0.3]]), jnp.array([[True, True, False]])

    def sigma(name, eta):
        return np.asarray(STRATEGIES[name](largest, eta, psi, committed))[0]

    assert sigma("rescale", 0.5) == pytest.approx([0.2, 0.2, 0.2])
    assert sigma("cap", 0.5) == pytest.approx([0.4, 0.4, 0.4])
    assert sigma("cap", 0.3) == pytest.approx([0.3, 0.3, 0.3])
    assert sigma("conf", 0.5) == pytest.approx([0.02, 0.1, 0.0])
    shares = np.exp([-0.9, -0.5]) / np.exp([-0.9, -0.5]).sum()
    assert sigma("conf_softmax", 1.0) == pytest.approx([0.4 * shares[0], 0.4 * shares[1], 0.0])
    nothing = STRATEGIES["conf_softmax"](largest, 1.0, psi, jnp.zeros((1, 3), bool))
    assert (nothing == 0).all()
    assert {"conf", "conf_softmax"} == PER_TOKEN


def test_grid_of_the_loop():
    grid = make_grid(settings_of(10))
    # Shares 0.3 : 0.4 : 0.3 of ten steps; alpha runs on where it was held, and ends at 1.
    assert np.asarray(grid.remask).tolist() == [False] * 3 + [True] * 4 + [False] * 3
    assert np.asarray(grid.t[:3]) == pytest.approx([1.0, 0.9, 0.8])
    assert np.asarray(grid.t[3:7]) == pytest.approx([0.7] * 4)
    assert np.asarray(grid.alpha_s[:-1]) == pytest.approx(np.asarray(grid.alpha_t[1:]))
    assert grid.alpha_s[-1] == 1.0
    assert grid.alpha_t[0] == 0.0


@given(
    steps=st.integers(3, 200),
    shares=st.tuples(*[st.floats(0.01, 1.0)] * 3),
)
def test_split_steps_is_proportional(steps, shares):
    counts = split_steps(steps, shares)
    assert sum(counts) == steps
    assert min(counts) >= 1
    # One step each is given first; the rest lies within one of its share.
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - 1 - (steps - 3) * share / sum(shares)) < 1 + 1e-9


def test_split_steps_refuses_fewer_than_three():
    with pytest.raises(ValueError, match="at least 3"):
        split_steps(2, (1, 1, 1))


@settings(max_examples=50)
@given(
    values=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=9),
    top_p=st.floats(0.05, 1.0),
)
def test_nucleus_equals_the_sorted_definition(values, top_p):
    probs = np.asarray(values, np.float32) / np.float32(sum(values))
    kept = np.asarray(nucleus(jnp.asarray(probs), top_p)) > 0
    above = [probs[probs > p].sum(dtype=np.float32) for p in probs]
    sure = [abs(a - top_p) > 1e-5 for a in above]
    assert (kept == (np.array(above) < top_p))[sure].all()
    assert kept[np.argmax(probs)]


def test_token_probs_at_temperature_zero_is_argmax():
    assert token_probs(jnp.array([0.0, 3.0, 1.0]), 0.0, 0.9).tolist() == [0.0, 1.0, 0.0]


def test_draw_follows_probs_and_never_takes_the_impossible():
    probs = jnp.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    uniform = jnp.append(jax.random.uniform(jax.random.PRNGKey(0), (100_000,)), jnp.array([0.0, 1 - 2**-24]))
    drawn = np.bincount(np.asarray(draw(uniform, jnp.broadcast_to(probs, (100_002, 6)))), minlength=6)
    assert drawn[[0, 2, 5]].sum() == 0
    # Standard errors below 0.0016; four of them.
    assert drawn / 100_002 == pytest.approx(np.asarray(probs), abs=0.0064)


# --- what can be told of a sample afterwards ---


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("locks", [False, True])
def test_details_are_those_of_the_steps_that_drew_the_sample(strategy, locks):
    """Step by step with the literal implementation above, along the tokens that were drawn."""
    sampler = settings_of(12, strategy=strategy, eta=0.9, temperature=1.0)
    locked = jnp.array([[locks, False]])
    _, trace = run(sampler, 1, seed=1, locked=locked)
    start = jnp.where(locked[0], 1, MASK)
    details = sampling_details(denoise, sampler, start, trace[:, 0], V)
    tokens, psi, again = np.asarray(start), np.ones(H), 0
    for k, (t, alpha_t, alpha_s, remask, held) in enumerate(literal_steps(sampler)):
        logits = np.asarray(denoise(tokens[None], jnp.array([t], jnp.float32)))[0]
        probs = np.array([literal_probs(row, sampler) for row in logits])
        np.testing.assert_allclose(details.probs[k], probs, atol=1e-5)
        committed = (tokens != MASK) & ~np.asarray(locked[0])
        largest = min(1.0, (1 - alpha_s) / alpha_t) if alpha_t > 1e-9 else 1.0
        sigma = literal_sigma(sampler, largest, psi, committed, held) if remask else np.zeros(H)
        np.testing.assert_allclose(details.remask[k], np.where(committed, sigma, 0), atol=1e-5)
        after = np.asarray(trace[k, 0])
        for h in np.flatnonzero((tokens == MASK) & (after != MASK)):
            psi[h] = probs[h, after[h]]
        np.testing.assert_allclose(details.confidence[k], psi, atol=1e-5)
        again += ((tokens != MASK) & (after == MASK)).sum()
        tokens = after
    assert again > 0 or strategy == "conf_softmax" or locks
