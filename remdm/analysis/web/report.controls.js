// The page: what is switched on, and what is shown of it.

const SLOTS = [
  ["env/episode_return", "val/episode_return"], ["val/episode_return", "val/score"], ["diffusion/accuracy", "diffusion/loss"],
];

class Report {
  constructor(data) {
    Object.assign(this, data);
    this.on = this.players.map(() => true);
    this.isOn = (i) => this.on[i];
    this.view = new RunView(this.runs);
    const openRuns = (runs) => this.view.open(runs);
    this.tables = [...document.querySelectorAll("div.table")].map((root) => new SortedTable(root, openRuns));
    for (const table of this.tables) table.isOn = this.isOn;
    for (const root of document.querySelectorAll("figure.chart")) this.addChart(root);
    document.body.classList.toggle("one-game", this.games.length === 1);
    find("of-games").hidden = this.games.length === 1;
    find("game").append(...["all games", ...this.games].map((name, i) => element("option", { value: i }, name)));
    find("controls").hidden = !this.players.length;
    this.addSwitches();
    this.listen();
    this.update();
  }

  addChart(root) {
    const chart = this.charts[root.dataset.chart];
    const place = root.querySelector(".plot");
    place.setAttribute("aria-label", `${chart.name}, ${chart.game}`);
    new Figure(place, () => this.drawn(chart), (player) => this.openPlayer(player));
  }

  /** The traces of those that are on; rows of a figure are left out with their traces. */
  drawn({ traces, layout, rows }) {
    const shown = traces.filter(({ meta }) => meta === undefined || this.on[meta]);
    const found = { traces: shown.map((trace) => styled(trace, this.players[trace.meta])), layout };
    const { categoryarray, ...yaxis } = layout.yaxis;
    if (!categoryarray) return found;
    const kept = new Set(shown.flatMap(({ y }) => y));
    const left = categoryarray.filter((name) => kept.has(name));
    const abreast = layout.scattermode === "group" ? new Set(shown.map(({ meta }) => meta)).size : 1;
    found.layout = { ...layout, yaxis: { ...yaxis, categoryarray: left, range: [-0.7, left.length - 0.3] } };
    return { ...found, rows: rows && left.length, rowHeight: 22 + 8 * abreast };
  }

  openPlayer(player) {
    if (player !== undefined && this.players[player].runs.length) this.view.open(this.players[player].runs);
  }

  /** Curves are most of the data, so they are unpacked when the page is there already. */
  addAllCurves(curves) {
    this.runs.forEach((run, i) => { run.curves = curves[i]; });
    for (const root of document.querySelectorAll(".curves")) this.addCurves(root);
    this.view.drawCurves();
  }

  /** Three figures of metrics that can be chosen, of a game. */
  addCurves(root) {
    const players = this.players.map((player, i) => [player, i])
      .filter(([{ game, trained }]) => game === root.dataset.game && trained.length);
    const all = players.flatMap(([{ trained }]) => trained.flatMap((i) => Object.keys(this.runs[i].curves.metrics ?? {})));
    const metrics = [...new Set(all)].sort();
    if (!metrics.length) return root.append(element("p", { class: "note" }, "No metrics."));
    const against = element("select", { "aria-label": "Against" }, element("option", {}, "frames"), element("option", {}, "minutes"));
    const each = element("input", { type: "checkbox" });
    const log = element("input", { type: "checkbox" });
    const redraw = [];
    for (const control of [against, each, log]) control.addEventListener("change", () => redraw.forEach((draw) => draw()));
    root.append(element("p", { class: "buttons" }, element("label", {}, "Against ", against),
      element("label", {}, each, " every seed"), element("label", {}, log, " logarithmic")));
    const free = SLOTS.map((wanted) => wanted.filter((name) => metrics.includes(name)));
    free.filter((wanted, i) => wanted.length || i === 0).forEach((wanted) => {
      const choice = metricChoice(metrics, wanted, () => figure.draw());
      const place = element("div", { class: "plot" });
      root.append(element("figure", {}, choice, place));
      const figure = new Figure(place, () => ({
        traces: players.filter(([, i]) => this.on[i]).flatMap(([player, i]) => this.curves(player, i, choice.value, against.value, each.checked)),
        layout: { xaxis: { title: { text: against.value }, rangemode: "tozero" },
          yaxis: { title: { text: escaped(choice.value) }, type: log.checked ? "log" : "linear" } },
      }), (player) => this.openPlayer(player));
      redraw.push(() => figure.draw());
    });
  }

