/** One sale, as one large ticket: what is left, and on its stub the buyer's own outcome. */
import { clock } from "../clock.js";
import { h, refresh } from "../dom.js";
import { countdown, dateTime, number, t } from "../i18n.js";
import { holdsTicket } from "../outcome.js";
import { announce } from "../parts/announce.js";
import { problemWords } from "../parts/problem.js";
import { ticketList } from "../parts/ticket-list.js";
import { stub } from "../parts/stub.js";
import { quantityWords, rollOf, statusMark } from "../parts/ticket.js";
import { claims } from "../stores/claims.js";
import { line } from "../stores/line.js";
import { live } from "../stores/live.js";
import { sales, statusNow } from "../stores/sales.js";
import { session } from "../stores/session.js";

const DAY_MS = 86_400_000;

/** @param {string} id */
export function show(id) {
  let problem = null;
  let points = null;
  let isBuilt = false;
  const sale = () => sales.get(id);
  const content = h("div", { class: "sale" });
  /** A view has a heading at once, also while its sale is not known yet. */
  const placeholder = h("h1", {}, () => t("sale.serial", { id }));
  const element = h("section", { class: "column column--wide" },
    h("p", {}, h("a", { href: "#/", class: "back" }, () => t("sale.back"))),
    h("p", { class: "notice", role: "status", hidden: () => !noticeWords() }, noticeWords),
    placeholder,
    content);

  function noticeWords() {
    if (problem) return problemWords(problem);
    if (session.hasExpired) return t("connection.expired");
    if (session.user && live.state === "waiting") return t("connection.lostNotice");
    return "";
  }

  function build() {
    const name = h("h1", { id: "sale-name", class: "ticket__name", tabindex: "-1" }, () => sale().name);
    const isOver = () => ["closed", "cancelled"].includes(statusNow(sale()));
    const isSpent = () => isOver() && !claims.of(id).orders.some(holdsTicket);
    content.append(
      h("article", { class: "ticket ticket--large", "data-roll": rollOf(id), "data-spent": isSpent,
        "aria-labelledby": "sale-name" },
        h("div", { class: "ticket__body" },
          h("p", { class: "ticket__top" }, statusMark(sale),
            h("span", { class: "ticket__serial" }, () => t("sale.serial", { id }))),
          name,
          facts(sale),
          remaining(sale)),
        stub(sale, { onSignedIn: loadMine, points: () => points })),
      ticketList(sale, { onCancelled: loadPoints }));
    isBuilt = true;
    if (document.activeElement === placeholder) name.focus({ preventScroll: true });
    placeholder.remove();
  }

  let place = "out";
  const update = () => {
    if (sale() && !isBuilt) build();
    refresh(element);
    if (!sale()?.room) return;
    line.look(sale());
    const before = place;
    place = line.of(sale().room).state;
    if (place === "admitted" && before !== place) callUp();
  };

  /** It is the buyer's turn: the heading that says so gets the focus, unless a dialog has it. */
  function callUp() {
    const turn = element.querySelector("#turn");
    if (!turn || turn.hidden) return;
    if (document.querySelector("dialog[open]")) return announce(t("line.turn"));
    turn.focus({ preventScroll: true });
    turn.closest(".stub").scrollIntoView({ block: "nearest" });
  }

  async function loadPoints() {
    const user = session.user;
    if (!user || !(sale()?.price > 0)) return;
    const answer = await session.call("GET", `api/users/${encodeURIComponent(user.userId)}/point`).catch(() => null);
    points = answer?.point ?? points;
    update();
  }

  async function loadMine() {
    if (!session.user) {
      points = null;
      return update();
    }
    await Promise.all([claims.load(id).catch(() => {}), loadPoints()]);
    update();
  }

  let userId = session.user?.userId;
  const stops = [
    sales.listen(update),
    claims.listen(update),
    line.listen(update),
    session.listen(() => {
      if (session.user?.userId !== userId) loadMine();
      userId = session.user?.userId;
    }),
    sales.follow(id, (error) => {
      problem = error;
      update();
      if (isBuilt && session.user && !claims.of(id).isLoaded) loadMine();
    }),
  ];
  const onOrder = () => loadPoints();
  live.frames.addEventListener("order", onOrder);
  const ticking = setInterval(update, 250);
  update();

  return {
    title: () => sale()?.name ?? t("sales.title"),
    element,
    close() {
      clearInterval(ticking);
      live.frames.removeEventListener("order", onOrder);
      for (const stop of stops) stop();
    },
  };
}

function facts(sale) {
  const fact = (words, value, isHidden = false) =>
    h("div", { hidden: isHidden }, h("dt", {}, () => t(words)), h("dd", {}, value));
  return h("dl", { class: "facts" },
    fact("sale.opens", () => dateTime(sale().opensAt)),
    fact("sale.closes", () => dateTime(sale().closesAt)),
    fact("sale.price", () => (sale().price > 0 ? t("sale.points", { n: sale().price }) : t("sale.free"))),
    fact("sale.limit", () => number(sale().perClientLimit), () => sale().perClientLimit <= 1));
}

/** What is left, or before the opening the time until it. */
function remaining(sale) {
  const isScheduled = () => statusNow(sale()) === "scheduled";
  const wait = () => Date.parse(sale().opensAt) - clock.now();
  const share = () => `${(100 * sale().remaining) / sale().quantity}%`;
  return h("div", { class: "left" },
    h("p", { class: "left__figure", role: "timer", hidden: () => !isScheduled(),
      "data-long": () => wait() >= DAY_MS }, () => (isScheduled() ? countdown(wait()) : "")),
    h("p", { class: "left__figure", id: "remaining", hidden: isScheduled }, () => number(sale().remaining)),
    h("p", { class: "left__words" },
      () => t(quantityWords(statusNow(sale())), { n: sale().quantity })),
    h("div", { class: "roll", "aria-hidden": "true" }, h("span", { class: "roll__left", "--share": share })));
}
