// The plan of a step, how it was denoised, and what the expert would do.

function chip(film, token) {
  const action = film.actionNames[token];
  if (!action) return element("span", { class: "chip masked" }, "mask");
  const made = element("span", { class: "chip" }, readable(action.name));
  made.style.setProperty("--colour", action.colour);
  return made;
}

function meter(share) {
  const made = element("span", { class: "meter", "aria-hidden": "true" }, element("i"));
  made.style.setProperty("--share", `${100 * share}%`);
  return made;
}

/** Why a token is what it is after denoising step k, and the class of this remark. */
function remark(film, plan, k, place, again) {
  const mask = film.actionNames.length;
  if (place < film.traceLocked.at(plan)) return ["executed before, locked", ""];
  if (k === 0) return ["", ""];
  const token = film.tokens(plan, k)[place];
  if (again[place]) {
    const confidence = film.confidence.at(plan, k - 1, place) / 255;
    const name = readable(film.actionNames[film.tokens(plan, k - 1)[place]].name);
    const chance = film.remaskProbs.at(plan, k - 1, place) / 255;
    return [`↺ ${name} re-masked: confidence ${percent(confidence)}, chance ${percent(chance)}`, "again"];
  }
  if (token === mask) return ["", ""];
  if (film.tokens(plan, k - 1)[place] === mask) return ["drawn in this step", ""];
  const chance = film.remaskProbs.at(plan, k - 1, place) / 255;
  return [chance > 0 ? `kept; chance of re-masking ${percent(chance)}` : "", ""];
}

/** A row of the table: a place of the plan after denoising step k. */
function planRow(film, plan, k, place, t, again) {
  const mask = film.actionNames.length;
  const position = film.positions.at(t);
  const step = t - position + place;
  const token = film.tokens(plan, k)[place];
  const [why, kind] = remark(film, plan, k, place, again);
  const action = element("td", { class: "token" }, chip(film, token));
  if (why) action.append(element("span", { class: `why ${kind}` }, why));
  const locked = place < film.traceLocked.at(plan);
  const confidence = element("td", { class: "confidence" });
  if (token !== mask && !locked && k > 0) {
    const share = film.confidence.at(plan, k - 1, place) / 255;
    confidence.append(meter(share), percent(share));
  }
  const candidates = k > 0 && !locked ? film.candidates(plan, k, place) : [];
  const others = candidates.filter(([other, p]) => other !== token && p >= 0.005).slice(0, 3);
  const next = others.map(([other, p]) => `${readable(film.actionNames[other].name)} ${percent(p)}`).join(", ");
  const row = element("tr", { class: place === position ? "current" : place < position ? "past" : "" },
    element("td", {}, `${place === position ? "▶ " : place < position ? "✓ " : ""}${step}`),
    action, confidence, element("td", { class: "next" }, next));
  if (place === position) row.setAttribute("aria-current", "step");
  if (film.asks) {
    const expert = element("td", { class: "asks" });
    if (step < film.steps) {
      const best = film.bestOfExpert[step];
      const agrees = best === token;
      const [kind, sign] = token === mask ? ["", ""] : agrees ? ["agrees", "= "] : ["differs", "≠ "];
      const name = element("span", { class: kind }, sign + readable(film.actionNames[best].name));
      expert.append(name, ` ${percent(film.expertProbs.at(step)[best] / 255)}`);
    }
    row.append(expert);
  }
  return row;
}

/** How many places of a plan are as the expert's most probable actions, in words. */
function agreement(film, plan, k, t) {
  const tokens = film.tokens(plan, k);
  const first = t - film.positions.at(t);
  const due = Array.from(tokens.keys()).filter((place) => place >= film.traceLocked.at(plan)
    && first + place < film.steps && tokens[place] < film.actionNames.length);
  const same = due.filter((place) => film.bestOfExpert[first + place] === tokens[place]).length;
  return due.length ? ` ${same} of ${due.length} places are what the expert would do at these steps.` : "";
}

