/** What seats are called, and what the map says of them. */
import { t } from "../../i18n.js";

/** Of many seats, so many are named. */
const MOST_NAMED = 12;

/**
 * What a buyer sees of a seat, in the order in which the map keeps them.
 * `held` by others; `mine` is held by the buyer, `paid` is the buyer's own.
 */
export const KINDS = ["unknown", "free", "held", "sold", "chosen", "mine", "paid"];
export const KIND = Object.fromEntries(KINDS.map((name, code) => [name, code]));

/**
 * @param {{sections: import("../../stores/concerts.js").Section[] | null} | null | undefined} date
 * @param {number} seat
 * @returns {{section: string | null, row: number | null, number: number}} row and number count from 1
 */
export function placeOf(date, seat) {
  let first = 1;
  for (const { name, rows, seatsPerRow } of date?.sections ?? []) {
    const at = seat - first;
    if (at < rows * seatsPerRow) {
      return { section: name, row: Math.floor(at / seatsPerRow) + 1, number: (at % seatsPerRow) + 1 };
    }
    first += rows * seatsPerRow;
  }
  return { section: null, row: null, number: seat };
}

/** @param {object | null | undefined} date @param {number} seat @returns {string} `Stalls, row 3, seat 12` */
export function seatName(date, seat) {
  const { section, row, number } = placeOf(date, seat);
  return named(section === null ? "numbered" : "inSection", { section, row, n: number });
}

/** Several seats, those beside each other as one: `Stalls, row 3, seats 12–14`. @returns {string[]} */
export function seatNames(date, seats) {
  const runs = [];
  for (const seat of [...seats].sort((a, b) => a - b)) {
    const place = placeOf(date, seat);
    const last = runs.at(-1);
    const isBeside = last && last.section === place.section && last.row === place.row && last.to + 1 === place.number;
    if (isBeside) last.to = place.number;
    else runs.push({ ...place, from: place.number, to: place.number });
  }
  const words = runs.slice(0, MOST_NAMED).map(({ section, row, from, to }) => {
    const kind = `${section === null ? "numbered" : "inSection"}${from === to ? "" : "Run"}`;
    return named(kind, { section, row, n: from, from, to });
  });
  return runs.length > MOST_NAMED ? [...words, t("seat.more", { n: runs.length - MOST_NAMED })] : words;
}

/** As on the seats themselves: their numbers are names, and no amounts. */
function named(kind, place) {
  return t(`seat.${kind}`, Object.fromEntries(Object.entries(place).map(([name, value]) => [name, String(value)])));
}
