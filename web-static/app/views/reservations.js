/** The buyer's own: reservations of all concerts, and the points that pay for them. */
import { h, refresh } from "../dom.js";
import { number, t } from "../i18n.js";
import { problemWords } from "../parts/problem.js";
import { reservationList } from "../parts/reservation-list.js";
import { openSignIn } from "../parts/sign-in.js";
import { openTopUp } from "../parts/top-up.js";
import { concerts } from "../stores/concerts.js";
import { line } from "../stores/line.js";
import { live } from "../stores/live.js";
import { points } from "../stores/points.js";
import { reservations } from "../stores/reservations.js";
import { session } from "../stores/session.js";

export function show() {
  let problem = null;
  const list = reservationList();
  const isIn = () => session.user !== null;
  const element = h("section", { class: "column column--wide" },
    h("h1", {}, () => t("mine.seats")),
    h("p", { class: "notice", role: "status", hidden: () => !problem || !isIn() },
      () => problem && problemWords(problem)),
    h("div", { hidden: isIn },
      h("p", { class: "lead" }, () => t("mine.signIn")),
      h("p", {}, h("button", { type: "button", class: "primary", onclick: () => openSignIn() },
        () => t("account.signIn")))),
    h("div", { class: "purse", hidden: () => !isIn() },
      h("p", {}, h("span", { class: "eyebrow" }, () => t("mine.points")),
        h("strong", { class: "purse__figure", id: "balance" },
          () => (points.balance === null ? "…" : number(points.balance)))),
      h("button", { type: "button", class: "secondary", id: "top-up", onclick: () => openTopUp() },
        () => t("topUp.open")),
      h("p", { class: "purse__id" }, () => t("mine.client", { userId: String(session.user?.userId ?? "") }))),
    h("p", { class: "empty", hidden: () => !isIn() || !reservations.isLoaded || reservations.all.length > 0 },
      () => t("mine.noSeats")),
    list.element);

  const update = () => {
    list.update();
    refresh(element);
    for (const { status, concertDetailId } of reservations.all) {
      const known = concerts.performance(concertDetailId);
      if (status === "held" && known) line.look({ kind: "performance", id: concertDetailId, room: known.date.room });
    }
  };
  async function load() {
    problem = null;
    if (isIn()) {
      const asked = [reservations.load(), points.load(), concerts.loadAll()];
      await Promise.all(asked).catch((error) => { problem = error; });
    }
    update();
  }
  let userId = session.user?.userId;
  const stops = [reservations.listen(update), points.listen(update), line.listen(update), live.listen(update),
    session.listen(() => {
      if (session.user?.userId !== userId) load();
      userId = session.user?.userId;
    })];
  const onVisible = () => !document.hidden && load();
  document.addEventListener("visibilitychange", onVisible);
  const ticking = setInterval(update, 500);
  load();
  return {
    title: () => t("mine.seats"),
    element,
    close() {
      clearInterval(ticking);
      document.removeEventListener("visibilitychange", onVisible);
      for (const stop of stops) stop();
    },
  };
}
