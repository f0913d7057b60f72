// The page: its state, its controls, and what is drawn of each film when they are used.

/** What shows one film. */
class Panel {
  constructor(film, page) {
    this.film = film;
    this.page = page;
    this.root = find("film").content.firstElementChild.cloneNode(true);
    this.get = (selector) => this.root.querySelector(selector);
    this.get("h2").textContent = film.label;
    const count = film.unlocked.filter(({ step }) => step).length;
    const earned = `Return ${film.returns[film.steps].toFixed(1)}, ${count} of ${film.unlocked.length} achievements`;
    const alike = percent(1 - film.disagreements.length / film.steps);
    this.get(".summary").textContent = `${earned}, ${film.ending}.`
      + (film.compared && film.asks ? ` Same action as the expert in ${alike} of the steps.` : "");
    this.get(".has-plan").hidden = film.horizon === 0;
    this.map = new WorldMap(this.get(".map"), film, page.tiles);
    this.get(".whole").addEventListener("click", (event) => {
      this.map.whole = !this.map.whole;
      event.target.setAttribute("aria-pressed", this.map.whole);
      this.map.draw(Math.min(page.t, film.steps));
    });
    this.get(".course canvas").addEventListener("click", (event) => {
      const row = Math.floor((event.offsetY / event.target.clientHeight) * (film.denoisingSteps + 1));
      page.show({ k: Math.max(0, Math.min(film.denoisingSteps, row)) });
    });
    this.get(".achieved ul").replaceChildren(...film.unlocked.map(({ name, step }, i) => {
      if (!step) return element("li", {}, readable(name));
      const button = element("button", { "data-step": step }, `${i + 1} ${readable(name)} (${step})`);
      button.addEventListener("click", () => page.show({ t: step }));
      return element("li", {}, button);
    }));
    this.get(".mapped .note").textContent = "Blue: start. Orange: now. Numbers: achievements.";
  }

  draw() {
    const { film, page } = this;
    const t = Math.min(page.t, film.steps);
    const k = Math.min(page.k, film.denoisingSteps);
    drawWorld(this.get(".world"), film, page.sprites, t);
    const doing = t < film.steps ? `▶ ${readable(film.actionNames[film.actions.at(t)].name)}` : `■ ${film.ending}`;
    const fresh = film.unlocked.filter(({ step }) => step && step === t).map(({ name }) => readable(name));
    const unlocked = fresh.length ? ` · unlocked: ${fresh.join(", ")}` : "";
    this.get(".now").textContent = `${doing} · return so far ${film.returns[t].toFixed(1)}${unlocked}`;
    this.get(".vitals").replaceChildren(...film.vitalsNames.map((name, i) => element("div", {},
      element("dt", {}, readable(name)), element("dd", {}, String(film.vitals.at(t)[i])))));
    this.drawInventory(t);
    if (film.horizon) {
      drawPlan(this.get(".plan"), film, t, k);
      drawCourse(this.get(".course"), film, t, k);
    }
    drawExpert(this.get(".expert"), film, t);
    this.map.draw(t);
    for (const button of this.root.querySelectorAll(".achieved button")) {
      button.classList.toggle("reached", Number(button.dataset.step) <= t);
    }
  }

  drawInventory(t) {
    const { film } = this;
    const now = film.inventory.at(t);
    const before = film.inventory.at(Math.max(0, t - 1));
    const items = film.inventoryNames.flatMap((name, i) => (now[i]
      ? [element("li", { class: now[i] > before[i] ? "fresh" : "" }, `${readable(name)} ${now[i]}`)] : []));
    this.get(".inventory").replaceChildren(...(items.length ? items : [element("li", { class: "none" }, "nothing yet")]));
  }
}

class Page {
  constructor(page) {
    this.films = page.films;
    this.sprites = new Atlas(page.sprites);
    this.tiles = new Atlas(page.tiles);
    this.steps = Math.max(...this.films.map((film) => film.steps));
    this.denoisingSteps = Math.max(...this.films.map((film) => film.denoisingSteps));
    this.t = 0;
    this.k = this.denoisingSteps;
    this.timer = null;
    find("step").max = this.steps;
    find("denoise").max = this.denoisingSteps;
    find("denoising").hidden = find("replay").hidden = this.denoisingSteps === 0;
    const died = this.films.some((film) => film.died);
    find("end").textContent = died ? "Death" : "End";
    this.achievements = this.collect((film) => film.unlocked.map(({ step }) => step).filter(Boolean));
    this.disagreements = this.collect((film) => film.disagreements);
    this.ends = this.collect((film) => (film.died || !died ? [film.steps] : []));
    find("disagreement").hidden = !this.films.some((film) => film.compared && film.asks);
    document.querySelector("main").hidden = false;
    find("films").classList.toggle("two", this.films.length > 1);
    this.panels = this.films.map((film) => new Panel(film, this));
    find("films").replaceChildren(...this.panels.map((panel) => panel.root));
    this.listen();
    this.follow();
  }

  collect(steps) {
    return [...new Set(this.films.flatMap(steps))].sort((one, other) => one - other);
  }

