/** The buyer's first view: every concert and every sale, as tickets. */
import { each, h, refresh } from "../dom.js";
import { t } from "../i18n.js";
import { concertLine } from "../parts/concert-line.js";
import { problemWords } from "../parts/problem.js";
import { olderButton, saleLine } from "../parts/ticket.js";
import { concerts } from "../stores/concerts.js";
import { sales, statusNow } from "../stores/sales.js";

const GROUPS = [
  { name: "open", statuses: ["open"], order: (sale) => Date.parse(sale.closesAt) },
  { name: "scheduled", statuses: ["scheduled"], order: (sale) => Date.parse(sale.opensAt) },
  { name: "ended", statuses: ["sold_out", "closed", "cancelled"], order: (sale) => -Date.parse(sale.closesAt) },
];

export function show() {
  let problem = null;
  let concertProblem = null;
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

  const concertList = h("ul", { class: "tickets" });
  const concertGroup = h("section", { hidden: () => concerts.all.length === 0, "aria-labelledby": "group-concerts" },
    h("h2", { id: "group-concerts", class: "eyebrow" }, () => t("concert.title")), concertList);
  const element = h("section", { class: "column column--wide" },
    h("h1", {}, () => t("sales.title")),
    h("p", { class: "notice", role: "status", hidden: () => !shownProblem() },
      () => shownProblem() && problemWords(shownProblem())),
    h("p", { class: "empty", hidden: isNotEmpty }, () => t("sales.none")),
    concertGroup,
    groups.map((group) => group.element),
    olderButton());

  function shownProblem() {
    return problem ?? concertProblem;
  }

  function isNotEmpty() {
    return !hasLoaded || sales.all.length > 0 || concerts.all.length > 0;
  }

  const update = () => {
    for (const group of groups) group.update();
    each(concertList, concerts.all, (concert) => concert.concertId, concertLine);
    refresh(element);
  };
  const stops = [
    sales.listen(update),
    concerts.listen(update),
    sales.follow(null, (error) => {
      problem = error;
      hasLoaded ||= !error;
      update();
    }),
    concerts.follow(null, (error) => { concertProblem = error?.isUndecided ? error : null; update(); }),
  ];
  const ticking = setInterval(update, 1000);
  return {
    title: () => t("sales.title"),
    element,
    close() {
      clearInterval(ticking);
      for (const stop of stops) stop();
    },
  };
}
