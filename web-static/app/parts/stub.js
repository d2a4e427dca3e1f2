/** The stub of a sale's ticket: the number the buyer got, what it means, and the one button. */
import { clock } from "../clock.js";
import { h } from "../dom.js";
import { duration, hasWords, t, time } from "../i18n.js";
import { outcomeOf } from "../outcome.js";
import { claims } from "../stores/claims.js";
import { statusNow } from "../stores/sales.js";
import { session } from "../stores/session.js";
import { openSignIn } from "./sign-in.js";

const DAY_MS = 86_400_000;

/**
 * @param {() => import("../stores/sales.js").Sale} sale
 * @param {{points: () => number | null, onSignedIn: () => void}} options
 */
export function stub(sale, { points, onSignedIn }) {
  const refusal = () => claims.of(sale().id).refusal;
  const now = () => outcomeOf(sale(), statusNow(sale()), claims.of(sale().id), session.user !== null);

  const number = h("p", { class: "stub__number", "data-empty": () => !now().order?.ticket, translate: "no" },
    h("span", { class: "unseen" }, () => (now().order?.ticket ? t("stub.number") : "")),
    () => printed(now().order?.ticket));
  const stamp = h("p", { class: "stamp", "aria-hidden": "true", "data-status": () => now().order?.status ?? null,
    hidden: () => !now().order || now().order.status === "accepted" },
  () => (now().order ? t(`stamp.${now().order.status}`) : ""));
  const outcome = h("div", { class: "outcome", id: "outcome", role: "status", "aria-atomic": "true", tabindex: "-1",
    "data-tone": () => now().tone, "data-status": () => now().order?.status ?? refusal()?.outcome ?? null },
  h("p", { class: "outcome__headline" }, () => headlineWords(now())),
  h("p", { class: "outcome__detail" }, () => detailWords(now())));

  const button = h("button", {
    type: "button", class: "claim", id: "claim", hidden: isGone,
    "aria-disabled": () => (["wait", "asking"].includes(now().action) ? "true" : null),
    "aria-busy": () => (now().action === "asking" ? "true" : null),
    onclick: press,
  }, () => buttonWords(now().action, sale()));

  /** The button goes when there is nothing more to ask for; the focus it had goes to the outcome. */
  function isGone() {
    const isUseless = now().action === "none";
    if (isUseless && document.activeElement?.id === "claim") outcome.focus({ preventScroll: true });
    return isUseless;
  }

  async function press() {
    const { action } = now();
    if (action === "signIn") {
      if (await openSignIn()) onSignedIn();
      button.focus();
    } else if (action === "claim" || action === "again") {
      claims.ask(sale().id);
    }
  }

  const element = h("div", { class: "ticket__stub stub" },
    h("p", { class: "eyebrow" }, () => t("stub.title")),
    h("div", { class: "stub__print" }, number, stamp),
    outcome,
    h("p", { class: "stub__times" }, () => timesWords(now().order)),
    button,
    h("p", { class: "stub__points", hidden: () => balanceWords() === "" }, () => balanceWords()));

  function balanceWords() {
    if (!(sale().price > 0) || points() === null) return "";
    const words = t("sale.balance", { n: points(), userId: String(session.user?.userId) });
    const isShort = points() < sale().price && ["claim", "again", "wait"].includes(now().action);
    return isShort ? `${words} ${t("sale.balanceShort", { n: sale().price })}` : words;
  }

  return element;
}

function printed(ticket) {
  return ticket ? String(ticket).padStart(4, "0") : "····";
}

function headlineWords({ headline, values }) {
  const [group] = headline.split(".");
  return hasWords(headline) ? t(headline, values) : t(`${group}.other`, values);
}

function detailWords({ detail, values }) {
  if (!detail) return "";
  return hasWords(detail) ? t(detail, values) : t("reason.other", values);
}

function buttonWords(action, sale) {
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
