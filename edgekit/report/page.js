// The page's chooser, filters and chart, on the rows that stand in #data. No network, no library but Vega, which the
// chart alone needs. The rules of the choice and of the intervals are those of edgekit/compare/choose.py and paired.py;
// a test holds the two against each other.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const costs = Object.fromEntries(data.costs.map((cost) => [cost.key, cost]));
  const Z = 1.959963984540054;
  const bits = Array.from({ length: 16 }, (_, n) => [...n.toString(2)].filter((b) => b === "1").length);
  const nibbles = (hex) => Uint8Array.from(hex.padStart(1, "0"), (digit) => parseInt(digit, 16)).reverse();
  for (const row of data.rows) {
    for (const found of Object.values(row.top1)) {
      if (found.hit !== undefined) { found.lab = nibbles(found.lab); found.hit = nibbles(found.hit); }
    }
  }

  // Accuracy of one row less that of another, with its interval: in pairs where the images are the same.
  function difference(one, other) {
    if (one.set !== undefined && one.set === other.set) return paired(one, other);
    const value = one.v - other.v;
    const low = value - Math.hypot(one.v - one.l, other.h - other.v);
    const high = value + Math.hypot(one.h - one.v, other.v - other.l);
    return { value, low, high };
  }
  function paired(one, other) {
    let n = 0, gained = 0, lost = 0;
    for (let i = 0; i < Math.min(one.lab.length, other.lab.length); i++) {
      const both = one.lab[i] & other.lab[i], a = (one.hit[i] || 0) & both, b = (other.hit[i] || 0) & both;
      n += bits[both]; gained += bits[a & ~b]; lost += bits[b & ~a];
    }
    if (n === 0) return { value: 0, low: -1, high: 1 };
    const value = (gained - lost) / n, middle = (gained - lost) / (n + 2);
    const half = Z * Math.sqrt(((gained + lost + 1) / (n + 2) - middle * middle) / (n + 2));
    return { value, low: Math.max(-1, Math.min(middle - half, value)), high: Math.min(1, Math.max(middle + half, value)) };
  }

  const number = (value, digits = 3) => String(Number(value.toPrecision(digits)));
  const words = (cost, value) => `${number(value, cost.digits)} ${cost.unit}`;
  const signed = (share, digits) => (share < 0 ? "\u2212" : "+") + Math.abs(100 * share).toFixed(digits);

  function limits() {
    const most = {};
    for (const key of data.limits) {
      const value = parseFloat($(`most-${key}`).value);
      if (Number.isFinite(value)) most[key] = value;
    }
    return { most, least: parseFloat($("least-top1").value) };
  }

  // What speaks against a row, or nothing.
  function against(row, asked, basis) {
    if (row.invalid) return `left out, the measurement is invalid: ${row.why}`;
    for (const cost of data.costs) {
      const most = asked.most[cost.key], value = row.costs[cost.key];
      if (most === undefined) continue;
      if (value === undefined) return `left out, ${cost.title.toLowerCase()} is not known here${unknown(row, cost)}`;
      if (value > most) return `loses, ${cost.title.toLowerCase()} is ${words(cost, value)} and ${words(cost, most)} are allowed`;
    }
    const found = row.top1[basis];
    if (!found) return `left out, no ${basis} accuracy`;
    if (100 * found.v < asked.least) return `loses, top-1 is ${(100 * found.v).toFixed(2)} % and ${asked.least} % are asked for`;
    return "";
  }
  function unknown(row, cost) {
    if (row.emulated) return ": an emulated core has no time, memory or power of its own";
    return cost.key === "energy_mj" && row.noenergy ? `: ${row.noenergy}` : "";
  }

  function choose(rows, asked, basis) {
    const order = data.costs.filter((cost) => cost.key in asked.most).map((cost) => cost.key);
    order.push("latency_ms", "instructions_m", "size_mb");
    const judged = rows.map((row) => ({ row, why: against(row, asked, basis) }));
    const fitting = judged.filter((item) => !item.why);
    const value = (row, key) => (row.costs[key] === undefined ? Infinity : row.costs[key]);
    fitting.sort((a, b) => {
      if (a.row.top1[basis].v !== b.row.top1[basis].v) return b.row.top1[basis].v - a.row.top1[basis].v;
      for (const key of order) {
        const one = value(a.row, key), other = value(b.row, key);
        if (one !== other) return one < other ? -1 : 1;
      }
      return 0;
    });
    fitting.forEach((item, i) => { item.place = i + 1; item.why = reason(item.row, fitting, basis); });
    return [...fitting, ...judged.filter((item) => !item.place)];
  }
  function reason(row, fitting, basis) {
    const best = fitting[0].row;
    if (row === best) return fitting.length === 1 ? "wins, the only one that fits" : `wins, most accurate of ${fitting.length} that fit`;
    if (basis === "published" && row.net === best.net) return `the same network as the first${cheaper(row, best)}`;
    const found = difference(row.top1[basis], best.top1[basis]);
    const certain = found.low > 0 || found.high < 0 ? "loses" : "no significant difference";
    const span = `${signed(found.low, 1)} to ${signed(found.high, 1)}`;
    return `${certain}, ${signed(found.value, 2)} points (${span}) beside the first${cheaper(row, best)}`;
  }
  function cheaper(row, best) {
    const told = data.costs.filter((cost) => row.costs[cost.key] < 0.98 * best.costs[cost.key])
      .map((cost) => `${cost.title.toLowerCase()} ${Math.round((100 * row.costs[cost.key]) / best.costs[cost.key])}% of its`);
    return told.length ? `; ${told.join(", ")}` : "";
  }

  // Filters: what is ticked, on the device that is chosen.
  const ticked = (name) => new Set([...document.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value));
  function shown() {
    const families = ticked("family"), recipes = ticked("recipe");
    return data.rows.filter((row) => families.has(row.family) && recipes.has(row.recipe));
  }
  const chosenBasis = () => document.querySelector("input[name=basis]:checked").value;
  const chosenCost = () => costs[(document.querySelector("input[name=cost]:checked") || {}).value] || data.costs[0];

  function showChoice(rows) {
    const here = rows.filter((row) => row.place === $("device").value && row.timed);
    const found = choose(here, limits(), chosenBasis());
    const fitting = found.filter((item) => item.place);
    $("verdict").textContent = headline(fitting, found.length);
    $("ranking").replaceChildren(...fitting.slice(0, 8).map(entry));
    $("losers").replaceChildren(...[...fitting.slice(8), ...found.filter((item) => !item.place)].map(entry));
    $("others").hidden = found.length === Math.min(8, fitting.length);
    $("others-count").textContent = String(found.length - Math.min(8, fitting.length));
  }
  function headline(fitting, all) {
    if (!fitting.length) return all ? "No model keeps these limits. Raise one, or leave it empty." : "Nothing was measured here.";
    const best = fitting[0].row, top1 = best.top1[chosenBasis()];
    return `Take ${best.name}, ${best.said}: top-1 ${(100 * top1.v).toFixed(1)} %${costWords(best)}.`;
  }
  function costWords(row) {
    const told = ["latency_ms", "instructions_m", "size_mb"].filter((key) => row.costs[key] !== undefined);
    return told.map((key) => `, ${words(costs[key], row.costs[key])}${key === "instructions_m" ? " instructions" : ""}`).join("");
  }
  function entry(item) {
    const line = document.createElement("li"), link = document.createElement("a"), said = document.createElement("span");
    link.href = `#row-${item.row.id}`;
    link.textContent = `${item.row.name}, ${item.row.said}`;
    const top1 = item.row.top1[chosenBasis()];
    said.textContent = (top1 ? `top-1 ${(100 * top1.v).toFixed(2)} %` : "top-1 not known") + costWords(item.row);
    const why = document.createElement("small");
    why.textContent = item.why;
    line.append(link, " ", said, why);
    line.dataset.row = item.row.id;
    return line;
  }

  // The chart's rows on the chosen terms: a file once where its cost does not depend on the device.
  function points(rows, cost, basis) {
    const seen = new Set();
    const here = rows.filter((row) => !cost.place || row.place === $("device").value);
    return here.filter((row) => row.costs[cost.key] > 0 && row.top1[basis] && !(cost.place && row.invalid))
      .filter((row) => !seen.has(row.file) && seen.add(row.file))
      .map((row) => point(row, cost, row.top1[basis]));
  }
  function point(row, cost, top1) {
    const value = row.costs[cost.key], percent = 100 * top1.v;
    const tip = `${row.name}, ${row.said}\ntop-1 ${percent.toFixed(2)} % (${(100 * top1.l).toFixed(1)} to ${(100 * top1.h).toFixed(1)})`
      + `\n${cost.title.toLowerCase()} ${words(cost, value)}${cost.place && row.suspect ? "\nsuspect: " + row.why : ""}`;
    return { id: row.id, family: row.family, recipe: row.recipe, cost: value, top1: percent, low: 100 * top1.l,
      high: 100 * top1.h, hollow: Boolean(cost.place && row.suspect), tip };
  }
  function front(items) {
    const best = [];
    for (const item of [...items].sort((a, b) => a.cost - b.cost || b.top1 - a.top1)) {
      if (!best.length || item.top1 > best[best.length - 1].top1) best.push(item);
    }
    return best;
  }
  function concave(items) {
    const slope = (a, b) => (b.top1 - a.top1) / Math.log(b.cost / a.cost), line = [];
    for (const item of items) {
      while (line.length > 1 && slope(line.at(-2), line.at(-1)) < (1 - 1e-9) * slope(line.at(-1), item)) line.pop();
      line.push(item);
    }
    return line;
  }
  function curves(items) {
    const lines = [];
    for (const family of data.baselines) {
      for (const recipe of data.recipes) {
        const line = concave(front(items.filter((item) => item.family === family && item.recipe === recipe)));
        if (line.length > 1) lines.push(...line.map((item) => ({ family, cost: item.cost, top1: item.top1, line: `${family} ${recipe}` })));
      }
    }
    return lines;
  }

  let view = null, logarithmic = null, building = null;
  function showChart(rows) {
    const cost = chosenCost(), items = points(rows, cost, chosenBasis());
    $("chart-title").textContent = `Top-1, %, ${chosenBasis()}, over ${cost.title.toLowerCase()}, ${cost.unit}`
      + (cost.place ? `, on ${$("device").value}` : "");
    $("chart-empty").hidden = items.length > 0;
    $("chart").hidden = $("chart-axis").hidden = items.length === 0;
    $("chart-axis").textContent = `${cost.title}, ${cost.unit} (less is better)`;
    if (!items.length || !window.vegaEmbed || !window.edgekitCharts) {
      window.edgekitDrawn = window.edgekitDrawn || performance.now();
      return;
    }
    const limit = limits().most[cost.key];
    sets = { points: items, curves: curves(items), front: front(items), limit: limit > 0 ? [{ cost: limit }] : [] };
    if ($("logarithmic").checked === logarithmic) fill(); else build();
  }
  let sets = {};
  function fill() {
    if (!view) return;
    for (const [name, values] of Object.entries(sets)) view.data(name, values);
    view.run();
    window.edgekitChart = sets;
    window.edgekitDrawn = window.edgekitDrawn || performance.now();
  }
  function build() {
    logarithmic = $("logarithmic").checked;
    const chart = window.edgekitCharts[logarithmic ? "log" : "linear"];
    const spec = { ...chart, data: chart.data.map((item) => (sets[item.name] ? { ...item, values: sets[item.name] } : item)) };
    const options = { mode: "vega", renderer: "svg", actions: false, defaultStyle: false, tooltip, logLevel: 0 };
    const mine = (building = vegaEmbed($("chart"), spec, options).then((found) => {
      if (building !== mine) return found.finalize();
      view = found.view;
      view.addEventListener("click", (_, item) => { if (item && item.datum && item.datum.id !== undefined) location.hash = `row-${item.datum.id}`; });
      fill();
    }));
  }
  function tooltip(_, event, __, value) {
    const box = $("tip");
    box.hidden = !value;
    if (!value) return;
    box.textContent = value;
    box.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.max(8, event.clientY - box.offsetHeight - 12)}px`;
  }

  function showTable(rows) {
    const kept = new Set(rows.filter((row) => !row.timed || row.place === $("device").value || $("every").checked).map((row) => row.id));
    for (const row of data.rows) $(`row-${row.id}`).hidden = !kept.has(row.id);
    $("rows-count").textContent = `${kept.size} of ${data.rows.length} rows`;
  }
  function showCosts(rows) {
    for (const box of document.querySelectorAll("input[name=cost]")) {
      const cost = costs[box.value];
      box.disabled = !rows.some((row) => row.costs[cost.key] !== undefined && (!cost.place || row.place === $("device").value));
      box.parentElement.classList.toggle("off", box.disabled);
    }
    const now = document.querySelector("input[name=cost]:checked");
    const order = ["latency_ms", "instructions_m", ...Object.keys(costs)];
    const open = order.map((key) => document.querySelector(`input[name=cost][value=${key}]:not(:disabled)`)).find(Boolean);
    if ((!now || now.disabled) && open) open.checked = true;
    for (const key of data.limits) {
      const field = $(`most-${key}`);
      field.disabled = !data.rows.some((row) => row.costs[key] !== undefined && row.place === $("device").value);
      if (field.disabled) field.value = "";
      field.parentElement.classList.toggle("off", field.disabled);
    }
  }

  function update() {
    const start = performance.now(), rows = shown();
    showCosts(rows);
    showChoice(rows);
    showChart(rows);
    showTable(rows);
    window.edgekitPage = { ready: true, update_ms: performance.now() - start };
  }
  window.edgekitChoose = (place, asked, basis) =>
    choose(data.rows.filter((row) => row.place === place && row.timed), asked, basis).map((item) => [item.row.id, item.place || null, item.why]);
  document.querySelectorAll("form.controls").forEach((form) => {
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(update));
  });
  // What an address leads to must be there to be seen: a row that is filtered out, a record in a closed list.
  function reveal() {
    const target = document.querySelector(":target");
    if (!target) return;
    const closed = target.closest("details:not([open])");
    if (closed) closed.open = true;
    if (target.hidden) {
      $("every").checked = true;
      document.querySelectorAll("input[name=family], input[name=recipe]").forEach((box) => { box.checked = true; });
      update();
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  update();
})();
