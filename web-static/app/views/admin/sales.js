/** The operator's first view: every sale, and what can be done with it. */
import { each, h, refresh } from "../../dom.js";
import { dateTime, number, t } from "../../i18n.js";
import { problemWords } from "../../parts/problem.js";
import { saleActions } from "../../parts/sale-actions.js";
import { olderButton, statusMark } from "../../parts/ticket.js";
import { sales } from "../../stores/sales.js";
import { adminPage, table } from "./page.js";

export function show() {
  let problem = null;
  const rows = h("tbody");
  const headings = ["table.sale", "table.status", "table.left", "table.opens", "table.closes", "table.actions"];
  const element = adminPage(() => t("admin.sales"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", {}, h("a", { class: "primary", href: "#/admin/register" }, () => t("admin.registerOne"))),
    h("div", { hidden: () => sales.all.length === 0 }, table(() => t("admin.sales"), headings, rows)),
    olderButton());

  const update = () => {
    each(rows, sales.all, (sale) => sale.id, row);
    refresh(element);
  };
  const stops = [sales.listen(update), sales.follow(null, (error) => { problem = error; update(); })];
  const ticking = setInterval(update, 1000);
  return {
    title: () => t("admin.sales"),
    element,
    close() {
      clearInterval(ticking);
      for (const stop of stops) stop();
    },
  };
}

function row(sale) {
  return h("tr", { "data-sale": sale().id },
    h("th", { scope: "row" },
      h("a", { href: `#/admin/sale/${encodeURIComponent(sale().id)}` }, () => sale().name),
      h("small", { translate: "no" }, () => t("sale.serial", { id: String(sale().id) }))),
    h("td", {}, statusMark(sale)),
    h("td", { class: "figure" }, () => `${number(sale().remaining)} / ${number(sale().quantity)}`),
    h("td", { class: "figure" }, () => dateTime(sale().opensAt)),
    h("td", { class: "figure" }, () => dateTime(sale().closesAt)),
    h("td", {}, saleActions(sale)));
}
