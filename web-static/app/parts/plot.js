/**
 * Figures over time, one column per second or minute. Drawn as SVG at the size it is shown. With the arrow keys or a
 * pointer, one moment is read out.
 *
 * @typedef {{at: string, [measure: string]: any}} Bucket
 * @typedef {object} Kind
 * @property {{name: string, words: string, mark: "bar" | "line" | "area" | "limit"}[]} measures
 * @property {number | null} unknown what holds in a moment of which nothing was said: 0 of what is counted, null of what
 *   is measured
 * @property {number} most how many columns at most
 * @property {number} [height]
 * @property {() => string} [title] of the table; "Over time" without one
 * @property {(bucket: Bucket) => string} readout
 * @property {(buckets: Bucket[]) => string} summary for whoever doesn't see the picture
 */
import { clock } from "../clock.js";
import { h, refresh, svg } from "../dom.js";
import { decimal, number, t, time } from "../i18n.js";

const MARGIN = { top: 12, right: 8, bottom: 26, left: 52 };
const STEP_MS = { second: 1_000, minute: 60_000 };
const COLUMNS = { least: 30, after: 12 };

/** @param {Kind} kind */
export function plot(kind) {
  const { measures, height = 240 } = kind;
  /** @type {Bucket[]} */ let buckets = [];
  let chosen = -1;
  const picture = svg("svg", { class: "plot__picture", tabindex: "0", role: "img", height,
    "aria-label": () => kind.summary(buckets), onkeydown: (event) => onKey(event),
    onpointermove: (event) => choose(columnAt(event.offsetX)), onpointerleave: () => choose(-1) });
  const readout = h("p", { class: "plot__readout", role: "status" },
    () => (buckets[chosen] ? kind.readout(buckets[chosen]) : ""));
  const legend = h("ul", { class: "legend", "aria-hidden": "true", hidden: measures.length === 1 },
    measures.map(({ name, words }) => h("li", { "data-measure": name }, () => t(words))));
  const rows = h("tbody");
  const headings = ["table.at", ...measures.map(({ words }) => words)];
  const details = h("details", { ontoggle: () => fillTable() },
    h("summary", {}, () => t("plot.asTable")),
    h("div", { class: "table", role: "region", tabindex: "0", "aria-label": () => kind.title?.() ?? t("plot.title") },
      h("table", {}, h("thead", {}, h("tr", {}, headings.map((words) => h("th", { scope: "col" }, () => t(words))))),
        rows)));
  const element = h("div", { class: "plot" }, h("div", { class: "plot__head" }, legend, readout), picture, details);
  new ResizeObserver(() => redraw()).observe(element);

  function columnAt(x) {
    const inner = picture.clientWidth - MARGIN.left - MARGIN.right;
    const column = Math.floor(((x - MARGIN.left) / inner) * buckets.length);
    return column >= 0 && column < buckets.length ? column : -1;
  }

  function onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || buckets.length === 0) return;
    event.preventDefault();
    const from = chosen < 0 ? buckets.length - (step > 0 ? 1 : 0) : chosen;
    choose(Math.min(buckets.length - 1, Math.max(0, from + step)));
  }

  function choose(column) {
    if (column === chosen) return;
    chosen = column;
    redraw();
    refresh(readout);
  }

  function fillTable() {
    if (!details.open) return;
    const says = (bucket) => measures.some(({ name }) => bucket[name] !== kind.unknown && bucket[name] !== undefined);
    rows.replaceChildren(...buckets.filter(says).reverse().map((bucket) =>
      h("tr", {}, h("th", { scope: "row" }, time(bucket.at)),
        measures.map(({ name }) => h("td", { class: "figure" }, figureWords(bucket[name] ?? kind.unknown))))));
  }

  function redraw() {
    const width = picture.clientWidth;
    if (width > 0) picture.replaceChildren(...marks(measures, buckets, { width, height }, chosen));
  }

  return {
    element,
    /** @param {Bucket[]} series @param {"second" | "minute"} interval */
    draw(series, interval) {
      buckets = filled(kind, series, STEP_MS[interval], clock.now());
      chosen = Math.min(chosen, buckets.length - 1);
      redraw();
      fillTable();
      refresh(element);
    },
  };
}

