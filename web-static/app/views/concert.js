/** A concert with its dates. */
import { each, h, refresh } from "../dom.js";
import { t } from "../i18n.js";
import { dateLine } from "../parts/concert-line.js";
import { problemWords } from "../parts/problem.js";
import { concerts } from "../stores/concerts.js";

/** @param {string} id */
export function show(id) {
  let problem = null;
  const concert = () => concerts.get(id);
  const name = () => concert()?.name ?? t("concert.serial", { id });
  const list = h("ul", { class: "tickets" });
  const element = h("section", { class: "column column--wide" },
    h("p", {}, h("a", { href: "#/", class: "back" }, () => t("sale.back"))),
    h("h1", {}, name),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "empty", hidden: () => !concert() || concert().dates.length > 0 }, () => t("concert.noDates")),
    list);
  const update = () => {
    each(list, concert()?.dates ?? [], (date) => date.concertDetailId, (date) => dateLine(concert(), date));
    refresh(element);
  };
  const stops = [concerts.listen(update), concerts.follow(id, (error) => { problem = error; update(); })];
  return { title: name, element, close: () => stops.forEach((stop) => stop()) };
}