function drawPlan(panel, film, t, k) {
  const plan = film.planAt(t);
  panel.querySelector("th.asks").hidden = !film.asks;
  const note = panel.querySelector(".agreement");
  const body = panel.querySelector("tbody");
  if (plan < 0) {
    note.textContent = "The episode is over.";
    body.replaceChildren();
    return;
  }
  const again = film.maskedAgain(plan, k);
  const state = k === film.denoisingSteps ? "as it was executed" : `after ${k} of ${film.denoisingSteps} denoising steps`;
  note.textContent = `Made at step ${film.traceSteps.at(plan)}, ${state}.${film.asks ? agreement(film, plan, k, t) : ""}`;
  body.replaceChildren(...Array.from({ length: film.horizon }, (_, place) => planRow(film, plan, k, place, t, again)));
}

/** As much of a text as fits into a width. */
function fitting(context, text, width) {
  let shown = text;
  while (shown && context.measureText(shown).width > width) shown = `${shown.replace("…", "").slice(0, -1).trimEnd()}…`;
  return shown;
}

/** All tokens of the plan over the denoising steps: a row each, masked-again cells crossed. */
function drawCourse(panel, film, t, k) {
  const canvas = panel.querySelector("canvas");
  const plan = film.planAt(t);
  panel.hidden = plan < 0;
  if (plan < 0) return;
  const mask = film.actionNames.length;
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 400;
  const margin = 26;
  const height = film.denoisingSteps > 24 ? 12 : 22;
  const cell = (width - margin) / film.horizon;
  canvas.width = width * ratio;
  canvas.height = ((film.denoisingSteps + 1) * height + 2) * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const [ink, masked] = ["--ink", "--mask"].map((name) => style.getPropertyValue(name));
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  let count = 0;
  for (let row = 0; row <= film.denoisingSteps; row++) {
    const again = film.maskedAgain(plan, row);
    const y = row * height + 1;
    context.fillStyle = ink;
    context.textAlign = "right";
    if (height > 15 || row % 5 === 0) context.fillText(String(row), margin - 6, y + height / 2);
    context.textAlign = "center";
    film.tokens(plan, row).forEach((token, place) => {
      const x = margin + place * cell;
      const action = film.actionNames[token];
      context.fillStyle = token === mask ? masked : action.colour;
      context.fillRect(x, y, cell - 1, height - 1);
      if (token !== mask && cell > 44 && height > 15) {
        context.fillStyle = action.ink;
        context.fillText(fitting(context, readable(action.name), cell - 6), x + cell / 2, y + height / 2);
      }
      if (again[place]) {
        count++;
        context.fillStyle = ink;
        context.font = "bold 14px system-ui, sans-serif";
        context.fillText("↺", x + cell / 2, y + height / 2);
        context.font = "11px system-ui, sans-serif";
      }
    });
    if (row === k) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.strokeRect(margin - 1, y - 1, width - margin, height + 1);
    }
  }
  const shown = `Tokens of the plan after each of ${film.denoisingSteps} denoising steps; re-masked ${count} times`;
  canvas.setAttribute("aria-label", shown);
  panel.querySelector(".note").textContent = "A row for each denoising step, a column for each place of the plan; "
    + `↺ marks the ${count} re-masked tokens. The table shows the framed row; click another row.`;
}

/** The expert's distribution in the state of a step, and whether it would do the same. */
function drawExpert(panel, film, t) {
  panel.hidden = !film.asks;
  if (!film.asks) return;
  const list = panel.querySelector("ul");
  const note = panel.querySelector(".note");
  if (t >= film.steps) {
    list.replaceChildren();
    note.textContent = "The episode is over.";
    return;
  }
  const probs = film.expertProbs.at(t);
  const done = film.actions.at(t);
  const order = Array.from(probs.keys()).sort((one, other) => probs[other] - probs[one]).slice(0, 5);
  if (!order.includes(done)) order.push(done);
  list.replaceChildren(...order.map((action) => element("li", {},
    chip(film, action), meter(probs[action] / 255), element(action === done ? "b" : "span", {}, percent(probs[action] / 255)))));
  const name = readable(film.actionNames[done].name);
  const agrees = film.bestOfExpert[t] === done;
  note.textContent = `Executed: ${name}, ${agrees ? "the expert's" : "not the expert's"} most probable action.`;
  note.className = film.compared ? `note ${agrees ? "agrees" : "differs"}` : "note";
}
