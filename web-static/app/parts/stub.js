/** The stub of a sale's ticket: the number the buyer got, what it means, and the one button. */
import { clock } from "../clock.js";
import { h } from "../dom.js";
import { countdown, duration, hasWords, number as inFigures, t, time } from "../i18n.js";
import { outcomeOf } from "../outcome.js";
import { claims } from "../stores/claims.js";
import { line } from "../stores/line.js";
import { statusNow } from "../stores/sales.js";
import { session } from "../stores/session.js";
import { drawDetails } from "./draw.js";
import { linePanel } from "./line-panel.js";
import { openSignIn } from "./sign-in.js";

const DAY_MS = 86_400_000;
const HURRY_MS = 60_000;
const LAST_MOMENT_MS = 15_000;
const HAS_ENDED = new Set(["closed", "cancelled"]);

/**
 * @param {() => import("../stores/sales.js").Sale} sale
 * @param {{points: () => number | null, onSignedIn: () => void}} options
 */
export function stub(sale, { points, onSignedIn }) {
  const refusal = () => claims.of(sale().id).refusal;
  const place = () => line.of(sale().room);
  const now = () => outcomeOf(sale(), statusNow(sale()), claims.of(sale().id), session.user !== null, place());
  const isInLine = () => now().action === "line";
  /** Let in, and there is something that the pass can still be used for. */
  const isTurn = () => place().state === "admitted" && ["open", "sold_out"].includes(statusNow(sale()))
    && ["claim", "again", "wait", "asking"].includes(now().action);

  const turn = h("h2", { class: "turn", id: "turn", tabindex: "-1", hidden: isTurnOver }, () => t("line.turn"));
  const number = h("p", { class: "stub__number", translate: "no",
    "data-empty": () => printed().includes("·"), "data-long": () => printed().length > 6,
    role: () => (isTurn() ? "timer" : null) },
  h("span", { class: "unseen" }, () => numberWords()), () => printed());
  const stamp = h("p", { class: "stamp", "aria-hidden": "true", "data-status": () => now().order?.status ?? null,
    hidden: () => !now().order || now().order.status === "accepted" },
  () => (now().order ? t(`stamp.${now().order.status}`) : ""));
  const outcome = h("div", { class: "outcome", id: "outcome", role: "status", "aria-atomic": "true", tabindex: "-1",
    hidden: isInLine,
    "data-tone": () => now().tone, "data-status": () => now().order?.status ?? refusal()?.outcome ?? null },
  h("p", { class: "outcome__headline" }, () => headlineWords(now())),
  h("p", { class: "outcome__detail" }, () => detailWords(now())));

  const panel = linePanel(sale, isInLine, { isSoldOut: () => statusNow(sale()) === "sold_out" });

  const button = h("button", {
    type: "button", class: "claim", id: "claim", hidden: isGone,
    "aria-disabled": () => (["wait", "asking"].includes(now().action) ? "true" : null),
    "aria-busy": () => (now().action === "asking" ? "true" : null),
    onclick: press,
  }, () => buttonWords(now().action, sale(), place()));

  /** The focus that the heading had goes to what is said instead. */
  function isTurnOver() {
    if (!isTurn() && document.activeElement?.id === "turn") outcome.focus({ preventScroll: true });
    return !isTurn();
  }

  /** Spoken twice at most: the countdown itself would never end. */
  function hurryWords() {
    const left = isTurn() ? line.timeLeft(place()) : Infinity;
    if (left > HURRY_MS) return "";
    return t(left > LAST_MOMENT_MS ? "line.lastMinute" : "line.lastSeconds");
  }

  /** The button goes when there is nothing more to ask for; the focus it had goes to the outcome. */
  function isGone() {
    const isUseless = now().action === "none" || isInLine();
    if (isUseless && document.activeElement?.id === "claim") {
      (isInLine() ? panel : outcome).focus({ preventScroll: true });
    }
    return isUseless;
  }

  /** What stands out: the ticket's number, else the time that is left, else the place in line. */
  function printed() {
    const { order } = now();
    if (isTurn()) return countdown(line.timeLeft(place()));
    if (isInLine()) return place().state === "waiting" && !place().isProvisional ? inFigures(place().rank) : "···";
    return order?.ticket ? String(order.ticket).padStart(4, "0") : "····";
  }

  function numberWords() {
    if (isTurn()) return t("line.timeLeft");
    if (isInLine()) return t("line.title");
    return now().order?.ticket ? t("stub.number") : "";
  }

  function title() {
    if (isTurn()) return t("line.timeLeft");
    return t(isInLine() ? "line.title" : "stub.title");
  }

  async function press() {
    const { action } = now();
    if (action === "signIn") {
      if (await openSignIn()) onSignedIn();
      button.focus();
    } else if (action === "claim" || action === "again") {
      claims.ask(sale().id);
    } else if (action === "join") {
      line.join(sale());
    }
  }

  async function giveUp() {
    await line.leave(sale().room);
    button.focus();
  }

  const element = h("div", { class: "ticket__stub stub", "data-place": () => (sale().room ? place().state : null),
    "data-turn": isTurn },
  turn,
  h("p", { class: "unseen", role: "alert" }, () => (isTurn() ? t("line.turn") : "")),
  h("p", { class: "unseen", role: "status" }, hurryWords),
  h("p", { class: "eyebrow" }, title),
  h("div", { class: "stub__print" }, number, stamp),
  outcome,
  panel,
  h("p", { class: "stub__times" }, () => timesWords(now().order)),
  button,
  h("button", { type: "button", class: "link line__leave", id: "give-up", hidden: () => !isTurn(),
    onclick: giveUp }, () => t("line.giveUp")),
  drawDetails(sale),
    h("p", { class: "stub__points", hidden: () => balanceWords() === "" }, () => balanceWords()));

  function balanceWords() {
    if (!(sale().price > 0) || points() === null) return "";
    const words = t("sale.balance", { n: points(), userId: String(session.user?.userId) });
    const isShort = points() < sale().price && ["claim", "again", "wait"].includes(now().action);
    return isShort ? `${words} ${t("sale.balanceShort", { n: sale().price })}` : words;
  }

  return element;
}

function headlineWords({ headline, values }) {
  const [group] = headline.split(".");
  return hasWords(headline) ? t(headline, values) : t(`${group}.other`, values);
}

function detailWords({ detail, values }) {
  if (!detail) return "";
  if (hasWords(detail)) return t(detail, values);
  return detail.startsWith("reason.") ? t("reason.other", values) : "";
}

function buttonWords(action, sale, place) {
  if (action === "signIn" && sale.room && !HAS_ENDED.has(statusNow(sale))) return t("button.signInJoin");
  if (action === "join" && place.reason) return t("button.joinAgain");
  if (action === "wait") {
    const status = statusNow(sale);
    const isSoon = Date.parse(sale.opensAt) - clock.now() < DAY_MS;
    return status === "scheduled" && isSoon ? t("button.opensAt", { at: time(sale.opensAt) }) : t(`button.${status}`);
  }
  return t(`button.${action}`);
}

/** How long it took, where the asking was seen here. */
function timesWords(order) {
  const { asked, accepted, confirmed, failed } = order?.times ?? {};
  if (!asked || !accepted) return "";
  const words = [t("stub.decidedIn", { time: duration(accepted - asked) })];
  const settled = confirmed ?? failed;
  if (settled) words.push(t("stub.settledAfter", { time: duration(settled - asked) }));
  return words.join(" · ");
}
