/** Charging points to a client. */
import { h, refresh } from "../../dom.js";
import { t } from "../../i18n.js";
import { field, form } from "../../parts/field.js";
import { path } from "../../rest.js";
import { session } from "../../stores/session.js";
import { adminPage } from "./page.js";

export function show() {
  let balance = null;
  const userId = field("userId", { label: () => t("points.userId"), hint: () => t("points.userIdHint"), required: true,
    autocomplete: "off", spellcheck: "false" });
  const point = field("point", { label: () => t("points.point"), type: "number", inputmode: "numeric", step: "1",
    value: "1000" });
  const result = h("p", { class: "verdict", role: "status", "data-good": true, hidden: () => balance === null },
    () => (balance ? t("points.balance", { userId: balance.userId, n: balance.point }) : ""));
  const element = adminPage(() => t("admin.points"),
    form({
      fields: [userId, point],
      action: () => t("points.charge"),
      submit: async () => {
        balance = null;
        const id = userId.input.value.trim() || undefined;
        const amount = point.input.value === "" ? undefined : Number(point.input.value);
        await session.adminCall("PATCH", "api/users/point", { body: { userId: id, point: amount } });
        balance = await session.adminCall("GET", path`api/users/${id}/point`);
        balance = { userId: String(balance.userId), point: balance.point };
        refresh(result.parentElement);
      },
    }), result);
  return { title: () => t("admin.points"), element };
}
