/** How the order of a `random` room comes about, with all that it takes to check it. Nothing for other rooms. */
import { h, refresh } from "../dom.js";
import { dateTime, t } from "../i18n.js";
import { call, path } from "../rest.js";
import { session } from "../stores/session.js";
import { statusNow } from "../stores/sales.js";

const ASK_AGAIN_MS = 3_000;

/** @param {() => import("../stores/sales.js").Sale} sale */
export function drawDetails(sale) {
  if (!sale().room) return null;
  /** @type {{ordering: string, seedSha256: string, seed: string | null, drawnAt: string | null} | null} */ let draw = null;
  let askedAt = -Infinity;
  /** What this browser computed itself, where it can: the seed's hash, and the buyer's own lot. */
  let seedHash = "";
  let lot = "";
  const where = () => path`api/rooms/${sale().room}/draw`;

  /** Asked once for the hash, and after the opening until the seed is known. */
  function isShown() {
    const isDue = draw === null || (draw.ordering === "random" && !draw.seed && statusNow(sale()) !== "scheduled");
    if (isDue && !document.hidden && performance.now() - askedAt > ASK_AGAIN_MS) ask();
    return draw?.ordering === "random";
  }

  async function ask() {
    askedAt = performance.now();
    draw = await call("GET", where()).catch((error) => (error.isUndecided ? draw : { ordering: "unknown" }));
    if (draw?.seed) seedHash = await digest(draw.seed);
    if (draw?.seed && session.user) lot = await digest(`${draw.seed}:${session.user.userId}`);
    refresh(element);
  }

  const isAsPromised = () => seedHash === draw?.seedSha256;
  const row = (words, read) => h("div", { hidden: () => !read() },
    h("dt", {}, () => t(words)), h("dd", { translate: "no" }, () => read() ?? ""));
  const element = h("details", { class: "draw", id: "draw", hidden: () => !isShown() },
    h("summary", {}, () => t("draw.title")),
    h("p", {}, () => t(draw?.seed ? "draw.done" : "draw.before")),
    h("dl", {},
      row("draw.seedSha256", () => draw?.seedSha256),
      row("draw.seed", () => draw?.seed),
      row("draw.drawnAt", () => draw?.drawnAt && dateTime(draw.drawnAt)),
      row("draw.lot", () => lot)),
    h("p", { id: "draw-check", hidden: () => !seedHash }, () => seedHash && t(isAsPromised() ? "draw.good" : "draw.bad")),
    h("p", {}, h("a", { href: () => where(), target: "_blank", rel: "noopener" }, () => t("draw.asJSON"))));
  return element;
}

/** @returns {Promise<string>} nothing where the browser lacks it: on plain http, away from this machine */
async function digest(text) {
  if (!globalThis.crypto?.subtle) return "";
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
