/** The page's language, and how numbers and times are written in it. The words are in `strings.js`. */
import { Signal } from "./signal.js";
import { strings } from "./strings.js";

const STORED = "dibs:language";
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** Tells when the language was changed. */
export const language = new Signal();

let current = chosen();
document.documentElement.lang = current;

function chosen() {
  const wanted = [localStorage.getItem(STORED), ...navigator.languages, navigator.language];
  for (const tag of wanted) {
    const base = tag?.split("-")[0];
    if (base in strings) return base;
  }
  return "en";
}

/** @returns {"en" | "ko"} */
export function currentLanguage() {
  return current;
}

/** @param {"en" | "ko"} next */
export function setLanguage(next) {
  current = next;
  localStorage.setItem(STORED, next);
  document.documentElement.lang = next;
  formats.clear();
  language.tell();
}

/**
 * The words for `key`. `{name}` in them is replaced by the value of that name, numbers in the language's own way; an
 * entry with plural forms is chosen by `n`.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  let words = strings[current][key] ?? strings.en[key] ?? key;
  if (typeof words === "object") words = words[plural().select(values.n)] ?? words.other;
  return words.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value ?? "");
  });
}

/** @param {string} key */
export function hasWords(key) {
  return key in strings.en;
}

const formats = new Map();

function format(name, make) {
  if (!formats.has(name)) formats.set(name, make());
  return formats.get(name);
}

const plural = () => format("plural", () => new Intl.PluralRules(current));

/** @param {number} value */
export function number(value) {
  return format("number", () => new Intl.NumberFormat(current)).format(value);
}

/** @param {number} value @param {number} digits */
export function decimal(value, digits) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return format(`decimal${digits}`, () => new Intl.NumberFormat(current, options)).format(value);
}

/** @param {string | number} at day and time, to the second where that matters: `6 Mar, 14:00:00` */
export function dateTime(at) {
  const options = { month: "short", day: "numeric", ...CLOCK };
  return format("dateTime", () => new Intl.DateTimeFormat(current, options)).format(new Date(at));
}

/** @param {string | number} at when something begins that one goes to: `Fri, Mar 6, 19:30` */
export function occasion(at) {
  const day = { weekday: "short", month: "short", day: "numeric" };
  const options = { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return format("occasion", () => new Intl.DateTimeFormat(current, options)).format(new Date(at));
}

/** @param {string | number} at `14:00:00` */
export function time(at) {
  return format("time", () => new Intl.DateTimeFormat(current, CLOCK)).format(new Date(at));
}

/** @param {number} value milliseconds: `0.4 ms`, `12 ms`, `1.3 s` */
export function duration(value) {
  if (value >= 1000) return t("unit.seconds", { value: decimal(value / 1000, 1) });
  return t("unit.milliseconds", { value: decimal(value, value < 10 ? 1 : 0) });
}

/** @param {number} ms `3 d 04:05:06` or `04:05`, counting up to the next whole second */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (value) => String(value).padStart(2, "0");
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if (days > 0) return `${t("unit.days", { n: days })} ${two(hours)}:${clock}`;
  return hours > 0 ? `${two(hours)}:${clock}` : clock;
}

/** @param {number} seconds how long something takes, as precisely as one can know: `About 3 minutes` */
export function roughly(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 45) return t("roughly.moment");
  if (minutes < 90) return t("roughly.minutes", { n: minutes <= 20 ? Math.max(1, minutes) : Math.round(minutes / 5) * 5 });
  return t("roughly.hours", { n: Math.round(minutes / 30) / 2 });
}

/** The words for a code of the contract, or the code itself where there are none. */
export function tCode(group, code) {
  const key = `${group}.${code}`;
  return hasWords(key) ? t(key) : t(`${group}.other`, { code });
}
