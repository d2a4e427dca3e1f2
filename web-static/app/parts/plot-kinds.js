/** What the page plots, and how each is read out. */
import { t, time } from "../i18n.js";
import { figureWords } from "./plot.js";

/** Requests, the accepted part of them, and a line for what was confirmed. @type {import("./plot.js").Kind} */
export const REQUESTS = {
  measures: [
    { name: "requests", words: "figure.requests", mark: "bar" },
    { name: "accepted", words: "figure.accepted", mark: "bar" },
    { name: "confirmed", words: "figure.confirmed", mark: "line" },
  ],
  unknown: 0, most: 120,
  readout: ({ at, requests, accepted, confirmed }) => t("plot.readout", { at: time(at), requests, accepted, confirmed }),
  summary: (buckets) => {
    if (buckets.length === 0) return t("plot.empty");
    const peak = peakOf(buckets, "requests");
    return t("plot.summary", { n: peak.requests, at: time(peak.at) });
  },
};

/**
 * A figure that is measured again and again, with its limit where it has one.
 * @param {string} name @param {string} [limit]
 * @returns {import("./plot.js").Kind}
 */
export function gauge(name, limit) {
  const words = `room.${name}`;
  const measures = [{ name, words, mark: "area" }];
  if (limit) measures.push({ name: limit, words: `room.${limit}`, mark: "limit" });
  return {
    measures, unknown: null, most: 300, height: 150, title: () => t(words),
    readout: (bucket) => t("gauge.readout", { at: time(bucket.at), value: figureWords(bucket[name]) }),
    summary: (buckets) => {
      const known = buckets.filter((bucket) => typeof bucket[name] === "number");
      if (known.length === 0) return t("gauge.empty", { name: t(words) });
      const peak = peakOf(known, name);
      return t("gauge.summary", { name: t(words), now: figureWords(known.at(-1)[name]), most: figureWords(peak[name]),
        at: time(peak.at) });
    },
  };
}

function peakOf(buckets, name) {
  return buckets.reduce((best, bucket) => (bucket[name] > best[name] ? bucket : best));
}
