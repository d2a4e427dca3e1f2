/** Tickets come from rolls: each sale has the colour of its own, the same everywhere on the page. */
import { h } from "../dom.js";
import { countdown, dateTime, number, t } from "../i18n.js";
import { clock } from "../clock.js";
import { sales, statusNow } from "../stores/sales.js";
import { announce } from "./announce.js";
import { problemWords } from "./problem.js";

const ROLLS = 5;
const DAY_MS = 86_400_000;
const HAS_ENDED = new Set(["sold_out", "closed", "cancelled"]);

/** @param {string | number} saleId @returns {number} which roll */
export function rollOf(saleId) {
  let sum = 0;
  for (const character of String(saleId)) sum = (sum * 31 + character.codePointAt(0)) % 10_007;
  return sum % ROLLS;
}

/** @param {() => import("../stores/sales.js").Sale} sale */
export function statusMark(sale) {
  return h("span", { class: "status", "data-status": () => statusNow(sale()) }, () => t(`status.${statusNow(sale())}`));
}

/** Asks for the next page of the list, where there is one. */
export function olderButton() {
  return h("p", { hidden: () => !sales.hasOlder },
    h("button", { type: "button", class: "secondary", id: "older",
      onclick: () => sales.loadOlder().catch((error) => announce(problemWords(error), { isProblem: true })) },
    () => t("sales.older")));
}

/** A sale as one line of the list. @param {() => import("../stores/sales.js").Sale} sale */
export function saleLine(sale) {
  return h("li", {},
    h("a", { class: "ticket ticket--line", href: `#/sale/${encodeURIComponent(sale().id)}`,
      "data-roll": rollOf(sale().id), "data-spent": () => HAS_ENDED.has(statusNow(sale())) },
    h("div", { class: "ticket__body" },
      statusMark(sale),
      h("h3", { class: "ticket__name" }, () => sale().name),
      h("p", { class: "ticket__facts" }, () => lineFacts(sale()))),
    h("div", { class: "ticket__stub" },
      h("strong", { class: "ticket__figure" }, () => figure(sale())),
      h("span", {}, () => figureWords(sale())))));
}

function lineFacts(sale) {
  const status = statusNow(sale);
  const isOver = status === "closed" || status === "cancelled";
  const when = status === "scheduled" ? t("sale.opensAt", { at: dateTime(sale.opensAt) })
    : t(isOver ? "sale.closedAt" : "sale.closesAt", { at: dateTime(sale.closesAt) });
  const words = [when];
  if (sale.price > 0) words.push(t("sale.points", { n: sale.price }));
  if (sale.room && !isOver) words.push(t("sale.line"));
  return words.join(" · ");
}

function figure(sale) {
  if (statusNow(sale) !== "scheduled") return number(sale.remaining);
  const wait = Date.parse(sale.opensAt) - clock.now();
  return wait < DAY_MS ? countdown(wait) : t("unit.days", { n: Math.floor(wait / DAY_MS) });
}

function figureWords(sale) {
  return t(quantityWords(statusNow(sale)), { n: sale.quantity });
}

/**
 * What to say beside the figure.
 * @param {import("../stores/sales.js").Sale["status"]} status
 * @returns {string} a key of `strings.js`
 */
export function quantityWords(status) {
  if (status === "scheduled") return "sale.untilOpening";
  return status === "closed" || status === "cancelled" ? "sale.ofUnsold" : "sale.ofLeft";
}
