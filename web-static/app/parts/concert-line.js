/** Concerts and their dates as lines of a list, on tickets from rolls of their own. */
import { h } from "../dom.js";
import { number, occasion, t } from "../i18n.js";
import { hasBegun } from "../stores/concerts.js";
import { rollOf } from "./ticket.js";

/** @param {() => import("../stores/concerts.js").Concert} concert */
export function concertLine(concert) {
  const remaining = () => concert().dates.reduce((sum, date) => sum + date.remaining, 0);
  const only = () => (concert().dates.length === 1 ? concert().dates[0] : null);
  return ticketLine({
    href: () => (only() ? dateHref(only()) : concertHref(concert())), roll: concert().concertId,
    isSpent: () => concert().dates.every(hasBegun), name: () => concert().name, facts: () => concertFacts(concert()),
    figure: () => number(remaining()),
    words: () => t("concert.ofFree", { n: concert().dates.reduce((sum, date) => sum + date.seats, 0) }),
  });
}

/**
 * @param {import("../stores/concerts.js").Concert} concert
 * @param {() => import("../stores/concerts.js").Performance} date
 */
export function dateLine(concert, date) {
  return ticketLine({
    href: () => dateHref(date()), roll: concert.concertId, isSpent: () => hasBegun(date()),
    name: () => occasion(date().startsAt),
    facts: () => [t("sale.points", { n: date().price }), sectionWords(date())].filter(Boolean).join(" · "),
    figure: () => number(date().remaining), words: () => t("concert.ofFree", { n: date().seats }),
  });
}

function ticketLine({ href, roll, isSpent, name, facts, figure, words }) {
  return h("li", {},
    h("a", { class: "ticket ticket--line", href, "data-roll": rollOf(`concert-${roll}`), "data-spent": isSpent },
      h("div", { class: "ticket__body" },
        h("h3", { class: "ticket__name" }, name),
        h("p", { class: "ticket__facts" }, facts)),
      h("div", { class: "ticket__stub" },
        h("strong", { class: "ticket__figure" }, figure),
        h("span", {}, words))));
}

function concertFacts({ dates }) {
  if (dates.length === 0) return t("concert.noDates");
  const next = dates.find((date) => !hasBegun(date)) ?? dates.at(-1);
  const words = [occasion(next.startsAt)];
  if (dates.length > 1) words.push(t("concert.dates", { n: dates.length }));
  const cheapest = Math.min(...dates.map(({ price }) => price));
  const isSame = dates.every(({ price }) => price === cheapest);
  words.push(isSame ? t("sale.points", { n: cheapest }) : t("concert.from", { n: cheapest }));
  return words.join(" · ");
}

function sectionWords({ sections }) {
  return sections ? sections.map(({ name }) => name).slice(0, 4).join(", ") + (sections.length > 4 ? " …" : "") : "";
}

function concertHref({ concertId }) {
  return `#/concert/${encodeURIComponent(concertId)}`;
}

/** @param {{concertDetailId: number}} date @returns {string} the address of its seats */
export function dateHref({ concertDetailId }) {
  return `#/performance/${encodeURIComponent(concertDetailId)}`;
}
