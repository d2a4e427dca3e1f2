/** Concerts for the operator: what is free, held and sold of each date, and making concerts and dates. */
import { clock } from "../../clock.js";
import { each, h, refresh } from "../../dom.js";
import { number, occasion, t } from "../../i18n.js";
import { announce } from "../../parts/announce.js";
import { dateHref } from "../../parts/concert-line.js";
import { choice, field, form } from "../../parts/field.js";
import { problemWords } from "../../parts/problem.js";
import { sectionFields } from "../../parts/section-fields.js";
import { path } from "../../rest.js";
import { concerts } from "../../stores/concerts.js";
import { rooms } from "../../stores/rooms.js";
import { session } from "../../stores/session.js";
import { adminPage, repeatedly, table } from "./page.js";

const ASK_EVERY_MS = 2_000;
const MINUTE = 60_000;
const HEADINGS = ["table.performance", "table.startsAt", "table.seats", "table.free", "table.held", "table.sold",
  "table.drift"];

export function show() {
  let problem = null;
  /** The audit's figures, by performance. @type {Map<string, object>} */ let figures = new Map();
  const rows = h("tbody");
  const newDate = dateForm(added);
  const dates = () => concerts.all.flatMap((concert) => concert.dates.map((date) => ({ concert, date })));
  const element = adminPage(() => t("admin.concerts"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("p", { class: "empty", hidden: () => dates().length > 0 }, () => t("concert.none")),
    h("div", { hidden: () => dates().length === 0 }, table(() => t("admin.concerts"), HEADINGS, rows)),
    h("div", { class: "gauges" },
      h("section", { class: "panel" }, h("h2", {}, () => t("concert.make")), concertForm(added)),
      h("section", { class: "panel", hidden: () => concerts.all.length === 0 },
        h("h2", {}, () => t("date.make")), newDate.element)));

  const asking = repeatedly(async () => {
    await concerts.loadAll();
    const audit = await session.adminCall("GET", "api/audit");
    figures = new Map((audit.performances ?? []).map((one) => [String(one.performance ?? one.concertDetailId), one]));
  }, ASK_EVERY_MS, (error) => {
    problem = error;
    update();
  });

  function update() {
    each(rows, dates(), ({ date }) => date.concertDetailId, (one) => row(one, (id) => figures.get(String(id))));
    newDate.offer();
    refresh(element);
  }

  function added() {
    asking.now();
  }

  const stop = concerts.listen(update);
  return {
    title: () => t("admin.concerts"),
    element,
    close() {
      stop();
      asking.stop();
    },
  };
}

/** What the audit doesn't say yet is told as the buyers see it. */
function row(one, figuresOf) {
  const id = one().date.concertDetailId;
  const known = () => figuresOf(id);
  const figure = (name, fallback) => h("td", { class: "figure", "data-figure": name },
    () => number(known()?.[name] ?? fallback()));
  const drift = () => known()?.drift ?? null;
  return h("tr", { "data-performance": id },
    h("th", { scope: "row" },
      h("a", { href: dateHref(one().date) }, () => one().concert.name),
      h("small", { translate: "no" }, () => t("performance.serial", { id: String(id) }))),
    h("td", { class: "figure" }, () => occasion(one().date.startsAt)),
    h("td", { class: "figure" }, () => number(one().date.seats)),
    figure("free", () => one().date.remaining), figure("held", () => 0),
    figure("sold", () => one().date.seats - one().date.remaining),
    h("td", { class: "figure drift", "data-figure": "drift", "data-good": () => drift() === 0 || drift() === null },
      () => (drift() === null ? "–" : drift() === 0 ? t("audit.none") : number(drift()))));
}

function concertForm(added) {
  const name = field("name", { label: () => t("concert.name"), required: true, maxlength: "200", autocomplete: "off" });
  return form({
    fields: [name], action: () => t("concert.makeAction"),
    submit: async () => {
      const words = name.input.value.trim();
      await session.adminCall("POST", "api/concerts", { body: { name: words || undefined } });
      announce(t("concert.made", { name: words }));
      name.input.value = "";
      await concerts.loadAll();
      added();
    },
  });
}

function dateForm(added) {
  const whole = { type: "number", inputmode: "numeric", step: "1", min: "0" };
  const text = (name, more = {}) => field(name, { label: () => t(`date.${name}`), ...more });
  const concert = choice("concert", { label: () => t("date.concert") }, []);
  const room = choice("room", { label: () => t("register.room") }, [["main", () => "main"]]);
  const fields = [concert,
    text("startsAt", { type: "datetime-local", step: "60", required: true, hint: () => t("register.localTime"),
      value: local(clock.now() + 7 * 24 * 60 * MINUTE) }),
    text("price", { ...whole, value: "1000" }),
    text("holdSeconds", { ...whole, value: "300", hint: () => t("date.holdSecondsHint") }),
    text("perClientLimit", { ...whole, hint: () => t("date.perClientLimitHint") }),
    room];
  const seats = sectionFields();
  const input = Object.fromEntries(fields.map((one) => [one.name, one.input]));
  /** Not while somebody is choosing among them. */
  const offer = () => {
    if (document.activeElement === concert.input) return;
    concert.offer(concerts.all.map(({ concertId, name }) => [String(concertId), () => name]));
  };
  rooms.loadAll().then(() => room.offer(rooms.all.map(({ id }) => [id, () => id])), () => {});

  const element = form({
    fields: [...fields, ...seats.fields], extra: [seats.element], class: "form form--grid form--even",
    action: () => t("date.makeAction"),
    submit: async () => {
      const body = {
        startsAt: input.startsAt.value === "" ? undefined : new Date(input.startsAt.value).toISOString(),
        price: numberOf(input.price), holdSeconds: numberOf(input.holdSeconds), room: input.room.value,
        perClientLimit: numberOf(input.perClientLimit), seats: seats.read(),
      };
      await session.adminCall("POST", path`api/concerts/${input.concert.value}/dates`, { body });
      announce(t("date.made"));
      await concerts.loadAll();
      added();
    },
  });
  return { element, offer };
}

/** What is left empty is left out, and the server says what was missing. */
function numberOf(input) {
  return input.value === "" ? undefined : Number(input.value);
}

/** As `datetime-local` wants it: this device's wall clock, to the minute, without a zone. */
function local(at) {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
}
