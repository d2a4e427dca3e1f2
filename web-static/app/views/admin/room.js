/** One waiting room: its figures live and over the last minutes, its limits, its sales and its draw. */
import { each, h, refresh } from "../../dom.js";
import { dateTime, number, t, tCode } from "../../i18n.js";
import { announce } from "../../parts/announce.js";
import { choice, form } from "../../parts/field.js";
import { limitFields } from "../../parts/limits.js";
import { figureWords, plot } from "../../parts/plot.js";
import { gauge } from "../../parts/plot-kinds.js";
import { problemWords } from "../../parts/problem.js";
import { statusMark } from "../../parts/ticket.js";
import { path } from "../../rest.js";
import { ORDERINGS, rooms } from "../../stores/rooms.js";
import { sales } from "../../stores/sales.js";
import { session } from "../../stores/session.js";
import { adminPage, repeatedly } from "./page.js";

const ASK_EVERY_MS = 1_000;
const COUNTS = ["joined", "admitted", "spent", "expired", "noShow", "left", "vanished", "closed"];

/** @param {string} id */
export function show(id) {
  let problem = null;
  const room = () => rooms.get(id);
  const isKnown = () => Boolean(room());
  const title = () => t("room.title", { id });
  const plots = [["waiting"], ["active", "maxActive"], ["pace"]].map(([name, limit]) => {
    const chart = plot(gauge(name, limit));
    const heading = h("h3", { class: "eyebrow" }, () => t(`room.${name}`));
    return { chart, element: h("section", { class: "gauge", "data-gauge": name }, heading, chart.element) };
  });
  const limits = limitFields({});
  /** Lots are drawn from a room's first day on, or never. */
  const ordering = choice("ordering", { label: () => t("room.ordering") }, []);
  let shownOrdering = null;
  const its = h("ul", { class: "lines" });
  const itsSales = () => sales.all.filter((sale) => sale.room === id);

  const figure = (name, words) => h("div", { "data-figure": name },
    h("dt", {}, () => t(`room.${name}`)), h("dd", {}, () => (isKnown() ? words(room()) : "–")));
  const element = adminPage(title,
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "lead" }, () => (isKnown() ? leadWords(room()) : "")),
    h("dl", { class: "figures" },
      figure("waiting", ({ waiting }) => number(waiting)),
      figure("active", ({ active, maxActive }) => t("room.activeOf", { n: active, most: maxActive })),
      figure("pace", ({ pacePerMinute }) => figureWords(pacePerMinute))),
    panel("plots", "room.plots", h("div", { class: "gauges" }, plots.map((one) => one.element))),
    panel("counts", "room.counts", h("dl", { class: "figures figures--small" },
      COUNTS.map((name) => figure(name, (known) => number(known[name] ?? 0))))),
    panel("limits", "room.limits",
      form({ fields: [...limits.fields, ordering], submit, class: "form form--grid form--even", action: () => t("room.change") })),
    h("section", { class: "panel", "aria-labelledby": "sales-title", hidden: () => itsSales().length === 0 },
      h("h2", { id: "sales-title" }, () => t("admin.sales")), its),
    drawPanel(room));

  async function submit() {
    rooms.learn(await session.adminCall("PATCH", path`api/rooms/${id}`, {
      body: { ...limits.read(), ordering: ordering.input.value },
    }));
    limits.settle();
    announce(t("room.changed", { id }));
    update();
  }

  function update() {
    if (isKnown()) {
      limits.show(room());
      showOrdering(room().ordering);
      for (const { chart } of plots) chart.draw(rooms.series(id), "second");
    }
    each(its, itsSales(), (sale) => sale.id, (sale) => h("li", {},
      h("a", { href: `#/admin/sale/${encodeURIComponent(sale().id)}` }, () => sale().name), statusMark(sale)));
    refresh(element);
  }

  function showOrdering(now) {
    if (now === shownOrdering) return;
    shownOrdering = now;
    const possible = now === "random" ? ["random"] : ORDERINGS.filter((name) => name !== "random");
    ordering.offer(possible.map((name) => [name, () => t(`ordering.${name}`)]));
    ordering.input.value = now;
  }

  const asking = repeatedly(() => rooms.load(id), ASK_EVERY_MS, (error) => {
    problem = error;
    update();
  });
  const stops = [sales.listen(update), sales.follow(null, () => {})];
  return {
    title,
    element,
    close() {
      asking.stop();
      for (const stop of stops) stop();
    },
  };
}

function panel(name, words, ...content) {
  return h("section", { class: "panel", "aria-labelledby": `${name}-title` },
    h("h2", { id: `${name}-title` }, () => t(words)), ...content);
}

function leadWords({ ordering, opensAt }) {
  const words = [tCode("ordering", ordering)];
  if (opensAt) words.push(t("room.opensAt", { at: dateTime(opensAt) }));
  return words.join(" · ");
}

/** The draw of a `random` room: its seed's hash before, the seed itself afterwards. */
function drawPanel(room) {
  const row = (words, read) => h("div", { hidden: () => !room() || !read(room()) },
    h("dt", {}, () => t(words)), h("dd", { translate: "no" }, () => (room() && read(room())) || ""));
  return h("section", { class: "panel", "aria-labelledby": "draw-title", hidden: () => room()?.ordering !== "random" },
    h("h2", { id: "draw-title" }, () => t("draw.operator")),
    h("p", { role: "status" }, () => (room()?.drawnAt ? t("draw.drawn", { at: dateTime(room().drawnAt) }) : t("draw.open"))),
    h("dl", { class: "facts facts--long" },
      row("draw.seedSha256", ({ seedSha256 }) => seedSha256),
      row("draw.seed", ({ seed }) => seed)));
}
