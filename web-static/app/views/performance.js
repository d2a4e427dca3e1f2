/** One date of a concert: its seats, live, and beside them what the buyer has of them. */
import { h, refresh } from "../dom.js";
import { number, occasion, t } from "../i18n.js";
import { announce } from "../parts/announce.js";
import { confirmed } from "../parts/dialogs.js";
import { problemWords } from "../parts/problem.js";
import { seatMap } from "../parts/seats/map.js";
import { KIND, seatName, seatNames } from "../parts/seats/names.js";
import { seatStub } from "../parts/seats/stub.js";
import { openSignIn } from "../parts/sign-in.js";
import { rollOf } from "../parts/ticket.js";
import { openTopUp } from "../parts/top-up.js";
import { seatOutcome } from "../seat-outcome.js";
import { concerts } from "../stores/concerts.js";
import { line } from "../stores/line.js";
import { live } from "../stores/live.js";
import { points } from "../stores/points.js";
import { isLive, reservations, timeLeft } from "../stores/reservations.js";
import { seats } from "../stores/seats.js";
import { session } from "../stores/session.js";

const PATIENCE_MS = 3_000;

/** @param {string} id */
export function show(id) {
  let problem = null;
  let isAsked = false;
  let refusal = null;
  let isHolding = false;
  let obstacle = null;
  /** @type {ReturnType<typeof seatMap> | null} */ let map = null;
  /** @type {Set<number>} */ const chosen = new Set();
  /** @type {Map<number, number>} the buyer's own, by seat */ let own = new Map();
  const known = () => concerts.performance(id);
  const date = () => known().date;
  const goal = () => ({ kind: "performance", id, room: date().room });
  const mine = () => reservations.of(id);
  const states = () => seats.of(id);
  const remaining = () => states()?.remaining ?? known()?.date.remaining ?? 0;

  const content = h("div", { class: "performance" });
  const placeholder = h("h1", {}, () => t("performance.serial", { id }));
  const element = h("section", { class: "column column--wide" },
    h("p", {}, h("a", { class: "back", href: () => (known() ? `#/concert/${known().concert.concertId}` : "#/") },
      () => known()?.concert.name ?? t("sale.back"))),
    h("p", { class: "notice", role: "status", hidden: () => !noticeWords() }, noticeWords),
    placeholder, content);

  function noticeWords() {
    if (problem) return problemWords(problem);
    if (isAsked && !known()) return t("problem.not_found");
    if (session.hasExpired) return t("connection.expired");
    if (session.user && live.state === "waiting") return t("connection.lostNotice");
    return "";
  }

  function now() {
    const place = line.of(date().room);
    const held = mine().find(({ status }) => status === "held");
    const isPaying = held !== undefined && reservations.isPaying(held.reservationId);
    return seatOutcome({
      date: date(), isSignedIn: session.user !== null, isLoaded: reservations.isLoaded, place, reservations: mine(),
      chosen: chosen.size, isHolding, isPaying, refusal, points: points.balance,
      obstacle: isPaying ? reservations.obstacle(held.reservationId) : obstacle,
      left: remaining() + (states()?.held ?? 0),
    });
  }

  function build() {
    const name = h("h1", { id: "performance-name", class: "ticket__name", tabindex: "-1" }, () => known().concert.name);
    const fact = (words, value, isHidden = false) =>
      h("div", { hidden: isHidden }, h("dt", {}, () => t(words)), h("dd", {}, value));
    map = seatMap({ date, label: () => t("seats.map", { name: known().concert.name }), kindOf, toggle });
    const share = () => `${(100 * remaining()) / date().seats}%`;
    content.dataset.roll = String(rollOf(`concert-${known().concert.concertId}`));
    content.append(
      h("article", { class: "ticket ticket--head", "aria-labelledby": "performance-name" },
        h("div", { class: "ticket__body" }, name,
          h("dl", { class: "facts" },
            fact("performance.startsAt", () => occasion(date().startsAt)),
            fact("performance.price", () => t("sale.points", { n: date().price })),
            fact("sale.limit", () => number(date().perClientLimit), () => !(date().perClientLimit > 0)),
            fact("performance.hold", () => t("performance.holdFor", { n: Math.round(date().holdSeconds / 60) }),
              () => date().holdSeconds < 60)),
          h("div", { class: "left left--small" },
            h("p", { class: "left__figure", id: "remaining" }, () => number(remaining())),
            h("p", { class: "left__words" }, () => t("performance.ofFree", { n: date().seats })),
            h("div", { class: "roll", "aria-hidden": "true" }, h("span", { class: "roll__left", "--share": share }))))),
      h("div", { class: "performance__map" }, map.element),
      h("div", { class: "performance__stub ticket" }, seatStub({
        date, goal, now, chosen: () => [...chosen], own: mine, act, giveBack, isSoldOut: () => remaining() === 0,
      })));
    if (document.activeElement === placeholder) name.focus({ preventScroll: true });
    placeholder.remove();
    seats.watch(id, date().room);
  }

  // Choosing

  function kindOf(seat) {
    const ours = own.get(seat);
    if (ours !== undefined) return ours;
    const status = states()?.of(seat) ?? "unknown";
    if (chosen.has(seat) && (status === "free" || isHolding)) return KIND.chosen;
    return KIND[status];
  }

  /** @returns {string} what to say */
  function toggle(seat) {
    const kind = kindOf(seat);
    const name = seatName(date(), seat);
    if (kind === KIND.chosen && !isHolding) {
      chosen.delete(seat);
      update();
      return t("seats.unchosen", { seat: name, n: chosen.size });
    }
    if (kind !== KIND.free) return refuse(whyNot(kind, name));
    if (now().held) return refuse(t("seats.payFirst"));
    const most = date().perClientLimit > 0 ? date().perClientLimit - ownCount() : Infinity;
    if (chosen.size >= Math.min(most, 1000)) return refuse(t("seats.limit", { n: date().perClientLimit || 1000 }));
    refusal = null;
    chosen.add(seat);
    update();
    return t("seats.nowChosen", { seat: name, n: chosen.size });
  }

  function refuse(words) {
    announce(words);
    return "";
  }

  function whyNot(kind, seat) {
    if (kind === KIND.unknown) return t(session.user ? "seats.notKnown" : "seats.signIn");
    const names = { [KIND.held]: "held", [KIND.sold]: "sold", [KIND.mine]: "mine", [KIND.paid]: "paid" };
    return t("seats.seat", { seat, kind: t(`seats.kind.${names[kind] ?? "chosen"}`) });
  }

  const ownCount = () => mine().filter(isLive).reduce((sum, { seatIds }) => sum + seatIds.length, 0);

  /** What others took meanwhile can't stay chosen. */
  function prune() {
    if (isHolding || !states()?.isKnown) return;
    const gone = [...chosen].filter((seat) => states().of(seat) !== "free" || own.has(seat));
    for (const seat of gone) chosen.delete(seat);
    const lost = gone.filter((seat) => !own.has(seat));
    if (lost.length > 0) announce(t("seats.lost", { seats: seatNames(date(), lost).join("; ") }), { isProblem: true });
  }

  // Acting

  async function act(action) {
    if (action !== "hold") refusal = null;
    if (action === "signIn") await openSignIn();
    else if (action === "join") await line.join(goal());
    else if (action === "giveUp") await line.leave(date().room);
    else if (action === "hold") await hold();
    else if (action === "pay") await pay();
    else if (action === "topUp") await openTopUp(now().held ? now().held.price - (points.balance ?? 0) : 0);
    update();
    // What had the focus may be gone; but it may have been given to the heading that calls up.
    if (document.activeElement === document.body) content.querySelector("#claim")?.focus({ preventScroll: true });
  }

  async function hold() {
    const wanted = [...chosen].sort((a, b) => a - b);
    [refusal, obstacle, isHolding] = [null, null, true];
    update();
    try {
      await reservations.hold(known().concert, date(), wanted);
      chosen.clear();
    } catch (error) {
      for (const seat of error.seats ?? []) chosen.delete(seat);
      const named = error.seats?.length > 0 ? seatNames(date(), error.seats).join("; ") : undefined;
      refusal = { code: error.undecided ? "unavailable" : error.code, seats: named };
      // It may have been taken all the same; the list says it.
      if (error.undecided || error.code === "duplicate") reservations.load().catch(() => {});
    }
    isHolding = false;
    obstacle = null;
    map.update(wanted);
    update();
  }

  async function pay() {
    const { held } = now();
    try {
      await reservations.pay(held, date().room);
    } catch (error) {
      refusal = { code: error.code };
      await Promise.all([reservations.load().catch(() => {}), points.load().catch(() => {})]);
    }
  }

  async function giveBack() {
    const { held } = now();
    const isSure = await confirmed({
      title: t("seats.giveBackTitle", { n: held.seatIds.length }), body: t("seats.giveBackBody"),
      action: t("seats.giveBack"),
    });
    if (!isSure) return;
    await reservations.release(held).catch((error) => announce(problemWords(error), { isProblem: true }));
    content.querySelector("#claim")?.focus({ preventScroll: true });
  }

  // Following

  let place = "out";
  let askedForEndAt = -Infinity;
  const update = () => {
    if (known() && !map) build();
    refresh(element);
    if (!map) return;
    line.look(goal());
    const before = place;
    place = line.of(date().room).state;
    askForEnd();
    if (place === "admitted" && before !== place) callUp();
  };

  /** The time is up, and nobody said what became of it: then the list says it. */
  function askForEnd() {
    const isDue = mine().some((one) => one.status === "held" && timeLeft(one) < -PATIENCE_MS);
    if (!isDue || performance.now() - askedForEndAt < PATIENCE_MS) return;
    askedForEndAt = performance.now();
    reservations.load().catch(() => {});
  }

  /** It is the buyer's turn: the heading that says so gets the focus, unless a dialog or the map has it. */
  function callUp() {
    const turn = element.querySelector("#turn");
    if (!turn || turn.hidden) return;
    const isBusy = document.querySelector("dialog[open]") || map.element.contains(document.activeElement);
    if (isBusy) return announce(t("line.turn"));
    turn.focus({ preventScroll: true });
  }

  function recount() {
    const before = own;
    own = new Map();
    for (const { status, seatIds } of mine().filter(isLive)) {
      for (const seat of seatIds) own.set(seat, status === "paid" ? KIND.paid : KIND.mine);
    }
    prune();
    map?.update([...new Set([...before.keys(), ...own.keys()])]);
    update();
  }

  async function loadMine() {
    if (session.user) await Promise.all([reservations.load().catch(() => {}), points.load().catch(() => {})]);
    else chosen.clear();
    map?.update();
    update();
  }

  const onError = ({ detail }) => {
    const isOurs = String(detail.performance) === String(id) && detail.retryInMs !== undefined;
    if (isOurs && isHolding) obstacle = detail.code;
    update();
  };
  live.frames.addEventListener("error", onError);
  let userId = session.user?.userId;
  const stops = [
    concerts.follow(null, (error) => { problem = error; isAsked ||= !error; update(); }),
    reservations.listen(recount),
    points.listen(update),
    line.listen(update),
    live.listen(() => { map?.update(); update(); }),
    session.listen(() => {
      if (session.user?.userId !== userId) loadMine();
      userId = session.user?.userId;
    }),
    seats.listen(id, ({ whole, seats: changed }) => {
      prune();
      map?.update(whole ? undefined : changed);
      update();
    }),
  ];
  // Another tab may have taken a hold: that is no outcome, and nothing was told.
  const onVisible = () => !document.hidden && loadMine();
  document.addEventListener("visibilitychange", onVisible);
  const ticking = setInterval(update, 250);
  loadMine();

  return {
    title: () => known()?.concert.name ?? t("performance.serial", { id }),
    element,
    close() {
      clearInterval(ticking);
      document.removeEventListener("visibilitychange", onVisible);
      live.frames.removeEventListener("error", onError);
      for (const stop of stops) stop();
      seats.unwatch(id);
      map?.close();
    },
  };
}
