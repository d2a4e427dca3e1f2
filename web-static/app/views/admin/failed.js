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
  /** @type {Map<number, object>} */ const entries = new Map();
  let hasLoaded = false;
  let hasOlder = false;
  let problem = null;
  const rows = h("tbody");
  const isWaiting = (entry) => entry.status === "failed";
  const newestFirst = () => [...entries.values()].sort((a, b) => b.id - a.id);

  const element = adminPage(() => t("admin.failed"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "empty", hidden: () => !hasLoaded || entries.size > 0 }, () => t("failed.none")),
    h("p", { hidden: () => !newestFirst().some(isWaiting) },
      h("button", { type: "button", class: "primary", id: "retry-all", onclick: retryAll },
        () => t("failed.retryAll"))),
    h("div", { hidden: () => entries.size === 0 }, table(() => t("admin.failed"), HEADINGS, rows)),
    h("p", { hidden: () => !hasOlder },
      h("button", { type: "button", class: "secondary", onclick: askOlder }, () => t("failed.older"))));

  async function ask(where) {
    const answer = await session.adminCall("GET", where);
    for (const entry of answer) entries.set(entry.id, entry);
    return answer;
  }

  const asking = repeatedly(async () => {
    const answer = await ask(`api/failed-orders?limit=${PAGE}`);
    settleMissing(answer);
    if (!hasLoaded) hasOlder = answer.length === PAGE;
    hasLoaded = true;
  }, ASK_EVERY_MS, (error) => {
    problem = error;
    update();
  });

  /** What is no longer on the newest page, though it is not older than it, has been tried again, here or elsewhere. */
  function settleMissing(answer) {
    const listed = new Set(answer.map(({ id }) => id));
    const oldest = answer.length === PAGE ? answer.at(-1).id : -Infinity;
    for (const entry of entries.values()) {
      if (entry.id >= oldest && !listed.has(entry.id)) entries.set(entry.id, { ...entry, status: "retried" });
    }
  }

  async function askOlder() {
    const oldest = newestFirst().at(-1).id;
    const answer = await doAndTell(() => ask(path`api/failed-orders?limit=${PAGE}&before=${oldest}`), () => "");
    if (answer) hasOlder = answer.length === PAGE;
    update();
  }

  function update() {
    each(rows, newestFirst(), (entry) => entry.id, row);
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
