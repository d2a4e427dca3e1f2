/**
 * What a buyer sees of one performance beside its seats, told from what is known: pure, so that every case stands in one
 * place.
 *
 * @typedef {"signIn" | "wait" | "join" | "line" | "choose" | "hold" | "holding" | "pay" | "paying" | "topUp"
 *           | "none"} SeatAction what the one button does; `line`: there is none, as the buyer waits
 * @typedef {object} SeatOutcome
 * @property {"quiet" | "good" | "bad" | "unknown" | "turn"} tone
 * @property {string} headline a key of `strings.js`
 * @property {string} [detail] a key of `strings.js`
 * @property {Record<string, string | number>} [values]
 * @property {SeatAction} action
 * @property {import("./stores/reservations.js").Reservation | null} held which is to be paid
 * @property {boolean} isTurn let in, and the pass is good for something
 */
import { isLive, timeLeft } from "./stores/reservations.js";

/** For how long it is said that a hold ran out. */
const NEWS_MS = 10 * 60_000;
const IN_LINE = new Set(["waiting", "joining", "leaving"]);

/**
 * @param {object} known
 * @param {import("./stores/concerts.js").Performance} known.date
 * @param {boolean} known.isSignedIn
 * @param {boolean} known.isLoaded the server was asked for the buyer's reservations
 * @param {import("../places.js").Place} known.place where the buyer stands in the performance's waiting room
 * @param {import("./stores/reservations.js").Reservation[]} known.reservations of this performance, newest first
 * @param {number} known.chosen how many seats
 * @param {boolean} known.isHolding a hold is out and not decided
 * @param {boolean} known.isPaying a payment is out and not decided
 * @param {string | null} known.obstacle why that is not decided yet: a code such as `unavailable`
 * @param {{code: string, seats?: string} | null} known.refusal the newest answer, if it was a refusal
 * @param {number | null} known.points
 * @param {number} known.left seats that are free or held by others
 * @returns {SeatOutcome}
 */
export function seatOutcome(known) {
  const { isSignedIn, isLoaded, place, reservations, isHolding, isPaying } = known;
  const held = reservations.find(({ status }) => status === "held") ?? null;
  const isIn = place.state === "admitted" && !place.isUsed;
  const base = { held: null, isTurn: false, values: {} };
  if (!isSignedIn) return { ...base, tone: "quiet", headline: "seats.signIn", action: "signIn" };
  if (isPaying) return { ...base, held, ...undecided(known, "paying") };
  if (isHolding) return { ...base, isTurn: isIn, ...undecided(known, "holding") };
  if (held) return { ...base, held, ...toPay(known, held, isIn) };
  if (!isLoaded) return { ...base, tone: "quiet", headline: "seats.looking", action: "wait" };
  const outcome = isIn ? { ...base, isTurn: true, ...inside(known) } : { ...base, ...outside(known) };
  return { ...outcome, ...(outcome.action === "line" ? {} : news(known, reservations)) };
}

function undecided({ obstacle }, action) {
  if (obstacle === null) return { tone: "quiet", headline: `seats.${action}`, action };
  return { tone: "unknown", headline: "outcome.undecided", detail: `seats.${action}Undecided`, action };
}

/** Held seats wait for being paid; that needs a pass, as taking them did. */
function toPay({ place, points, refusal }, held, isIn) {
  const values = { n: held.seatIds.length, price: held.price, points: points ?? 0, code: refusal?.code ?? "" };
  if (timeLeft(held) <= 0) return { tone: "quiet", headline: "seats.ending", action: "none", values };
  if (IN_LINE.has(place.state)) {
    return { tone: "unknown", headline: "seats.heldInLine", action: "line", values };
  }
  if (!isIn) return { tone: "bad", headline: "seats.heldOut", detail: "seats.heldOutDetail", action: "join", values };
  if (points !== null && points < held.price) {
    return { tone: "bad", headline: "seats.held", detail: "seats.short", action: "topUp", values };
  }
  if (refusal) {
    return { tone: "bad", headline: `refusal.${refusal.code}`, detail: "seats.heldDetail", action: "pay", values };
  }
  return { tone: "good", headline: "seats.held", detail: "seats.heldDetail", action: "pay", values };
}

function inside({ chosen, date, left }) {
  const values = { n: chosen, price: chosen * date.price };
  if (left <= 0) return { tone: "quiet", headline: "seats.soldOut", action: "choose", values };
  if (chosen === 0) {
    return { tone: "turn", headline: "seats.choose", detail: "line.turnAfter", action: "choose", values };
  }
  return { tone: "turn", headline: "seats.chosen", detail: "seats.chosenDetail", action: "hold", values };
}

function outside({ place, reservations, date, left }) {
  const own = reservations.filter(isLive).reduce((sum, { seatIds }) => sum + seatIds.length, 0);
  const isFull = date.perClientLimit > 0 && own >= date.perClientLimit;
  if (IN_LINE.has(place.state)) return { tone: "quiet", headline: "line.isIn", action: "line" };
  const action = isFull ? "none" : "join";
  if (own > 0) {
    return { tone: "good", headline: "seats.paid", detail: "seats.paidDetail", action, values: { n: own } };
  }
  const reason = place.isUsed ? "spent" : place.reason;
  if (reason && reason !== "spent") {
    const tone = reason === "left" ? "quiet" : "bad";
    const values = { code: reason };
    return { tone, headline: `line.out.${reason}`, detail: `line.outDetail.${reason}`, action, values };
  }
  if (left <= 0) return { tone: "quiet", headline: "seats.soldOut", action };
  return { tone: "quiet", headline: "seats.before", detail: "seats.beforeDetail", action };
}

/** What is to be said before all else: a refusal just now, a hold that ran out, or one that was given back. */
function news({ refusal }, [newest]) {
  if (refusal) {
    const detail = refusal.seats ? "seats.takenDetail" : undefined;
    const { code, seats } = refusal;
    return { tone: "bad", headline: `refusal.${code}`, detail, values: { code, seats } };
  }
  if (!newest || newest.status !== "expired" || timeLeft(newest) < -NEWS_MS) return {};
  const values = { n: newest.seatIds.length };
  return { tone: "bad", headline: "seats.expired", detail: "seats.expiredDetail", values };
}
