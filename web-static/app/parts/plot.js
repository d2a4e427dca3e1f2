/**
 * Requests over time, one column per second or minute: what was asked, the accepted part of it, and a line for what was
 * confirmed. Drawn as SVG at the size it is shown. With the arrow keys or a pointer, one moment is read out.
 *
 * @typedef {{at: string, requests: number, accepted: number, confirmed: number}} Bucket
 */
import { clock } from "../clock.js";
import { h, refresh, svg } from "../dom.js";
import { number, t, time } from "../i18n.js";

const HEIGHT = 240;
const MARGIN = { top: 12, right: 8, bottom: 26, left: 52 };
const STEP_MS = { second: 1_000, minute: 60_000 };
const COLUMNS = { most: 120, least: 30, after: 12 };
const MEASURES = ["requests", "accepted", "confirmed"];

export function plot() {
  /** @type {Bucket[]} */ let buckets = [];
  let chosen = -1;
  const picture = svg("svg", { class: "plot__picture", tabindex: "0", role: "img", height: HEIGHT,
    "aria-label": () => summaryWords(buckets), onkeydown: (event) => onKey(event),
    onpointermove: (event) => choose(columnAt(event.offsetX)), onpointerleave: () => choose(-1) });
  const readout = h("p", { class: "plot__readout", role: "status" }, () => readoutWords(buckets[chosen]));
  const legend = h("ul", { class: "legend", "aria-hidden": "true" },
    MEASURES.map((name) => h("li", { "data-measure": name }, () => t(`figure.${name}`))));
  const rows = h("tbody");
  const details = h("details", { ontoggle: () => fillTable() },
    h("summary", {}, () => t("plot.asTable")),
    h("div", { class: "table", role: "region", tabindex: "0", "aria-label": () => t("plot.title") },
      h("table", {}, h("thead", {}, h("tr", {}, ["table.at", ...MEASURES.map((name) => `figure.${name}`)].map((words) =>
        h("th", { scope: "col" }, () => t(words))))), rows)));
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
    rows.replaceChildren(...buckets.filter((bucket) => bucket.requests + bucket.confirmed > 0).reverse().map((bucket) =>
      h("tr", {}, h("th", { scope: "row" }, time(bucket.at)),
        MEASURES.map((name) => h("td", { class: "figure" }, number(bucket[name] ?? 0))))));
  }

  function redraw() {
    const width = picture.clientWidth;
    if (width > 0) picture.replaceChildren(...marks(buckets, width, chosen));
  }

  return {
    element,
    /** @param {Bucket[]} series @param {"second" | "minute"} interval */
    draw(series, interval) {
      buckets = filled(series, STEP_MS[interval], clock.now());
      chosen = Math.min(chosen, buckets.length - 1);
      redraw();
      fillTable();
      refresh(element);
    },
  };
}

/** The latest part of the series, with the moments in which nothing happened put back in, also some after the last. */
function filled(series, step, now) {
  if (series.length === 0) return [];
  const byTime = new Map(series.map((bucket) => [Math.floor(Date.parse(bucket.at) / step), bucket]));
  const newest = Math.max(...byTime.keys());
  const last = Math.max(newest, Math.min(newest + COLUMNS.after, Math.floor(now / step)));
  const first = Math.max(Math.min(...byTime.keys()), last - COLUMNS.most + 1);
  const start = Math.min(first, last - COLUMNS.least + 1);
  const nothing = (i) => ({ at: new Date(i * step).toISOString(), requests: 0, accepted: 0, confirmed: 0 });
  return Array.from({ length: last - start + 1 }, (_, i) => byTime.get(start + i) ?? nothing(start + i));
}

function marks(buckets, width, chosen) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const bottom = MARGIN.top + inner.height;
  const top = niceCeiling(Math.max(1, ...buckets.map((bucket) => Math.max(bucket.requests, bucket.confirmed))));
  const column = inner.width / Math.max(1, buckets.length);
  const x = (i) => MARGIN.left + i * column;
  const y = (value) => bottom - (value / top) * inner.height;
  const bar = (name, i) => svg("rect", {
    class: `plot__${name}`, x: x(i) + column * 0.1, width: Math.max(1, column * 0.8),
    y: y(buckets[i][name]), height: Math.max(0, bottom - y(buckets[i][name])),
  });

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
  buckets.forEach((bucket, i) => {
    if (bucket.requests > 0) result.push(bar("requests", i));
    if (bucket.accepted > 0) result.push(bar("accepted", i));
  });
  const line = buckets.map((bucket, i) => `${(x(i) + column / 2).toFixed(1)},${y(bucket.confirmed).toFixed(1)}`);
  if (buckets.length > 0) result.push(svg("polyline", { class: "plot__confirmed", points: line.join(" ") }));
  const labelled = { start: 0, middle: Math.floor(buckets.length / 2), end: buckets.length - 1 };
  for (const [anchor, i] of Object.entries(labelled)) {
    if (!buckets[i]) continue;
    result.push(svg("text", { class: "plot__label", x: x(i) + (anchor === "end" ? column : 0), y: HEIGHT - 6,
      "text-anchor": anchor }, time(buckets[i].at)));
  }
  return result;
}

/** The next of 1, 2, 5, 10, 20, … that a scale can end at. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}

function readoutWords(bucket) {
  if (!bucket) return "";
  const { at, requests, accepted, confirmed } = bucket;
  return t("plot.readout", { at: time(at), requests, accepted, confirmed });
}

function summaryWords(buckets) {
  if (buckets.length === 0) return t("plot.empty");
  const peak = buckets.reduce((best, bucket) => (bucket.requests > best.requests ? bucket : best));
  return t("plot.summary", { n: peak.requests, at: time(peak.at) });
}
