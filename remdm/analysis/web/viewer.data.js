// The films in the page: typed arrays out of the compressed data, and what is asked of them.

const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
const readable = (name) => name.replaceAll("_", " ");

/** An array of some shape, whose items [i, j, ...] stand one after the other. */
class Grid {
  constructor(data, shape) {
    this.data = data;
    this.shape = shape;
    this.length = shape[0];
  }

  /** What stands at the given indices: a number, or a flat view of the rest. */
  at(...indices) {
    const size = this.shape.slice(indices.length).reduce((product, length) => product * length, 1);
    let place = 0;
    indices.forEach((index, axis) => { place = place * this.shape[axis] + index; });
    return indices.length === this.shape.length ? this.data[place] : this.data.subarray(place * size, (place + 1) * size);
  }
}

/** The header with all arrays in place of where they lie in the data. */
async function readPage() {
  const header = JSON.parse(document.getElementById("header").textContent);
  const buffer = await unzipped("data");
  const unpack = ([kind, offset, ...shape]) => {
    const count = shape.reduce((product, length) => product * length, 1);
    return new Grid(new KINDS[kind](buffer, offset, count), shape);
  };
  const unpackAll = (layout) => Object.fromEntries(Object.entries(layout).map(([name, found]) => [name, unpack(found)]));
  const shared = unpackAll(header.arrays);
  const films = header.films.map((film) => new Film({ ...film, ...unpackAll(film.arrays) }, header.actions));
  return { ...header, ...shared, films };
}

/** One episode, and what there is to know of each of its steps. */
class Film {
  constructor(record, actions) {
    Object.assign(this, record);
    this.actionNames = actions;
    this.steps = this.actions.length;
    this.horizon = this.plans.shape[1];
    this.denoisingSteps = this.traces.length ? this.traces.shape[1] : 0;
    this.asks = this.expertProbs.shape[1] > 0;
    this.returns = new Float32Array(this.steps + 1);
    for (let t = 0; t < this.steps; t++) this.returns[t + 1] = this.returns[t] + this.rewards.at(t);
    this.bestOfExpert = Array.from({ length: this.asks ? this.steps : 0 }, (_, t) => {
      const probs = this.expertProbs.at(t);
      return probs.indexOf(Math.max(...probs));
    });
    this.disagreements = this.compared ? this.bestOfExpert.flatMap((best, t) => (best === this.actions.at(t) ? [] : [t])) : [];
    this.unlocked = this.achievementNames
      .map((name, i) => ({ name, step: this.unlockedAt.at(i) }))
      .sort((one, other) => (one.step || Infinity) - (other.step || Infinity));
  }

  /** The number of the plan in execution at a step; -1 if there is none. */
  planAt(t) {
    let low = 0;
    let high = t < this.steps ? this.traceSteps.length : 0;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.traceSteps.at(middle) <= t) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** The tokens of a plan after k denoising steps; the mask is the number of actions. */
  tokens(plan, k) {
    if (k > 0) return this.traces.at(plan, k - 1);
    const locked = this.traceLocked.at(plan);
    return this.traces.at(plan, 0).map((token, place) => (place < locked ? token : this.actionNames.length));
  }

  /** Whether each token of a plan is masked again in denoising step k. */
  maskedAgain(plan, k) {
    const mask = this.actionNames.length;
    if (k === 0) return Array.from({ length: this.horizon }, () => false);
    const before = this.tokens(plan, k - 1);
    return Array.from(this.tokens(plan, k), (token, place) => token === mask && before[place] !== mask);
  }

  /** The most probable actions at a place in denoising step k > 0, as [action, probability]. */
  candidates(plan, k, place) {
    const probs = this.topProbs.at(plan, k - 1, place);
    return Array.from(this.topActions.at(plan, k - 1, place), (action, i) => [action, probs[i] / 255]);
  }

  /** How it ended, in words. */
  get ending() {
    if (!this.ended) return `cut after ${this.steps} steps`;
    return this.died ? `died after ${this.steps} steps` : `over after ${this.steps} steps`;
  }
}
