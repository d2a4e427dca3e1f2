/** Every waiting room, live, and making another. */
import { each, h, refresh } from "../../dom.js";
import { number, t, tCode } from "../../i18n.js";
import { announce } from "../../parts/announce.js";
import { choice, field, form } from "../../parts/field.js";
import { limitFields } from "../../parts/limits.js";
import { figureWords } from "../../parts/plot.js";
import { problemWords } from "../../parts/problem.js";
import { ORDERINGS, rooms } from "../../stores/rooms.js";
import { session } from "../../stores/session.js";
import { adminPage, repeatedly, table } from "./page.js";

const ASK_EVERY_MS = 1_000;
const HEADINGS = ["table.room", "room.ordering", "room.waiting", "room.active", "room.pace", "room.gone"];

export function show() {
  let problem = null;
  const rows = h("tbody");
  const id = field("id", { label: () => t("room.id"), hint: () => t("room.idHint"), required: true, maxlength: "64",
    autocomplete: "off", spellcheck: "false" });
  const ordering = choice("ordering", { label: () => t("room.ordering") },
    ORDERINGS.map((name) => [name, () => t(`ordering.${name}`)]));
  const limits = limitFields({ maxActive: 100, passSeconds: 300, graceSeconds: 30 });

  async function submit() {
    const room = await session.adminCall("POST", "api/rooms", { body: {
      id: id.input.value.trim() || undefined, ordering: ordering.input.value, ...limits.read(),
    } });
    announce(t("room.made", { id: room.id }));
    location.hash = `#/admin/room/${encodeURIComponent(room.id)}`;
  }

  const element = adminPage(() => t("admin.rooms"),
    h("p", { class: "notice", role: "status", hidden: () => !problem }, () => problem && problemWords(problem)),
    h("div", { hidden: () => rooms.all.length === 0 }, table(() => t("admin.rooms"), HEADINGS, rows)),
    h("section", { class: "panel", "aria-labelledby": "new-room" },
      h("h2", { id: "new-room" }, () => t("room.new")),
      form({
        fields: [id, ordering, ...limits.fields], submit, class: "form form--grid", action: () => t("room.make"),
        words: (error) => (error.code === "in_use" ? { field: "id", text: t("room.taken") } : null),
      })));

  const asking = repeatedly(() => rooms.loadAll(), ASK_EVERY_MS, (error) => {
    problem = error;
    each(rows, rooms.all, (room) => room.id, row);
    refresh(element);
  });
  return { title: () => t("admin.rooms"), element, close: () => asking.stop() };
}

function row(room) {
  const figure = (name, words) => h("td", { class: "figure", "data-figure": name }, words);
  return h("tr", { "data-room": room().id },
    h("th", { scope: "row" },
      h("a", { href: `#/admin/room/${encodeURIComponent(room().id)}`, translate: "no" }, () => room().id)),
    h("td", {}, () => tCode("ordering", room().ordering)),
    figure("waiting", () => number(room().waiting)),
    figure("active", () => `${number(room().active)} / ${number(room().maxActive)}`),
    figure("pace", () => figureWords(room().pacePerMinute)),
    figure("gone", () => number(room().left + room().vanished)));
}
