/** Whether Redis and PostgreSQL tell the same, sale by sale, and whether balances are the sums of their ledgers. */
import { each, h, refresh } from "../../dom.js";
import { number, t } from "../../i18n.js";
import { problemWords } from "../../parts/problem.js";
import { sales } from "../../stores/sales.js";
import { session } from "../../stores/session.js";
import { adminPage, repeatedly, table } from "./page.js";

const ASK_EVERY_MS = 2_000;
const FIGURES = ["quantity", "sold", "held", "free", "inFlight"];

export function show() {
  let audit = null;
  let problem = null;
  const rows = h("tbody");
  const headings = ["table.sale", ...FIGURES.map((name) => `table.${name}`), "table.drift"];
  const element = adminPage(() => t("admin.audit"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "verdict", role: "status", "data-good": () => audit?.drift === 0, hidden: () => !audit },
      () => verdictWords(audit)),
    h("div", { hidden: () => !audit?.sales.length }, table(() => t("admin.audit"), headings, rows)));

  sales.loadAll().catch(() => {});
  const asking = repeatedly(async () => {
    audit = await session.adminCall("GET", "api/audit");
  }, ASK_EVERY_MS, (error) => {
    problem = error;
    each(rows, [...(audit?.sales ?? [])].sort((a, b) => b.sale - a.sale), ({ sale }) => sale, row);
    refresh(element);
  });
  return { title: () => t("admin.audit"), element, close: () => asking.stop() };
}

function verdictWords(audit) {
  if (!audit) return "";
  const drifting = audit.sales.filter(({ drift }) => drift !== 0).length;
  const accounts = audit.accountsWithDrift ?? [];
  const words = [drifting === 0 ? t("audit.agrees", { n: audit.sales.length }) : t("audit.drifts", { n: drifting })];
  if (accounts.length > 0) words.push(t("audit.accounts", { n: accounts.length, names: accounts.join(", ") }));
  return words.join(" ");
}

function row(line) {
  const id = line().sale;
  return h("tr", { "data-sale": id },
    h("th", { scope: "row" },
      h("a", { href: `#/admin/sale/${encodeURIComponent(id)}` },
        () => sales.get(id)?.name ?? t("sale.serial", { id: String(id) }))),
    FIGURES.map((name) => h("td", { class: "figure", "data-figure": name }, () => number(line()[name]))),
    h("td", { class: "figure drift", "data-figure": "drift", "data-good": () => line().drift === 0 },
      () => (line().drift === 0 ? t("audit.none") : number(line().drift))));
}