  /** Show another step or another denoising step; both stay within their ranges. */
  show({ t = this.t, k = this.k }) {
    const within = (value, most) => Math.max(0, Math.min(most, Math.round(value) || 0));
    this.t = within(t, this.steps);
    this.k = within(k, this.denoisingSteps);
    find("step").value = this.t;
    find("denoise").value = this.k;
    find("step-text").textContent = `${this.t} of ${this.steps}`;
    const whole = this.k === this.denoisingSteps ? ": the plan" : "";
    find("denoise-text").textContent = `${this.k} of ${this.denoisingSteps}${whole}`;
    find("step").setAttribute("aria-valuetext", `step ${this.t} of ${this.steps}`);
    find("denoise").setAttribute("aria-valuetext", `denoising step ${this.k} of ${this.denoisingSteps}`);
    for (const panel of this.panels) panel.draw();
    this.drawTimeline();
    const hash = `#t=${this.t}&k=${this.k}`;
    find("link").href = hash;
    if (this.timer === null) {  // browsers refuse to be told of a new address at every frame
      history.replaceState(null, "", hash);
      find("status").textContent = this.panels.map((panel) => `${panel.film.label}: ${panel.get(".now").textContent}`).join(". ");
    }
  }

  /** Go where the address says. */
  follow() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const read = (name, usual) => (/^\d+$/.test(asked.get(name) ?? "") ? Number(asked.get(name)) : usual);
    this.show({ t: read("t", 0), k: read("k", this.denoisingSteps) });
  }

  jump(steps, forward = true) {
    const found = forward ? steps.find((step) => step > this.t) : steps.findLast((step) => step < this.t);
    this.stop();
    if (found === undefined) find("status").textContent = `There is no ${forward ? "later" : "earlier"} one.`;
    else this.show({ t: found });
  }

  /** Call `advance` again and again until it says that there is no more. */
  run(advance, milliseconds) {
    this.stop();
    this.timer = setInterval(() => { if (!advance()) this.stop(); }, milliseconds);
    find("play").textContent = "❚❚ Pause";
  }

  stop() {
    if (this.timer === null) return;
    clearInterval(this.timer);
    this.timer = null;
    find("play").textContent = "▶ Play";
    this.show({});
  }

  play() {
    if (this.timer !== null) return this.stop();
    if (this.t === this.steps) this.show({ t: 0 });
    this.run(() => { this.show({ t: this.t + 1 }); return this.t < this.steps; }, 1000 / Number(find("speed").value));
  }

  replay() {
    this.stop();
    this.show({ k: 0 });
    this.run(() => { this.show({ k: this.k + 1 }); return this.k < this.denoisingSteps; }, 350);
  }

  /** Where what happens: achievements as triangles, disagreements as ticks; a lane for each film. */
  drawTimeline() {
    const canvas = find("timeline");
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name);
    const margin = 8;  // the thumb of the slider goes no further
    const x = (t) => margin + (t / this.steps) * (width - 2 * margin);
    const lane = height / this.films.length;
    this.films.forEach((film, i) => {
      const y = (i + 1) * lane;
      context.fillStyle = colour("--line");
      context.fillRect(x(0), y - 2, x(film.steps) - x(0), 2);
      context.fillStyle = colour("--warn");
      for (const t of film.disagreements) context.fillRect(x(t), y - 0.35 * lane, 1, 0.35 * lane);
      context.fillStyle = colour("--good");
      for (const { step } of film.unlocked) {
        if (!step) continue;
        context.beginPath();
        context.moveTo(x(step) - 4, y - lane + 1);
        context.lineTo(x(step) + 4, y - lane + 1);
        context.lineTo(x(step), y - 0.4 * lane);
        context.fill();
      }
    });
    context.fillStyle = colour("--ink");
    context.fillRect(x(this.t) - 0.5, 0, 1.5, height);
  }

  listen() {
    const onClick = {
      play: () => this.play(), back: () => this.move({ t: this.t - 1 }), forward: () => this.move({ t: this.t + 1 }),
      replay: () => this.replay(), achievement: () => this.jump(this.achievements),
      disagreement: () => this.jump(this.disagreements), end: () => this.toEnd(),
    };
    for (const [id, act] of Object.entries(onClick)) find(id).addEventListener("click", act);
    find("step").addEventListener("input", (event) => this.move({ t: Number(event.target.value) }));
    find("denoise").addEventListener("input", (event) => this.move({ k: Number(event.target.value) }));
    find("speed").addEventListener("change", () => { if (this.timer !== null) { this.stop(); this.play(); } });
    window.addEventListener("hashchange", () => { this.stop(); this.follow(); });
    window.addEventListener("resize", () => this.show({}));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show({}));
    document.addEventListener("keydown", (event) => this.press(event));
  }

  move(where) {
    this.stop();
    this.show(where);
  }

  toEnd() {
    this.move({ t: this.ends.find((step) => step > this.t) ?? this.ends.at(-1) });
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { tagName, type } = event.target;
    const native = tagName === "SELECT" || type === "range" ? /^(Arrow|Home|End|Page)/ : /^$/;
    if (native.test(event.key) || (event.key === " " && /^(BUTTON|SUMMARY|SELECT|A)$/.test(tagName))) return;
    const far = event.shiftKey ? 10 : 1;
    const act = {
      ArrowLeft: () => this.move({ t: this.t - far }), ArrowRight: () => this.move({ t: this.t + far }),
      j: () => this.move({ k: this.k - 1 }), k: () => this.move({ k: this.k + 1 }),
      " ": () => this.play(), n: () => this.replay(), x: () => this.toEnd(), 0: () => this.move({ t: 0 }),
      a: () => this.jump(this.achievements, !event.shiftKey),
      d: () => this.jump(this.disagreements, !event.shiftKey),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

readPage().then((page) => new Page(page)).catch(giveUp);
