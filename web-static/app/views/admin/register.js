/** Registering a sale. What is wrong with a value is the server's to say; it is shown beside the field. */
import { clock } from "../../clock.js";
import { h } from "../../dom.js";
import { t } from "../../i18n.js";
import { announce } from "../../parts/announce.js";
import { choice, field, form } from "../../parts/field.js";
import { rooms } from "../../stores/rooms.js";
import { sales } from "../../stores/sales.js";
import { session } from "../../stores/session.js";
import { adminPage } from "./page.js";

const MINUTE = 60_000;

export function show() {
  const whole = { type: "number", inputmode: "numeric", step: "1" };
  const moment = { type: "datetime-local", step: "1", required: true };
  const text = (name, more = {}) => field(name, { label: () => t(`register.${name}`), ...more });
  const fields = [
    text("name", { required: true, maxlength: "200" }),
    text("quantity", { ...whole, required: true, value: "100" }),
    text("opensAt", { ...moment, hint: () => t("register.localTime"), value: local(clock.now() + MINUTE) }),
    text("closesAt", { ...moment, value: local(clock.now() + 61 * MINUTE) }),
    text("price", { ...whole, value: "0", hint: () => t("register.priceHint") }),
    text("perClientLimit", { ...whole, value: "1" }),
    text("rejectPercent", { ...whole, value: "0", hint: () => t("register.rejectPercentHint") }),
  ];
  const none = ["", () => t("register.noRoom")];
  const room = choice("room", { label: () => t("register.room"), hint: () => t("register.roomHint") }, [none]);
  rooms.loadAll().then(() => room.offer([none, ...rooms.all.map(({ id }) => [id, () => id])]), () => {});
  fields.push(room);
  const value = Object.fromEntries(fields.map((one) => [one.name, one.input]));

  const openIn = (minutes, words) => h("button", {
    type: "button", class: "secondary",
    onclick: () => {
      value.opensAt.value = local(clock.now() + minutes * MINUTE);
      value.closesAt.value = local(clock.now() + (minutes + 60) * MINUTE);
    },
  }, () => t(words));

  async function submit() {
    const sale = await session.adminCall("POST", "api/sales", { body: {
      name: value.name.value.trim() || undefined,
      quantity: wholeNumber(value.quantity),
      opensAt: instant(value.opensAt),
      closesAt: instant(value.closesAt),
      price: wholeNumber(value.price),
      perClientLimit: wholeNumber(value.perClientLimit),
      rejectPercent: wholeNumber(value.rejectPercent),
      room: value.room.value || undefined,
    } });
    sales.learn(sale);
    announce(t("register.done", { name: sale.name }));
    location.hash = `#/admin/sale/${encodeURIComponent(sale.id)}`;
  }

  const element = adminPage(() => t("admin.register"),
    form({
      fields, submit, class: "form form--grid", action: () => t("register.action"),
      extra: [h("fieldset", {}, h("legend", { class: "eyebrow" }, () => t("register.presets")),
        h("div", { class: "actions" },
          openIn(0, "register.now"), openIn(0.5, "register.soon"), openIn(10, "register.later")))],
    }));
  return { title: () => t("admin.register"), element };
}

/** What is left empty is left out, and the server says what was missing. */
function wholeNumber(input) {
  return input.value === "" ? undefined : Number(input.value);
}

function instant(input) {
  return input.value === "" ? undefined : new Date(input.value).toISOString();
}

/** As `datetime-local` wants it: this device's wall clock, without a zone. */
function local(at) {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, 19);
}
