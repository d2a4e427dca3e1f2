/** The rush: many simulated buyers at once, each a small ticket that turns into what became of it. */
import { clock } from "../clock.js";
import { h, refresh } from "../dom.js";
import { countdown, t } from "../i18n.js";
import { field, form, checkbox } from "../parts/field.js";
import { problemWords } from "../parts/problem.js";
import { rushBoard } from "../parts/rush-board.js";
import { LONGEST_WAIT_MS, Rush } from "../rush/run.js";
import { path } from "../rest.js";
import { sales, statusNow } from "../stores/sales.js";
import { session } from "../stores/session.js";

const SALE_LASTS_MS = 30 * 60_000;

/** A rush goes on while one looks at another view. @type {Rush | null} */
let rush = null;

export function show() {
  let stopListening = () => {};
  let frame = 0;
  const board = rushBoard();
  const whole = { type: "number", inputmode: "numeric", step: "1", min: "1" };
  const count = field("buyers", { ...whole, max: "300", value: "100",
    label: () => t("rush.buyers"), hint: () => t("rush.buyersHint") });
  const quantity = field("quantity", { ...whole, label: () => t("rush.quantity"), value: "20" });
  const reject = field("rejectPercent", { ...whole, min: "0", max: "100", value: "0",
    label: () => t("register.rejectPercent") });
  const points = checkbox(() => t("rush.withPoints"), { checked: true });
  const choice = h("select", { id: "rush-sale", name: "sale", onchange: () => refresh(element) });
  const isNew = () => choice.value === "";
  const newOnly = h("div", { class: "form__fields", hidden: () => !isNew() }, quantity.element, reject.element);
  const isRunning = () => rush !== null && !rush.isOver;

  const setup = form({
    fields: [count], class: "form form--row",
    extra: [
      h("div", { class: "field" }, h("label", { for: "rush-sale" }, () => t("rush.sale")), choice),
      newOnly,
      h("div", { hidden: () => !(sales.get(choice.value)?.price > 0) }, points.element),
    ],
    action: () => t("rush.start"),
    words: (error) => (error instanceof RangeError ? { field: "buyers", text: t("rush.buyersHint") } : null),
    submit: start,
  });
  const element = h("section", { class: "column column--wide" },
    h("h1", {}, () => t("rush.title")),
    h("p", { class: "lead" }, () => t("rush.lead")),
    h("div", { hidden: isRunning }, setup),
    h("div", { class: "rush__now", hidden: () => !rush },
      h("p", { role: "status", class: "rush__phase", "data-phase": () => rush?.phase ?? null }, phaseWords),
      h("button", { type: "button", class: "secondary", hidden: () => !isRunning(), onclick: () => rush.stop() },
        () => t("rush.stop"))),
    board.element);

  function phaseWords() {
    if (!rush) return "";
    if (rush.phase === "broken") return problemWords(rush.error);
    const wait = Date.parse(rush.sale.opensAt) - clock.now();
    return t(`rush.${rush.phase}`, { name: rush.sale.name, n: rush.count, wait: countdown(wait) });
  }

  async function start() {
    const buyers = Number(count.input.value);
    if (!(Number.isInteger(buyers) && buyers >= 1 && buyers <= 300)) throw new RangeError("buyers");
    const sale = isNew() ? await registerOwn() : await fresh(choice.value);
    rush = new Rush({ sale, count: buyers, withPoints: points.input.checked, isOwnSale: isNew() });
    attach();
    rush.run();
  }

  async function registerOwn() {
    const now = clock.now();
    const sale = await session.adminCall("POST", "api/sales", { body: {
      name: t("rush.saleName"), quantity: Number(quantity.input.value), rejectPercent: Number(reject.input.value),
      opensAt: new Date(now).toISOString(), closesAt: new Date(now + SALE_LASTS_MS).toISOString(),
    } });
    if (sale.status !== "scheduled") return sale;
    return session.adminCall("POST", path`api/sales/${sale.id}/open`);
  }

  async function fresh(id) {
    await sales.load(id);
    return sales.get(id);
  }

  function attach() {
    stopListening();
    board.take(rush);
    stopListening = rush.listen(() => { frame ||= requestAnimationFrame(paint); });
    paint();
  }

  function paint() {
    frame = 0;
    board.update();
    refresh(element);
    fillChoice();
  }

  function fillChoice() {
    // Its buyers do not stand in line.
    const possible = sales.all.filter((sale) => !sale.room).filter((sale) => {
      const status = statusNow(sale);
      return status === "open" || (status === "scheduled" && Date.parse(sale.opensAt) - clock.now() < LONGEST_WAIT_MS);
    });
    const wanted = ["", ...possible.map((sale) => String(sale.id))];
    const shown = [...choice.options].map((option) => option.value);
    if (wanted.join() === shown.join()) return;
    const selected = choice.value;
    choice.replaceChildren(
      h("option", { value: "" }, () => t("rush.newSale")),
      ...possible.map((sale) => h("option", { value: String(sale.id) },
        () => t("rush.oneSale", { name: sale.name, n: sale.remaining }))));
    choice.value = wanted.includes(selected) ? selected : "";
  }

  fillChoice();
  const unfollow = sales.follow(null, () => { fillChoice(); refresh(element); });
  const ticking = setInterval(() => refresh(element), 500);
  if (rush) attach();
  return {
    title: () => t("rush.title"),
    element,
    close() {
      cancelAnimationFrame(frame);
      clearInterval(ticking);
      stopListening();
      unfollow();
    },
  };
}
