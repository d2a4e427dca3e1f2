/**
 * What a buyer sees for one sale, told from what is known: pure, so that every case stands in one place.
 *
 * @typedef {"signIn" | "wait" | "claim" | "asking" | "again" | "join" | "line" | "none"} Action what the one button does;
 *   `line`: there is none, as the buyer waits
 * @typedef {object} Outcome
 * @property {"quiet" | "good" | "bad" | "unknown" | "turn"} tone
 * @property {string} headline a key of `strings.js`
 * @property {Record<string, string | number>} [values]
 * @property {string} [detail] a key of `strings.js`
 * @property {import("./stores/claims.js").Order | null} order the one the stub shows
 * @property {Action} action
 */

/** Statuses in which an order holds a ticket. */
const HOLDING = new Set(["accepted", "confirmed"]);

/** @param {import("./stores/claims.js").Order} order */
export function holdsTicket(order) {
  return HOLDING.has(order.status);
}

/**
 * @param {import("./stores/sales.js").Sale} sale
 * @param {import("./stores/sales.js").Sale["status"]} status by the server's clock
 * @param {import("./stores/claims.js").Claim} claim
 * @param {boolean} isSignedIn
 * @param {import("../places.js").Place} place where the buyer stands in the sale's waiting room
 * @returns {Outcome}
 */
export function outcomeOf(sale, status, claim, isSignedIn, place) {
  const outcome = withoutRoom(sale, status, claim, isSignedIn);
  return sale.room && isSignedIn ? inRoom(outcome, status, claim, place) : outcome;
}

/** @returns {Outcome} */
function withoutRoom(sale, status, claim, isSignedIn) {
  const order = shownOrder(claim);
  if (!isSignedIn) return { tone: "quiet", headline: `sale.headline.${status}`, order: null, action: "signIn" };
  if (claim.isAsking) return asking(claim, order);
  if (claim.obstacle) return unknown(claim, order);
  if (claim.refusal && !(order && claim.refusal.outcome === "duplicate")) return refused(sale, status, claim, order);
  if (order) return had(sale, status, claim, order);
  const headline = claim.isLoaded ? `sale.headline.${status}` : "outcome.looking";
  return { tone: "quiet", headline, order: null, action: status === "open" ? "claim" : "wait" };
}

/** The newest that holds a ticket; else the newest. */
function shownOrder({ orders }) {
  return orders.findLast(holdsTicket) ?? orders.at(-1) ?? null;
}

function asking(claim, order) {
  if (!claim.obstacle) return { tone: "quiet", headline: "outcome.asking", order, action: "asking" };
  return { tone: "unknown", headline: "outcome.undecided", detail: "outcome.undecidedDetail", order, action: "asking" };
}

function unknown(claim, order) {
  return { tone: "unknown", headline: "outcome.undecided", detail: "outcome.lostDetail", order, action: "again" };
}

function refused(sale, status, { refusal: { outcome } }, order) {
  const mayAsk = status === "open" && outcome !== "duplicate";
  const isBack = outcome === "sold_out" && status === "open" && sale.remaining > 0;
  return {
    tone: "bad", order, action: mayAsk ? "again" : "wait",
    headline: `refusal.${outcome}`,
    detail: isBack ? "refusal.isBack" : undefined,
    values: { n: sale.remaining, code: outcome },
  };
}

function had(sale, status, { orders }, order) {
  const room = sale.perClientLimit - orders.filter(holdsTicket).length;
  const action = status !== "open" || room <= 0 ? "none" : "again";
  const values = { ticket: order.ticket ?? "–" };
  switch (order.status) {
    case "accepted":
      return { tone: "good", headline: "outcome.accepted", detail: "outcome.acceptedDetail", values, order, action };
    case "confirmed":
      return { tone: "good", headline: "outcome.confirmed", detail: "outcome.confirmedDetail", values, order, action };
    case "failed":
      return { tone: "bad", headline: "outcome.failed", detail: `reason.${order.reason}`,
        values: { reason: order.reason ?? "" }, order, action: status === "open" ? "again" : "wait" };
    default:
      return { tone: "quiet", headline: "outcome.cancelled", detail: "outcome.cancelledDetail", order,
        action: status === "open" ? "again" : "wait" };
  }
}

/**
 * The same where a pass is needed. What is undecided is asked again with or without one: it may have been accepted.
 * @returns {Outcome}
 */
function inRoom(outcome, status, { isLoaded, refusal }, place) {
  const mayBuy = ["claim", "again", "wait"].includes(outcome.action) && outcome.tone !== "unknown";
  if (!mayBuy || status === "closed" || status === "cancelled") return outcome;
  if (!isLoaded && place.state === "out") return { ...outcome, action: "wait" };
  const isPlain = outcome.order === null && !refusal;
  switch (place.state) {
    case "admitted":
      if (status === "scheduled" && isPlain) return { ...outcome, headline: "line.early" };
      if (status !== "open" || !isPlain) return outcome;
      return { ...outcome, tone: "turn", headline: "line.turnNow", detail: "line.turnAfter" };
    case "out":
      return { ...outcome, action: "join", ...(isPlain || place.reason ? outside(status, place) : {}) };
    default:
      return { ...outcome, action: "line" };
  }
}

function outside(status, { reason }) {
  if (!reason) return { headline: `line.before.${status}`, detail: "line.beforeDetail" };
  const tone = reason === "left" ? "quiet" : "bad";
  return { tone, headline: `line.out.${reason}`, detail: `line.outDetail.${reason}`, values: { code: reason } };
}
