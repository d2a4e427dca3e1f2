/** The live figures of one sale, or of all of them together, and how they came about over time. */
import { each, h, refresh } from "../../dom.js";
import { dateTime, duration, number, t, tCode } from "../../i18n.js";
import { plot } from "../../parts/plot.js";
import { REQUESTS } from "../../parts/plot-kinds.js";
import { problemWords } from "../../parts/problem.js";
import { saleActions } from "../../parts/sale-actions.js";
import { statusMark } from "../../parts/ticket.js";
import { call, path } from "../../rest.js";
import { sales } from "../../stores/sales.js";
import { adminPage, repeatedly } from "./page.js";

const ASK_EVERY_MS = 1_000;
const FIGURES = ["requests", "accepted", "confirmed", "failed", "cancelled", "refused", "remaining"];

/** @param {string} [id] the sale; without one, all of them */
export function show(id) {
  let figures = null;
  let problem = null;
  let interval = "second";
  /** The interval of the figures at hand, which may not be the chosen one yet. */
  let answered = interval;
  const sale = () => (id === undefined ? undefined : sales.get(id));
  const title = () => (id === undefined ? t("admin.statistics") : sale()?.name ?? t("sale.serial", { id }));

  const chart = plot(REQUESTS);
  const refusals = h("ul", { class: "refusals" });
  const head = h("div", { class: "statistics__head" });
  const element = adminPage(title,
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    head,
    h("dl", { class: "figures" }, FIGURES.map((name) => h("div", { "data-figure": name },
      h("dt", {}, () => t(`figure.${name}`)), h("dd", {}, () => (figures ? number(valueOf(figures, name)) : "–"))))),
    h("section", { class: "panel", "aria-labelledby": "plot-title" },
      h("div", { class: "panel__head" }, h("h2", { id: "plot-title" }, () => t("plot.title")), intervals()),
      chart.element),
    h("section", { class: "panel", "aria-labelledby": "refused-title", hidden: () => refusedOf(figures) === 0 },
      h("h2", { id: "refused-title" }, () => t("figure.refused")), refusals),
    h("p", { class: "moments" }, () => momentsWords(figures)));

  function intervals() {
    const choice = (value) => h("label", {},
      h("input", { type: "radio", name: "interval", checked: interval === value,
        onchange: () => { interval = value; asking.now(); } }),
      h("span", {}, () => t(`plot.${value}`)));
    return h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, () => t("plot.interval")),
      choice("second"), choice("minute"));
  }

  const asking = repeatedly(async () => {
    const where = id === undefined ? "api/statistics" : path`api/sales/${id}/statistics`;
    const wanted = interval;
    const asked = call("GET", `${where}?interval=${wanted}`);
    const [answer] = await Promise.all([asked, id === undefined ? null : sales.load(id)]);
    figures = answer;
    answered = wanted;
  }, ASK_EVERY_MS, (error) => {
    problem = error;
    update();
  });

  function update() {
    if (sale() && !head.firstChild) head.append(...headOf(sale));
    if (figures) {
      chart.draw(figures.series ?? [], answered);
      each(refusals, Object.entries(figures.refused ?? {}), ([code]) => code, refusalLine);
    }
    refresh(element);
  }
  function refusalLine(entry) {
    const share = () => `${(100 * entry()[1]) / Math.max(1, refusedOf(figures))}%`;
    return h("li", {},
      h("span", {}, () => tCode("cell", entry()[0])),
      h("span", { class: "bars", "aria-hidden": "true" }, h("span", { class: "bar", "--share": share })),
      h("span", { class: "figure" }, () => number(entry()[1])));
  }
  const stops = [sales.listen(update)];
  return {
    title,
    element,
    close() {
      asking.stop();
      for (const stop of stops) stop();
    },
  };
}

function headOf(sale) {
  const { id, room } = sale();
  const buyersView = h("a", { href: `#/sale/${encodeURIComponent(id)}` }, () => t("admin.buyersView"));
  const itsRoom = h("a", { href: `#/admin/room/${encodeURIComponent(room)}` }, () => t("room.title", { id: room }));
  return [statusMark(sale), buyersView, ...(room ? [itsRoom] : []), saleActions(sale)];
}

function refusedOf(figures) {
  return Object.values(figures?.refused ?? {}).reduce((sum, n) => sum + n, 0);
}

function valueOf(figures, name) {
  return name === "refused" ? refusedOf(figures) : figures[name] ?? 0;
}

function momentsWords(figures) {
  if (!figures?.firstClaimAt) return "";
  const words = [t("figure.firstClaimAt", { at: dateTime(figures.firstClaimAt) })];
  if (figures.soldOutAt) {
    const took = Date.parse(figures.soldOutAt) - Date.parse(figures.firstClaimAt);
    words.push(t("figure.soldOutAt", { at: dateTime(figures.soldOutAt), took: duration(took) }));
  }
  return words.join(" · ");
}
