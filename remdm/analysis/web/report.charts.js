// Figures: drawn when they come into view, in the colours of the page.

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => !document.documentElement.classList.contains("print")
  && matchMedia("(prefers-color-scheme: dark)").matches;

/** A colour as it is seen on the page: lighter on dark paper. */
function onPaper(colour) {
  if (!isDark()) return colour;
  const parts = [1, 3, 5].map((i) => Math.round(0.55 * parseInt(colour.slice(i, i + 2), 16) + 0.45 * 255));
  return `rgb(${parts.join(",")})`;
}

const faint = (colour) => (colour.startsWith("#") ? `${colour}33` : colour.replace("rgb(", "rgba(").replace(")", ",0.2)"));

/** A trace in the look of its player. */
function styled(trace, player) {
  if (!player) return { ...trace, hovertemplate: "%{hovertext}<extra></extra>" };
  const colour = onPaper(player.colour);
  const line = { color: colour, dash: player.dash, width: 2, ...trace.line };
  const found = { hovertemplate: "%{hovertext}<extra></extra>", ...trace, line };
  if (trace.fill) return { ...found, fillcolor: faint(colour), line: { ...line, color: faint(colour) } };
  found.marker = { symbol: player.symbol, color: colour, line: { color: colourOf("--ink"), width: 0.5 }, ...trace.marker };
  for (const axis of ["error_x", "error_y"]) if (trace[axis]) found[axis] = { ...trace[axis], color: colour, thickness: 1.6 };
  return found;
}

/** The layout that all figures share, around their own. */
function laidOut(own, rows, rowHeight = 30) {
  const axis = (given) => ({
    gridcolor: colourOf("--line"), zerolinecolor: colourOf("--soft"), linecolor: colourOf("--line"), automargin: true, ...given,
    title: { standoff: 8, ...given?.title },
  });
  return {
    margin: { l: 8, r: 12, t: 12, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colourOf("--ink"), family: "system-ui, sans-serif", size: 12 }, hovermode: "closest", showlegend: false,
    hoverlabel: { bgcolor: colourOf("--panel"), bordercolor: colourOf("--line"), font: { color: colourOf("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colourOf("--soft"), activecolor: colourOf("--accent") },
    legend: { orientation: "h", y: 1.08 }, dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    height: rows ? 90 + rows * rowHeight : 340, ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
  };
}

// The buttons are named one by one: among the usual ones is one that sends the figure to Plotly's server.
const CONFIG = {
  responsive: true, displaylogo: false, plotlyServerURL: "", toImageButtonOptions: { format: "svg" },
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

/** A figure in its place; `make` gives its traces, layout and number of rows, of what is switched on. */
class Figure {
  constructor(place, make, onClick) {
    this.place = place;
    this.make = make;
    this.onClick = onClick;
    this.isSeen = false;
    place.setAttribute("role", "group");
    Figure.watcher.observe(place);
    Figure.all.set(place, this);
  }

  draw() {
    if (!this.isSeen || !this.place.isConnected) return;
    const { traces, layout, rows, rowHeight } = this.make();
    const given = laidOut(layout, rows, rowHeight);
    this.place.style.height = `${given.height}px`;
    const isNew = !this.place.classList.contains("js-plotly-plot");
    Plotly.react(this.place, traces, given, CONFIG);
    if (isNew && this.onClick) this.place.on("plotly_click", ({ points }) => this.onClick(points[0].data.meta));
  }

  show() {
    if (this.isSeen) return;
    this.isSeen = true;
    this.draw();
  }

  static drawAll() { for (const figure of Figure.all.values()) figure.draw(); }
}

Figure.all = new Map();
Figure.watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) Figure.all.get(target).show();
}, { rootMargin: "200px" });

/** The value of a curve at x, between its points. */
function interpolated(xs, ys, x) {
  let i = xs.findIndex((other) => other >= x);
  if (i < 0) return ys.at(-1);
  i = Math.max(1, i);
  const share = xs.length > 1 ? (x - xs[i - 1]) / (xs[i] - xs[i - 1] || 1) : 0;
  return xs.length > 1 ? ys[i - 1] + share * (ys[i] - ys[i - 1]) : ys[0];
}

/** Mean of some curves and its Student's t interval, as far as all of them go. */
function meanCurve(curves, critical) {
  let [{ x }] = curves;
  if (!curves.every((curve) => curve.x.length === x.length && curve.x.every((value, i) => value === x[i]))) {
    const first = Math.max(...curves.map((curve) => curve.x[0]));
    const last = Math.max(first, Math.min(...curves.map((curve) => curve.x.at(-1))));
    const count = Math.min(...curves.map((curve) => curve.x.length));
    x = Array.from({ length: count }, (_, i) => first + ((last - first) * i) / Math.max(1, count - 1));
  }
  const values = x.map((at, i) => curves.map((curve) => (curve.x === x ? curve.y[i] : interpolated(curve.x, curve.y, at))));
  const mean = values.map((all) => all.reduce((sum, value) => sum + value, 0) / all.length);
  const reach = values.map((all, i) => {
    const squares = all.reduce((sum, value) => sum + (value - mean[i]) ** 2, 0);
    return critical[all.length] * Math.sqrt(squares / (all.length - 1) / all.length);
  });
  return { x, mean, reach: curves.length > 1 ? reach : null };
}

/** A metric of a run against `frames` or `minutes`; null where it has none. */
function curveOf(run, metric, against) {
  const found = run.curves.metrics?.[metric];
  const x = found && run.curves.axes[found[0]][against];
  return x?.length ? { x, y: found[1] } : null;
}
