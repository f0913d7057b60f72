// A run by itself: how to repeat it, what it took, its keys and its curves.

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A table of names and values. */
function listing(title, entries, changed = []) {
  const rows = entries.map(([name, value]) => element("tr", changed.includes(name) ? { class: "changed" } : {},
    element("td", {}, name), element("td", {}, value)));
  return element("details", {}, element("summary", {}, title), element("table", {}, element("tbody", {}, ...rows)));
}

/** The default metric of some, and the choice among all of them. */
function metricChoice(metrics, preferred, onChange) {
  const choice = element("select", { "aria-label": "Metric" }, ...metrics.map((name) => element("option", {}, name)));
  choice.value = preferred.find((name) => metrics.includes(name)) ?? metrics[0];
  choice.addEventListener("change", onChange);
  return choice;
}

class RunView {
  constructor(runs) {
    this.runs = runs;
    this.dialog = find("run");
    find("close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => history.replaceState(null, "", "#"));
    find("copy").addEventListener("click", () => this.copy());
    window.addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  /** Open the run that the address names. */
  follow() {
    const folder = new URLSearchParams(location.hash.slice(1)).get("run");
    const found = this.runs.findIndex((run) => run.folder === folder);
    if (found >= 0) this.open([found]);
  }

  /** Show the first of some runs, and a way to the others. */
  open(among, chosen = among[0]) {
    const run = this.runs[chosen];
    this.shown = run;
    history.replaceState(null, "", `#${new URLSearchParams({ run: run.folder })}`);
    find("run-title").textContent = `${run.title}, ${run.game}`;
    find("run-record").href = run.record;
    find("run-folder").href = run.record.replace(/run\.json$/, "./");
    find("run-command").textContent = run.command;
    find("copied").textContent = "";
    const sources = run.sources.map((folder) => this.runs.findIndex((other) => other.folder === folder)).filter((i) => i >= 0);
    const buttons = [...among.filter((i) => i !== chosen).map((i) => [i, "Also: ", among]), ...sources.map((i) => [i, "Made from: ", [i]])];
    find("run-others").replaceChildren(...buttons.flatMap(([i, how, with_]) => {
      const button = element("button", { type: "button" }, how + this.runs[i].title);
      button.addEventListener("click", () => this.open(with_, i));
      return [button, " "];
    }));
    find("run-tables").replaceChildren(
      listing("Keys; those that are not the defaults are bold", Object.entries(run.config), run.changed),
      listing("What it took, and what made it", Object.entries(run.facts)),
    );
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    this.drawCurves();
  }

  drawCurves() {
    const run = this.shown;
    const metrics = Object.keys(run?.curves?.metrics ?? {});
    if (!metrics.length) return find("run-curves").replaceChildren();
    const place = element("div", { class: "plot" });
    const choice = metricChoice(metrics, ["val/episode_return", "env/episode_return", "diffusion/loss"], () => figure.draw());
    find("run-curves").replaceChildren(element("h3", {}, "Curves"), choice, place);
    const figure = new Figure(place, () => {
      const { x, y } = curveOf(run, choice.value, "frames");
      const trace = { type: "scatter", mode: "lines", x, y, hovertemplate: "%{y:.4g} at %{x:,} frames<extra></extra>",
        line: { color: colourOf("--accent") } };
      return { traces: [trace], layout: { xaxis: { title: { text: "frames" } }, yaxis: { title: { text: escaped(choice.value) } } } };
    });
    figure.show();
  }

  async copy() {
    const command = find("run-command");
    getSelection().selectAllChildren(command);  // to copy it by hand where the browser does not let pages
    try {
      await navigator.clipboard.writeText(command.textContent);
      find("copied").textContent = "Copied.";
    } catch {
      find("copied").textContent = "Selected.";
    }
  }
}
