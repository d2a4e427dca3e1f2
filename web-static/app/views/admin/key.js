/** Asks for the admin key. It is kept for this tab only. */
import { h } from "../../dom.js";
import { t } from "../../i18n.js";
import { field, form } from "../../parts/field.js";
import { session } from "../../stores/session.js";

export function show() {
  const key = field("key", {
    label: () => t("adminKey.label"), hint: () => t("adminKey.hint"),
    type: "password", autocomplete: "off", spellcheck: "false", required: true,
  });
  const element = h("section", { class: "column column--narrow" },
    h("h1", {}, () => t("adminKey.title")),
    form({
      fields: [key],
      action: () => t("adminKey.enter"),
      words: (error) => ([401, 403].includes(error.status) ? { field: "key", text: t("adminKey.wrong") } : null),
      submit: () => session.enterAdminKey(key.input.value.trim()),
    }));
  return { title: () => t("adminKey.title"), element };
}