  /** A metric of a player: the mean of its seeds with a band, or every seed. */
  curves(player, i, metric, against, each) {
    const found = player.trained.flatMap((number) => {
      const curve = curveOf(this.runs[number], metric, against);
      return curve ? [{ ...curve, title: this.runs[number].title }] : [];
    });
    if (!found.length) return [];
    const trace = (x, y, name, more = {}) => styled({ type: "scatter", mode: x.length > 1 ? "lines" : "markers", meta: i, x, y,
      name: escaped(name), hovertemplate: "%{fullData.name}: %{y:.4g} at %{x:,.4~f}<extra></extra>", ...more }, player);
    if (each) return found.map(({ x, y, title }) => trace(x, y, title));
    const { x, mean, reach } = meanCurve(found, this.critical);
    const line = trace(x, mean, player.label);
    if (!reach) return [line];
    const ends = [...mean.map((value, k) => value + reach[k]), ...mean.map((value, k) => value - reach[k]).reverse()];
    return [trace([...x, ...[...x].reverse()], ends, player.label, { fill: "toself", hoverinfo: "skip", hovertemplate: null, line: { width: 0 } }), line];
  }

  addSwitches() {
    this.boxes = this.players.map((player, i) => {
      const box = element("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => { this.on[i] = box.checked; this.update(); });
      const swatch = this.swatch(player.dash);
      const name = this.games.length > 1 ? `${player.label}, ${player.game}` : player.label;
      find("players").append(element("label", {}, box, swatch, name));
      return { box, swatch, label: box.parentElement };
    });
    for (const [id, value] of [["all", true], ["none", false]]) {
      find(id).addEventListener("click", () => {
        this.boxes.forEach(({ box, label }, i) => { if (!label.hidden) box.checked = this.on[i] = value; });
        this.update();
      });
    }
  }

  /** A line as figures draw it, in the colour that its element has. */
  swatch(dash) {
    const steps = { solid: "", dash: "7,4", dashdot: "7,3,2,3", dot: "2,3" }[dash] ?? dash.replaceAll("px", "");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", "M0 5H32");
    line.setAttribute("stroke-dasharray", steps);
    svg.append(line);
    svg.setAttribute("class", "swatch");
    return svg;
  }

  get game() { return this.games[find("game").value - 1]; }

  listen() {
    find("game").addEventListener("change", () => this.update());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    window.addEventListener("beforeprint", () => this.print(true));
    window.addEventListener("afterprint", () => this.print(false));
  }

  /** Show what is switched on, of the chosen game. */
  update() {
    for (const part of document.querySelectorAll("[data-game]")) part.hidden = Boolean(this.game) && part.dataset.game !== this.game;
    this.boxes.forEach(({ label }, i) => { label.hidden = Boolean(this.game) && this.players[i].game !== this.game; });
    const count = this.on.filter(Boolean).length;
    find("shown").textContent = `Shown: ${count} of ${this.players.length} in all figures and tables`;
    for (const table of this.tables) table.filter();
    this.paint();
  }

  paint() {
    this.boxes.forEach(({ swatch }, i) => swatch.style.setProperty("--colour", onPaper(this.players[i].colour)));
    Figure.drawAll();
  }

  /** On paper all is open and drawn, in dark ink on white. */
  print(begins) {
    document.documentElement.classList.toggle("print", begins);
    if (begins) {
      this.closed = [...document.querySelectorAll("main details:not([open])")];
      for (const figure of Figure.all.values()) figure.isSeen = true;
    }
    for (const details of this.closed) details.open = begins;
    this.paint();
  }
}

const parsed = async (id) => JSON.parse(new TextDecoder().decode(await unzipped(id)));

async function begin() {
  const report = new Report(await parsed("data"));
  document.body.dataset.ready = Math.round(performance.now());  // milliseconds
  report.addAllCurves(await parsed("curves"));
  document.body.dataset.complete = Math.round(performance.now());
}

begin().catch(giveUp);
