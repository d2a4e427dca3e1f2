/** Reservations, each with how long it is held, and with the ways to pay it, to give it back, and to cancel it. */
import { each, h } from "../dom.js";
import { countdown, occasion, t } from "../i18n.js";
import { concerts } from "../stores/concerts.js";
import { line } from "../stores/line.js";
import { points } from "../stores/points.js";
import { isLive, reservations, timeLeft } from "../stores/reservations.js";
import { announce } from "./announce.js";
import { dateHref } from "./concert-line.js";
import { confirmed } from "./dialogs.js";
import { problemWords } from "./problem.js";
import { seatNames } from "./seats/names.js";
import { rollOf } from "./ticket.js";
import { openTopUp } from "./top-up.js";

/** The marks that sales have for what is like it. */
const MARKS = { paid: "open", held: "scheduled" };

export function reservationList() {
  const list = h("ul", { class: "reservations" });
  return { element: list, update: () => each(list, reservations.all, (one) => one.reservationId, row) };
}

/** @param {() => import("../stores/reservations.js").Reservation} one */
function row(one) {
  const known = () => concerts.performance(one().concertDetailId);
  const place = () => line.of(known()?.date.room);
  const isHeld = () => one().status === "held" && timeLeft(one()) > 0;
  const isPaying = () => reservations.isPaying(one().reservationId);
  const isIn = () => place().state === "admitted" && !place().isUsed;
  const isShort = () => points.balance !== null && points.balance < one().price;

  return h("li", { class: "reservation", "data-roll": rollOf(`concert-${one().concertId}`),
    "data-spent": () => !isLive(one()), "data-status": () => one().status, "data-reservation": one().reservationId },
  h("div", { class: "reservation__body" },
    h("p", { class: "status", "data-status": () => MARKS[one().status] ?? "closed" }, statusWords),
    h("h2", { class: "reservation__name" }, h("a", { href: () => dateHref(one()) }, () => one().concertName)),
    h("p", {}, () => occasion(one().startsAt)),
    h("p", { class: "reservation__seats" }, () => seatNames(known()?.date, one().seatIds).join(" · ")),
    h("p", { class: "reservation__note", role: "status", hidden: () => noteWords() === "" }, () => noteWords())),
  h("div", { class: "reservation__side" },
    h("p", { class: "ticket__figure", role: "timer", hidden: () => !isHeld() },
      () => (isHeld() ? countdown(timeLeft(one())) : "")),
    h("p", {}, () => t("sale.points", { n: one().price })),
    h("button", { type: "button", class: "primary", "data-action": "pay",
      hidden: () => !isHeld() || !isIn() || isShort(), "aria-disabled": () => (isPaying() ? "true" : null),
      onclick: pay }, () => t(isPaying() ? "seats.button.paying" : "reservation.pay")),
    h("button", { type: "button", class: "primary", "data-action": "topUp",
      hidden: () => !isHeld() || !isIn() || !isShort(),
      onclick: () => openTopUp(one().price - points.balance) }, () => t("topUp.open")),
    h("a", { class: "primary", href: () => dateHref(one()), hidden: () => !isHeld() || isIn() },
      () => t("reservation.toPay")),
    h("button", { type: "button", class: "secondary", "data-action": "cancel",
      hidden: () => !(isHeld() || one().status === "paid"),
      onclick: cancel }, () => t(one().status === "paid" ? "reservation.cancel" : "seats.giveBack"))));

  function statusWords() {
    return one().refunded ? t("reservation.refunded") : t(`reservation.${one().status}`);
  }

  function noteWords() {
    const obstacle = reservations.obstacle(one().reservationId);
    if (obstacle) return t("seats.payingUndecided");
    if (isHeld() && isShort()) return t("seats.short", { points: points.balance, price: one().price });
    return isHeld() && !isIn() ? t("reservation.needsPass") : "";
  }

  async function pay() {
    if (isPaying()) return;
    try {
      await reservations.pay(one(), known().date.room);
      announce(t("reservation.isPaid"));
    } catch (error) {
      announce(problemWords(error), { isProblem: true });
      reservations.load().catch(() => {});
    }
  }

  async function cancel() {
    const isPaid = one().status === "paid";
    const isSure = await confirmed({
      title: t(isPaid ? "reservation.cancelTitle" : "seats.giveBackTitle", { n: one().seatIds.length }),
      body: t(isPaid ? "reservation.cancelBody" : "seats.giveBackBody", { n: one().price }),
      action: t(isPaid ? "reservation.cancel" : "seats.giveBack"),
    });
    if (!isSure) return;
    try {
      await reservations.release(one());
      announce(t(isPaid ? "reservation.isCancelled" : "reservation.isReleased"));
    } catch (error) {
      announce(problemWords(error), { isProblem: true });
    }
  }
}
