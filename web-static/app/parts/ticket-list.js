/** The buyer's orders of one sale, each with the way to give its ticket back. */
import { each, h } from "../dom.js";
import { t } from "../i18n.js";
import { holdsTicket } from "../outcome.js";
import { claims } from "../stores/claims.js";
import { announce } from "./announce.js";
import { confirmed } from "./dialogs.js";
import { problemWords } from "./problem.js";

/**
 * @param {() => import("../stores/sales.js").Sale} sale
 * @param {{onCancelled: () => void}} options
 */
export function ticketList(sale, { onCancelled }) {
  const list = h("ul", { class: "orders" });
  const orders = () => claims.of(sale().id).orders;
  const element = h("section", { class: "mine", "aria-labelledby": "mine-title", hidden: () => {
    each(list, [...orders()].reverse(), ({ order }) => order, line);
    return orders().length === 0;
  } }, h("h2", { class: "eyebrow", id: "mine-title" }, () => t("mine.title")), list);

  function line(order) {
    return h("li", { class: "order", "data-status": () => order().status },
      h("span", { class: "order__ticket", translate: "no" },
        () => t("mine.ticket", { ticket: String(order().ticket ?? "–") })),
      h("span", { class: "order__status" }, () => t(`order.${order().status}`)),
      h("span", { class: "order__id", translate: "no" }, () => t("mine.order", { order: order().order })),
      h("button", { class: "secondary", type: "button", hidden: () => !holdsTicket(order()),
        onclick: () => giveBack(order()) }, () => t("mine.cancel")));
  }

  async function giveBack(order) {
    const isSure = await confirmed({
      title: t("mine.cancelTitle", { ticket: String(order.ticket) }),
      body: t(sale().price > 0 ? "mine.cancelBodyPaid" : "mine.cancelBody"),
      action: t("mine.cancel"),
    });
    if (!isSure) return;
    try {
      await claims.cancel(sale().id, order);
      onCancelled();
    } catch (error) {
      announce(problemWords(error), { isProblem: true });
    }
  }
  return element;
}
