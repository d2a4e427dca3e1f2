/** Orders that could not be kept, newest first, and trying them again. */
import { each, h, refresh } from "../../dom.js";
import { dateTime, t, tCode } from "../../i18n.js";
import { problemWords } from "../../parts/problem.js";
import { path } from "../../rest.js";
import { session } from "../../stores/session.js";
import { adminPage, doAndTell, repeatedly, table } from "./page.js";

const ASK_EVERY_MS = 3_000;
const PAGE = 100;
const HEADINGS = ["table.order", "table.client", "table.ticket", "table.reason", "table.failedAt", "table.actions"];

export function show() {
  /** @type {object[]} The list as it was answered last. */ let entries = [];
  /** How many of them may be shown. */ let most = PAGE;
  let hasLoaded = false;
  let hasOlder = false;
  let problem = null;
  const rows = h("tbody");
  const isWaiting = (entry) => entry.status === "failed";

  const element = adminPage(() => t("admin.failed"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "empty", hidden: () => !hasLoaded || entries.length > 0 }, () => t("failed.none")),
    h("p", { hidden: () => !entries.some(isWaiting) },
      h("button", { type: "button", class: "primary", id: "retry-all", onclick: retryAll },
        () => t("failed.retryAll"))),
    h("div", { hidden: () => entries.length === 0 }, table(() => t("admin.failed"), HEADINGS, rows)),
    h("p", { hidden: () => !hasOlder },
      h("button", { type: "button", class: "secondary", onclick: askOlder }, () => t("failed.older"))));

  /** Asks for all that is shown: what was settled meanwhile is not on the list any more, and goes. */
  async function ask() {
    const list = [];
    let page;
    do {
      const before = list.length > 0 ? path`&before=${list.at(-1).id}` : "";
      page = await session.adminCall("GET", `api/failed-orders?limit=${PAGE}${before}`);
      list.push(...page);
    } while (page.length === PAGE && list.length < most);
    entries = list;
    hasOlder = page.length === PAGE;
    hasLoaded = true;
  }

  const asking = repeatedly(ask, ASK_EVERY_MS, (error) => {
    problem = error;
    update();
  });

  function askOlder() {
    most += PAGE;
    asking.now();
  }

  function update() {
    each(rows, entries, (entry) => entry.id, row);
    refresh(element);
  }

  function row(entry) {
    return h("tr", { "data-order": entry().order, "data-status": () => entry().status },
      h("th", { scope: "row" },
        h("a", { href: `#/admin/sale/${encodeURIComponent(entry().sale)}`, translate: "no" }, entry().order)),
      h("td", { translate: "no" }, () => entry().userId),
      h("td", { class: "figure" }, () => entry().ticket),
      h("td", { class: "wide" }, () => entry().message,
        h("small", {}, () => `${entry().reason}, ${t("failed.attempts", { n: entry().attempts })}`)),
      h("td", { class: "figure" }, () => dateTime(entry().failedAt)),
      h("td", {},
        h("span", { hidden: () => isWaiting(entry()) }, () => tCode("failed.status", entry().status)),
        h("button", { type: "button", class: "secondary", hidden: () => !isWaiting(entry()),
          "aria-label": () => t("failed.retryNamed", { order: entry().order }),
          onclick: () => retry(entry().order) }, () => t("failed.retry"))));
  }

  async function retry(order) {
    const where = path`api/failed-orders/${order}/retry`;
    await doAndTell(() => session.adminCall("POST", where), () => t("failed.retried", { order }));
    asking.now();
  }

  async function retryAll() {
    const where = "api/failed-orders/retry";
    await doAndTell(() => session.adminCall("POST", where), (counts) => t("failed.retriedAll", counts));
    asking.now();
  }

  return { title: () => t("admin.failed"), element, close: () => asking.stop() };
}
