/** What every operator's view has around its content. */
import { h } from "../../dom.js";
import { t } from "../../i18n.js";
import { announce } from "../../parts/announce.js";
import { problemWords } from "../../parts/problem.js";
import { session } from "../../stores/session.js";

const LINKS = [
  ["#/admin", "admin.sales"], ["#/admin/register", "admin.register"], ["#/admin/rooms", "admin.rooms"],
  ["#/admin/concerts", "admin.concerts"], ["#/admin/statistics", "admin.statistics"],
  ["#/admin/failed", "admin.failed"], ["#/admin/audit", "admin.audit"], ["#/admin/points", "admin.points"],
];

/** @param {() => string} title @param {...Element} content */
export function adminPage(title, ...content) {
  const links = LINKS.map(([href, words]) =>
    h("a", { href, "aria-current": () => ((location.hash || "#/") === href ? "page" : null) }, () => t(words)));
  return h("section", { class: "column column--wide" },
    h("div", { class: "subnav" },
      h("nav", { "aria-label": () => t("admin.nav") }, links),
      h("button", { type: "button", class: "quiet", onclick: () => session.forgetAdminKey() },
        () => t("admin.forgetKey"))),
    h("h1", {}, title),
    ...content);
}

/**
 * Runs an operator's action, and says what came of it.
 * @param {() => Promise<any>} action
 * @param {(result: any) => string} words
 */
export async function doAndTell(action, words) {
  try {
    const result = await action();
    announce(words(result));
    return result;
  } catch (error) {
    announce(problemWords(error), { isProblem: true });
    return undefined;
  }
}

/** A table that scrolls inside itself on a narrow screen. @param {() => string} label */
export function table(label, headings, body) {
  const head = headings.map((words) => h("th", { scope: "col" }, () => t(words)));
  return h("div", { class: "table", role: "region", tabindex: "0", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, head)), body));
}

/**
 * Asks again and again while the view is shown and the page is visible. One question at a time, so that no late answer
 * takes the place of a newer one.
 * @param {() => Promise<void>} ask @param {number} everyMs @param {(error: Error | null) => void} heard
 * @returns {{now: () => Promise<void>, stop: () => void}} `now` asks at once; while an answer is awaited, which may be
 * of before what is to be seen, right after it.
 */
export function repeatedly(ask, everyMs, heard) {
  let timer = 0;
  let stopped = false;
  let isAsking = false;
  let isAskedAgain = false;
  const turn = async () => {
    if (stopped) return;
    isAskedAgain = isAsking;
    if (isAsking) return;
    clearTimeout(timer);
    isAsking = true;
    let error = null;
    try {
      if (!document.hidden) await ask();
    } catch (caught) {
      error = caught;
    }
    isAsking = false;
    if (stopped) return;
    timer = setTimeout(turn, isAskedAgain ? 0 : Math.max(everyMs, error?.retryAfterMs ?? 0));
    heard(error);
  };
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
