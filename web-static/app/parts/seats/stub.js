/** The stub of a performance: the place in line, the time that is left, the seats, what they cost, and the one button. */
import { each, h } from "../../dom.js";
import { countdown, hasWords, number as inFigures, t } from "../../i18n.js";
import { line } from "../../stores/line.js";
import { points } from "../../stores/points.js";
import { isLive, timeLeft } from "../../stores/reservations.js";
import { session } from "../../stores/session.js";
import { drawDetails } from "../draw.js";
import { linePanel } from "../line-panel.js";
import { openTopUp } from "../top-up.js";
import { seatNames } from "./names.js";

const HURRY_MS = 60_000;
const LAST_MOMENT_MS = 15_000;
const BUSY = new Set(["holding", "paying"]);

/**
 * @param {{date: () => import("../../stores/concerts.js").Performance, goal: () => import("../../stores/line.js").Goal,
 *          now: () => import("../../seat-outcome.js").SeatOutcome, chosen: () => number[],
 *          own: () => import("../../stores/reservations.js").Reservation[],
 *          act: (action: string) => Promise<void>, giveBack: () => Promise<void>, isSoldOut: () => boolean}} options
 */
export function seatStub({ date, goal, now, chosen, own, act, giveBack, isSoldOut }) {
  const place = () => line.of(date().room);
  const isInLine = () => now().action === "line";
  const isTurn = () => now().isTurn;
  const isPaid = () => !now().held && !isTurn() && own().some(({ status }) => status === "paid");

  const turn = h("h2", { class: "turn", id: "turn", tabindex: "-1", hidden: isTurnOver }, () => t("line.turn"));
  const figure = h("p", { class: "stub__number", translate: "no",
    "data-empty": () => printed().includes("·"), "data-long": () => printed().length > 6,
    role: () => (isTurn() || now().held ? "timer" : null) },
  h("span", { class: "unseen" }, title), () => printed());
  const stamp = h("p", { class: "stamp", "aria-hidden": "true", hidden: () => !isPaid() || isInLine() },
    () => t("stamp.paid"));
  const outcome = h("div", { class: "outcome", id: "outcome", role: "status", "aria-atomic": "true", tabindex: "-1",
    hidden: () => isInLine() && !now().held, "data-tone": () => now().tone, "data-action": () => now().action },
  h("p", { class: "outcome__headline" }, () => headlineWords(now())),
  h("p", { class: "outcome__detail" }, () => detailWords(now())));
  const panel = linePanel(goal, isInLine, { isSoldOut });

  const list = h("ul", { "aria-label": () => t("seats.yours") });
  const picked = h("div", { class: "picked", id: "picked", hidden: () => {
    const seats = shownSeats();
    each(list, seatNames(date(), seats), (words) => words, (words) => h("li", {}, words));
    return seats.length === 0;
  } }, list);
  const total = h("p", { class: "picked__total", hidden: () => totalWords() === "" }, () => totalWords());

  const button = h("button", { type: "button", class: "claim", id: "claim", hidden: isGone,
    "data-action": () => now().action,
    "aria-disabled": () => (["wait", "choose"].includes(now().action) || BUSY.has(now().action) ? "true" : null),
    "aria-busy": () => (BUSY.has(now().action) ? "true" : null),
    onclick: async () => {
      const { action } = now();
      if (!["wait", "choose", "none", "line"].includes(action) && !BUSY.has(action)) await act(action);
    } }, () => buttonWords(now()));

  const element = h("div", { class: "ticket__stub stub", "data-turn": isTurn, "data-place": () => place().state,
    "data-held": () => Boolean(now().held) },
  turn,
  h("p", { class: "unseen", role: "alert" }, () => (isTurn() ? t("line.turn") : "")),
  h("p", { class: "unseen", role: "status" }, hurryWords),
  h("p", { class: "eyebrow" }, title),
  h("div", { class: "stub__print" }, figure, stamp),
  outcome,
  panel,
  picked,
  total,
  button,
  h("button", { type: "button", class: "link line__leave", id: "give-back",
    hidden: () => !now().held || BUSY.has(now().action) || now().action === "none", onclick: giveBack },
  () => t("seats.giveBack")),
  h("button", { type: "button", class: "link line__leave", id: "give-up",
    hidden: () => !isTurn() || BUSY.has(now().action), onclick: () => act("giveUp") }, () => t("line.giveUp")),
  drawDetails(() => ({ ...goal(), status: "open", opensAt: date().startsAt, closesAt: date().startsAt })),
  h("p", { class: "stub__points", hidden: () => !session.user || points.balance === null },
    () => t("seats.balance", { n: points.balance ?? 0 }), " ",
    h("button", { type: "button", class: "link", id: "top-up", onclick: () => openTopUp() }, () => t("topUp.open"))));

  /** The focus that the heading had goes to what is said instead. */
  function isTurnOver() {
    if (!isTurn() && document.activeElement?.id === "turn") outcome.focus({ preventScroll: true });
    return !isTurn();
  }

  /** The button goes when there is nothing to ask for; the focus it had goes to what is said. */
  function isGone() {
    const isUseless = now().action === "none" || isInLine();
    if (isUseless && document.activeElement?.id === "claim") {
      (isInLine() ? panel : outcome).focus({ preventScroll: true });
    }
    return isUseless;
  }

  /** Held seats are of interest first, then those chosen, then those paid for. */
  function shownSeats() {
    if (now().held) return now().held.seatIds;
    if (chosen().length > 0) return chosen();
    return isTurn() ? [] : own().filter(isLive).flatMap(({ seatIds }) => seatIds);
  }

  function totalWords() {
    const { held } = now();
    const n = shownSeats().length;
    if (n === 0 || (!held && chosen().length === 0)) return "";
    const price = held ? held.price : n * date().price;
    return `${t("seats.count", { n })} · ${t("sale.points", { n: price })}`;
  }

  /** What stands out: the time for paying, else the time that is left to choose, else the place in line. */
  function printed() {
    if (now().held) return countdown(timeLeft(now().held));
    if (isTurn()) return countdown(line.timeLeft(place()));
    if (isInLine()) return place().state === "waiting" && !place().isProvisional ? inFigures(place().rank) : "···";
    if (!isPaid()) return "····";
    return t("seats.figure", { n: own().filter(isLive).reduce((sum, { seatIds }) => sum + seatIds.length, 0) });
  }

  function title() {
    if (now().held) return t("seats.timeToPay");
    if (isTurn()) return t("seats.timeToChoose");
    if (isInLine()) return t("line.title");
    return t("seats.yours");
  }

  /** Spoken twice at most: the countdown itself would never end. */
  function hurryWords() {
    const left = now().held ? timeLeft(now().held) : isTurn() ? line.timeLeft(place()) : Infinity;
    if (left > HURRY_MS || left <= 0) return "";
    return t(left > LAST_MOMENT_MS ? "line.lastMinute" : "line.lastSeconds");
  }

  function buttonWords({ action, held }) {
    if (action === "pay") return t("seats.button.pay", { n: held.price });
    if (action === "hold") return t("seats.button.hold", { n: chosen().length });
    if (action === "join" && isPaid()) return t("seats.button.more");
    if (action === "join" && (place().reason || place().isUsed)) return t("button.joinAgain");
    return t(`seats.button.${action}`);
  }

  return element;
}

function headlineWords({ headline, values }) {
  const [group] = headline.split(".");
  if (hasWords(headline)) return t(headline, values);
  return t(hasWords(`${group}.other`) ? `${group}.other` : "refusal.other", values);
}

function detailWords({ detail, values }) {
  return detail && hasWords(detail) ? t(detail, values) : "";
}