/** @param {number | null} value whole, or with one digit more where it isn't */
export function figureWords(value) {
  if (value === null || value === undefined) return "–";
  return Number.isInteger(value) ? number(value) : decimal(value, 1);
}

/** The latest part of the series, with the moments in which nothing happened put back in, also some after the last. */
function filled({ measures, unknown, most }, series, step, now) {
  if (series.length === 0) return [];
  const byTime = new Map(series.map((bucket) => [Math.floor(Date.parse(bucket.at) / step), bucket]));
  const newest = Math.max(...byTime.keys());
  const last = Math.max(newest, Math.min(newest + COLUMNS.after, Math.floor(now / step)));
  const first = Math.max(Math.min(...byTime.keys()), last - most + 1);
  const start = Math.min(first, last - COLUMNS.least + 1);
  const nothing = Object.fromEntries(measures.map(({ name }) => [name, unknown]));
  const at = (i) => ({ ...nothing, at: new Date(i * step).toISOString(), ...byTime.get(i) });
  return Array.from({ length: last - start + 1 }, (_, i) => at(start + i));
}

function marks(measures, buckets, { width, height }, chosen) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const bottom = MARGIN.top + inner.height;
  const values = measures.flatMap(({ name }) => buckets.map((bucket) => bucket[name] ?? 0));
  const top = niceCeiling(Math.max(1, ...values));
  const column = inner.width / Math.max(1, buckets.length);
  const x = (i) => MARGIN.left + i * column;
  const y = (value) => bottom - (value / top) * inner.height;
  const middle = (i) => (x(i) + column / 2).toFixed(1);

  const result = [];
  for (const value of [0, top / 2, top]) {
    if (!Number.isInteger(value)) continue;
    const ends = { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) };
    result.push(svg("line", { class: "plot__rule", ...ends }),
      svg("text", { class: "plot__label", x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  if (chosen >= 0) {
    const place = { x: x(chosen), width: column, y: MARGIN.top, height: inner.height };
    result.push(svg("rect", { class: "plot__cursor", ...place }));
  }
  const bars = measures.filter(({ mark }) => mark === "bar");
  buckets.forEach((bucket, i) => {
    for (const { name } of bars) {
      if (!(bucket[name] > 0)) continue;
      const place = { x: x(i) + column * 0.1, width: Math.max(1, column * 0.8), y: y(bucket[name]) };
      result.push(svg("rect", { class: `plot__${name}`, ...place, height: Math.max(0, bottom - y(bucket[name])) }));
    }
  });
  for (const { name, mark } of measures) {
    if (mark === "bar") continue;
    for (const run of runs(buckets, name)) {
      const points = run.map((i) => `${middle(i)},${y(buckets[i][name]).toFixed(1)}`);
      const ground = [`${middle(run.at(-1))},${bottom}`, `${middle(run[0])},${bottom}`];
      if (mark === "area") result.push(svg("polygon", { class: "plot__area", points: [...points, ...ground].join(" ") }));
      result.push(svg("polyline", { class: `plot__line plot__${name}`, points: points.join(" ") }));
    }
  }
  const labelled = { start: 0, middle: Math.floor(buckets.length / 2), end: buckets.length - 1 };
  for (const [anchor, i] of Object.entries(labelled)) {
    if (!buckets[i]) continue;
    result.push(svg("text", { class: "plot__label", x: x(i) + (anchor === "end" ? column : 0), y: height - 6,
      "text-anchor": anchor }, time(buckets[i].at)));
  }
  return result;
}

/** The stretches of columns in which a measure is known. @returns {number[][]} */
function runs(buckets, name) {
  const found = [];
  buckets.forEach((bucket, i) => {
    if (bucket[name] === null || bucket[name] === undefined) return;
    const run = found.at(-1);
    if (run?.at(-1) === i - 1) run.push(i);
    else found.push([i]);
  });
  return found;
}

/** The next of 1, 2, 4, 5, 10, 20, … that a scale can end at. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}
