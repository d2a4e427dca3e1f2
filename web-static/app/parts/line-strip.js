/** Wherever one is on the page: that one stands in line, and, not to be missed, that it is one's turn. */
import { h, refresh } from "../dom.js";
import { countdown, t } from "../i18n.js";
import { line, nameOf } from "../stores/line.js";

export function lineStrip() {
  /** The first one that is for another view than this. */
  const shown = () => line.current.find(({ goal }) => location.hash !== hrefOf(goal));
  const isTurn = () => shown()?.place.state === "admitted";
  const element = h("div", { class: "strip", id: "line-strip", hidden: () => !shown(), "data-turn": isTurn },
    h("p", { class: "unseen", role: "alert" }, () => (isTurn() ? words(shown()) : "")),
    h("a", { href: () => (shown() ? hrefOf(shown().goal) : null) },
      () => (shown() ? words(shown()) : ""),
      h("span", { class: "figure" }, () => (isTurn() ? countdown(line.timeLeft(shown().place)) : ""))));
  setInterval(() => refresh(element), 500);
  line.listen(() => refresh(element));
  return element;
}

function hrefOf(goal) {
  return `#/${goal}`;
}

function words({ goal, place }) {
  const name = nameOf(goal);
  if (place.state === "admitted") return t("strip.turn", { name });
  return place.isProvisional ? t("strip.isIn", { name }) : t("strip.waiting", { name, n: place.rank });
}
