"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Tiles and routes

const tiles = all(".tile"), links = all(".link");
const details = document.getElementById("details"), flow = document.getElementById("flow");

function show(chosen) {
  links.forEach(link => link.classList.toggle("dim", !chosen(link)));
}

function choose(tile) {
  tiles.forEach(other => other.setAttribute("aria-pressed", String(other === tile)));
  flow.value = "";
  details.textContent = tile.dataset.details;
  show(link => link.dataset.sources.split(" ").includes(tile.dataset.tile));
}

tiles.forEach(tile => {
  tile.addEventListener("click", () => choose(tile));
  tile.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(tile);
    }
  });
});
flow.addEventListener("change", () => {
  tiles.forEach(tile => tile.setAttribute("aria-pressed", "false"));
  show(link => flow.value === "" || link.dataset.flows.split(" ").includes(flow.value));
});

// Samples

const sample = document.getElementById("sample");

function chooseSample() {
  all(".sample").forEach(one => { one.hidden = one.dataset.sample !== sample.value; });
}

sample.addEventListener("change", chooseSample);
chooseSample();

// Plots. A view is what is seen of one: from x0 to x1 in steps, from y0 to y1 in neurons or units of the membrane, upwards.
// The steps of all plots are the same, and move together.

const LEAST = 1; // of a step or a neuron is always seen
const views = all(".plot").map(plot => {
  const area = plot.querySelector(".area");
  const [x0, x1, y0, y1] = area.dataset.range.split(" ").map(Number);
  return {plot, area, whole: {x0, x1, y0, y1}, x0, x1, y0, y1};
});

// Integers from low to high: every one, or every 2nd, 5th, 10th, 20th ... so that they are at most `most`.
function ticks(low, high, most) {
  let step = 1;
  for (let turn = 0; (high - low) / step > most; turn++) step *= turn % 3 === 1 ? 2.5 : 2;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value || 0); // no -0
  return found;
}

function numbers(axis, low, high, most, place) {
  axis.replaceChildren(...ticks(low, high, most).map(value => {
    const mark = document.createElement("span");
    mark.textContent = value.toLocaleString("en-US");
    place(mark.style, 100 * (value - low) / (high - low));
    return mark;
  }));
}

function draw(view) {
  const {plot, area, whole, x0, x1, y0, y1} = view;
  plot.querySelector("svg").setAttribute("viewBox", [x0, whole.y1 - y1, x1 - x0, y1 - y0].join(" "));
  const width = area.clientWidth || 600, height = parseFloat(area.style.height);
  // A mark is 0.8 of a neuron thick, and where there are more neurons than pixels thick enough to be seen.
  area.style.setProperty("--thick", Math.max(.8, 1.5 * (y1 - y0) / height));
  numbers(plot.querySelector(".xs"), x0, x1, width / 45, (style, share) => { style.left = `${share}%`; });
  numbers(plot.querySelector(".ys"), y0, y1, height / 22, (style, share) => { style.bottom = ""; style.top = `${100 - share}%`; });
}

// An interval moved into the whole, and not smaller than what must be seen.
function within(low, high, from, to) {
  const size = Math.min(to - from, Math.max(LEAST, high - low));
  const start = Math.min(Math.max(low + (high - low - size) / 2, from), to - size);
  return [start, start + size];
}

function look(view, x0, x1, y0, y1) {
  const {whole} = view;
  [view.y0, view.y1] = within(y0, y1, whole.y0, whole.y1);
  const [start, end] = within(x0, x1, whole.x0, whole.x1);
  const moved = start !== view.x0 || end !== view.x1;
  for (const other of moved ? views : [view]) {
    [other.x0, other.x1] = [start, end];
    draw(other);
  }
}

function zoom(view, factor) {
  const {x0, x1, y0, y1} = view;
  const x = (x0 + x1) / 2, y = (y0 + y1) / 2, half = factor / 2;
  look(view, x - half * (x1 - x0), x + half * (x1 - x0), y - half * (y1 - y0), y + half * (y1 - y0));
}

function pan(view, right, up) {
  const x = right * (view.x1 - view.x0) / 4, y = up * (view.y1 - view.y0) / 4;
  look(view, view.x0 + x, view.x1 + x, view.y0 + y, view.y1 + y);
}

function reset(view) {
  const {x0, x1, y0, y1} = view.whole;
  look(view, x0, x1, y0, y1);
}

const KEYS = {
  "+": view => zoom(view, .5), "=": view => zoom(view, .5), "-": view => zoom(view, 2),
  "0": reset, "Escape": reset,
  "ArrowLeft": view => pan(view, -1, 0), "ArrowRight": view => pan(view, 1, 0),
  "ArrowUp": view => pan(view, 0, 1), "ArrowDown": view => pan(view, 0, -1),
};

function drag(view) {
  const {area, plot} = view;
  const where = plot.querySelector(".where"), said = where.textContent;
  const at = event => {
    const box = area.getBoundingClientRect();
    const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const y = Math.min(1, Math.max(0, (event.clientY - box.top) / box.height));
    return {x: view.x0 + x * (view.x1 - view.x0), y: view.y1 - y * (view.y1 - view.y0)};
  };
  let from = null, pick = null;
  area.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    from = at(event);
    pick = area.appendChild(document.createElement("div"));
    pick.className = "pick";
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", event => {
    const to = at(event);
    const what = area.dataset.unit === "neuron" ? "neuron " : "membrane ";
    where.textContent = `step ${Math.round(to.x)}, ${what}${Math.round(to.y).toLocaleString("en-US")}`;
    if (from === null) return;
    const share = (value, low, high) => 100 * (value - low) / (high - low);
    pick.style.left = `${share(Math.min(from.x, to.x), view.x0, view.x1)}%`;
    pick.style.width = `${Math.abs(share(to.x, view.x0, view.x1) - share(from.x, view.x0, view.x1))}%`;
    pick.style.top = `${100 - share(Math.max(from.y, to.y), view.y0, view.y1)}%`;
    pick.style.height = `${Math.abs(share(to.y, view.y0, view.y1) - share(from.y, view.y0, view.y1))}%`;
  });
  area.addEventListener("pointerup", event => {
    if (from === null) return;
    const to = at(event), start = from;
    pick.remove();
    from = pick = null;
    const moved = Math.abs(to.x - start.x) / (view.x1 - view.x0) + Math.abs(to.y - start.y) / (view.y1 - view.y0);
    if (moved > .02) look(view, Math.min(start.x, to.x), Math.max(start.x, to.x), Math.min(start.y, to.y), Math.max(start.y, to.y));
  });
  area.addEventListener("pointercancel", () => {
    if (pick !== null) pick.remove();
    from = pick = null;
  });
  area.addEventListener("pointerleave", () => { where.textContent = said; });
}

views.forEach(view => {
  drag(view);
  view.area.addEventListener("dblclick", () => reset(view));
  view.area.addEventListener("keydown", event => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : KEYS[event.key];
    if (act !== undefined) {
      event.preventDefault();
      act(view);
    }
  });
  for (const button of all("button", view.plot)) button.addEventListener("click", () => KEYS[button.dataset.key](view));
});

function drawAll() {
  views.forEach(draw);
}

addEventListener("resize", drawAll);
sample.addEventListener("change", drawAll);
drawAll();
