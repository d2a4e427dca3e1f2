/** The dialog to add points to one's own balance. */
import { h, refresh } from "../dom.js";
import { number, t } from "../i18n.js";
import { points } from "../stores/points.js";
import { announce } from "./announce.js";
import { openDialog } from "./dialogs.js";
import { field, form } from "./field.js";

const OFFERS = [1_000, 5_000, 20_000];

/** @param {number} [missing] what is lacking for what one wants to pay */
export async function openTopUp(missing = 0) {
  const amount = field("point", { label: () => t("topUp.point"), type: "number", inputmode: "numeric", step: "1", min: "1",
    value: String(missing > 0 ? missing : OFFERS[0]) });
  const offers = [...new Set([...(missing > 0 ? [missing] : []), ...OFFERS])];
  const offer = (value) => h("button", { type: "button", class: "secondary", onclick: () => {
    amount.input.value = String(value);
    amount.setProblem(null);
  } }, () => `+${number(value)}`);
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "top-up-title" },
    h("h2", { id: "top-up-title" }, () => t("topUp.title")),
    h("p", {}, () => (points.balance === null ? "" : t("topUp.balance", { n: points.balance }))),
    form({
      fields: [amount],
      extra: [h("div", { class: "actions", role: "group", "aria-label": () => t("topUp.offers") }, offers.map(offer))],
      action: () => t("topUp.action"),
      submit: async () => {
        await points.charge(amount.input.value === "" ? undefined : Number(amount.input.value));
        announce(t("topUp.done", { n: points.balance ?? 0 }));
        dialog.close("yes");
      },
    }),
    h("button", { class: "dialog__close quiet", type: "button", "aria-label": () => t("action.close"),
      onclick: () => dialog.close("") }, "×"));
  const stop = points.listen(() => refresh(dialog));
  if (points.balance === null) points.load().catch(() => {});
  const done = openDialog(dialog);
  amount.input.select();
  await done;
  stop();
}
