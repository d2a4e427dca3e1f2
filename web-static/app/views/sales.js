/** The buyer's first view: every sale, as tickets. */
import { each, h, refresh } from "../dom.js";
import { t } from "../i18n.js";
import { problemWords } from "../parts/problem.js";
import { olderButton, saleLine } from "../parts/ticket.js";
import { sales, statusNow } from "../stores/sales.js";

const GROUPS = [
  { name: "open", statuses: ["open"], order: (sale) => Date.parse(sale.closesAt) },
  { name: "scheduled", statuses: ["scheduled"], order: (sale) => Date.parse(sale.opensAt) },
  { name: "ended", statuses: ["sold_out", "closed", "cancelled"], order: (sale) => -Date.parse(sale.closesAt) },
];

export function show() {
  let problem = null;
  let hasLoaded = false;
  const groups = GROUPS.map((group) => {
    const list = h("ul", { class: "tickets" });
    const members = () => sales.all
      .filter((sale) => group.statuses.includes(statusNow(sale)))
      .sort((a, b) => group.order(a) - group.order(b));
    const element = h("section", { hidden: () => members().length === 0, "aria-labelledby": `group-${group.name}` },
      h("h2", { id: `group-${group.name}`, class: "eyebrow" }, () => t(`sales.${group.name}`)), list);
    return { element, update: () => each(list, members(), (sale) => sale.id, saleLine) };
  });

  const element = h("section", { class: "column column--wide" },
    h("h1", {}, () => t("sales.title")),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "empty", hidden: () => !hasLoaded || sales.all.length > 0 }, () => t("sales.none")),
    groups.map((group) => group.element),
    olderButton());

  const update = () => {
    for (const group of groups) group.update();
    refresh(element);
  };
  const stopListening = sales.listen(update);
  const unfollow = sales.follow(null, (error) => {
    problem = error;
    hasLoaded ||= !error;
    update();
  });
  const ticking = setInterval(update, 1000);
  return {
    title: () => t("sales.title"),
    element,
    close() {
      clearInterval(ticking);
      stopListening();
      unfollow();
    },
  };
}
