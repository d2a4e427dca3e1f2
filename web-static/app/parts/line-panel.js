/** Standing in line, on the stub: the place, how long it takes, how far one has come, and what keeps the place. */
import { h } from "../dom.js";
import { hasWords, roughly, t } from "../i18n.js";
import { line } from "../stores/line.js";
import { live } from "../stores/live.js";
import { confirmed } from "./dialogs.js";

/** Ranks may change several times a second; spoken, they would never end. */
const SPEAK_EVERY_MS = 15_000;

/**
 * @param {() => import("../stores/line.js").Goal} goal
 * @param {() => boolean} isShown
 * @param {{isSoldOut: () => boolean}} options
 */
export function linePanel(goal, isShown, { isSoldOut }) {
  const place = () => line.of(goal().room);
  const percent = () => Math.round(100 * line.progress(goal().room));
  const note = (words, props = {}) => h("p", { class: "line__note", hidden: () => words() === "", ...props }, words);

  const bar = h("div", { class: "line__bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": () => String(percent()), "aria-label": () => t("line.progress"),
    hidden: () => place().state !== "waiting" || Boolean(place().isProvisional) },
  h("span", { class: "line__come", "--share": () => `${100 * line.progress(goal().room)}%` }));
  const leave = h("button", { type: "button", class: "link line__leave", id: "leave",
    hidden: () => place().state !== "waiting", onclick: askToLeave }, () => t("line.leave"));

  async function askToLeave() {
    const { room } = goal();
    const isSure = await confirmed({
      title: t("line.leaveTitle"), body: t("line.leaveBody"), action: t("line.leave"), keep: t("line.stay"),
    });
    if (!isSure) return;
    await line.leave(room);
    document.querySelector("#claim")?.focus();
  }

  return h("div", { class: "line", tabindex: "-1" },
    h("p", { class: "unseen", role: "status" }, spoken(() => (isShown() ? spokenWords(place()) : ""))),
    h("div", { class: "line__shown", id: "line", hidden: () => !isShown() },
      h("p", { class: "outcome__headline", id: "line-place" }, () => headlineWords(place())),
      h("p", { class: "line__facts", id: "line-estimate" }, () => estimateWords(place())),
      h("p", { class: "line__facts", id: "line-waiting" }, () => waitingWords(place())),
      bar,
      note(() => warningWords(place(), isSoldOut()), { "data-warning": true, id: "line-warning" }),
      note(() => obstacleWords(line.obstacle(goal().room)), { id: "line-obstacle" }),
      note(() => (place().isAnew ? t("line.lostPlace") : ""), { id: "line-anew" }),
      note(() => keptWords(place())),
      leave));
}

/** The present words, but no others within some seconds, unless they are about something else. */
function spoken(words) {
  let last = "";
  let saidAt = -Infinity;
  return () => {
    const next = words();
    const isSameMatter = (next === "") === (last === "");
    if (next !== last && (!isSameMatter || performance.now() - saidAt > SPEAK_EVERY_MS)) {
      last = next;
      saidAt = performance.now();
    }
    return last;
  };
}

function headlineWords({ state, rank, isProvisional }) {
  if (state !== "waiting") return t(`line.${state === "leaving" ? "leaving" : "joining"}`);
  return isProvisional ? t("line.isIn") : t("line.place", { n: rank });
}

function estimateWords({ state, estimatedSeconds, isProvisional }) {
  const isKnown = state === "waiting" && !isProvisional && typeof estimatedSeconds === "number";
  return isKnown ? t("line.toGo", { time: roughly(estimatedSeconds) }) : "";
}

function waitingWords({ state, waiting }) {
  return state === "waiting" ? t("line.waiting", { n: waiting }) : "";
}

function spokenWords(place) {
  return [headlineWords(place), estimateWords(place), waitingWords(place)].filter(Boolean).join(" ");
}

function warningWords({ state, isReachable, isProvisional }, isSoldOut) {
  if (state !== "waiting") return "";
  if (isSoldOut) return t("line.soldOut");
  if (isReachable === false) return t("line.unreachable");
  return isProvisional ? t("line.provisional") : "";
}

/** Joining takes longer: that is not a "no". */
function obstacleWords(code) {
  if (code === null) return "";
  return t(hasWords(`problem.${code}`) ? `problem.${code}` : "problem.unavailable");
}

function keptWords({ state }) {
  if (state !== "waiting") return "";
  return t(live.state === "connected" ? "line.kept" : "line.lost");
}
