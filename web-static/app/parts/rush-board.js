/** What a rush looks like: a grid of small tickets, counts, how long answers took, and the check at the end. */
import { each, h, refresh } from "../dom.js";
import { duration, number, t, tCode } from "../i18n.js";
import { percentile } from "../rush/run.js";
import { rollOf } from "./ticket.js";

const ORDER = ["preparing", "ready", "asking", "accepted", "confirmed", "failed", "cancelled"];
const LATENCIES = [
  { name: "decided", of: (buyer) => (buyer.isAnswered ? buyer.decidedAt - buyer.askedAt : null) },
  { name: "settled", of: (buyer) => (buyer.settledAt !== null ? buyer.settledAt - buyer.askedAt : null) },
];

export function rushBoard() {
  /** @type {import("../rush/run.js").Rush | null} */ let rush = null;
  const isGood = () => Boolean(rush?.checks.length) && rush.checks.every((check) => check.isGood);
  const cells = new Map();
  const grid = h("div", { class: "cells", role: "img", "aria-label": () => gridWords() });
  const counts = h("dl", { class: "figures figures--small" });
  const checks = h("ul", { class: "checks" });
  const latency = LATENCIES.map(({ name }) => h("tr", { "data-latency": name },
    h("th", { scope: "row" }, () => t(`rush.latency.${name}`)),
    [0.5, 0.99].map((share) => h("td", { class: "figure" }, () => latencyWords(name, share)))));

  const element = h("div", { class: "board", hidden: () => !rush },
    counts, grid,
    h("div", { class: "board__foot" },
      h("section", { class: "panel", "aria-labelledby": "latency-title" },
        h("h2", { id: "latency-title" }, () => t("rush.latency.title")),
        h("table", {}, h("thead", {}, h("tr", {},
          h("td"), h("th", { scope: "col" }, "p50"), h("th", { scope: "col" }, "p99"))), h("tbody", {}, latency))),
      h("section", { class: "panel", "aria-labelledby": "check-title", hidden: () => !rush?.checks.length },
        h("h2", { id: "check-title" }, () => t("rush.check.title")),
        h("p", { class: "verdict", role: "status", id: "rush-verdict", "data-good": () => isGood() },
          () => (rush?.checks.length ? t(isGood() ? "rush.check.good" : "rush.check.bad") : "")),
        checks)));

  function tally() {
    const by = new Map();
    for (const buyer of rush?.buyers ?? []) by.set(buyer.state, (by.get(buyer.state) ?? 0) + 1);
    const place = ([state]) => (ORDER.indexOf(state) + 1 || ORDER.length + 1);
    return [...by].sort((a, b) => place(a) - place(b));
  }

  function gridWords() {
    return tally().map(([state, n]) => `${tCode("cell", state)}: ${number(n)}`).join(", ");
  }

  function latencyWords(name, share) {
    const { of } = LATENCIES.find((one) => one.name === name);
    const values = (rush?.buyers ?? []).map(of).filter((value) => value !== null).sort((a, b) => a - b);
    const value = percentile(values, share);
    return value === null ? "–" : duration(value);
  }

  function paintCell(buyer) {
    const cell = cells.get(buyer);
    if (!cell) return;
    cell.dataset.state = buyer.state;
    cell.textContent = ["accepted", "confirmed"].includes(buyer.state) && buyer.ticket ? String(buyer.ticket) : "";
    cell.title = `${buyer.userId}: ${tCode("cell", buyer.state)}`;
  }

  return {
    element,
    /** @param {import("../rush/run.js").Rush} next */
    take(next) {
      rush = next;
      cells.clear();
      grid.replaceChildren();
      grid.dataset.roll = String(rollOf(rush.sale.id));
    },
    update() {
      if (!rush) return;
      if (cells.size !== rush.buyers.length) {
        for (const buyer of rush.buyers) cells.set(buyer, h("span", { class: "cell" }));
        grid.replaceChildren(...cells.values());
        rush.buyers.forEach(paintCell);
      }
      rush.changed.forEach(paintCell);
      rush.changed.clear();
      each(counts, tally(), ([state]) => state, (entry) => h("div", { "data-count": entry()[0] },
        h("dt", {}, () => tCode("cell", entry()[0])), h("dd", {}, () => number(entry()[1]))));
      each(checks, rush.checks, ({ name }) => name, (check) => h("li", { "data-good": () => check().isGood },
        () => t(`rush.check.${check().name}`, check().values)));
      refresh(element);
    },
  };
}
