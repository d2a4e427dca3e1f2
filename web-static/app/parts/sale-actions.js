/** Opening, closing and calling off a sale. */
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { path } from "../rest.js";
import { sales, statusNow } from "../stores/sales.js";
import { session } from "../stores/session.js";
import { doAndTell } from "../views/admin/page.js";
import { confirmed } from "./dialogs.js";

const POSSIBLE = {
  scheduled: ["open", "cancel"],
  open: ["close", "cancel"],
  sold_out: ["close", "cancel"],
  closed: ["cancel"],
  cancelled: [],
};

/** @param {() => import("../stores/sales.js").Sale} sale */
export function saleActions(sale) {
  const button = (action) => h("button", {
    type: "button", class: "secondary", "data-action": action,
    "aria-label": () => t(`admin.${action}Named`, { name: sale().name }),
    hidden: () => !POSSIBLE[statusNow(sale())].includes(action),
    onclick: () => act(action),
  }, () => t(`admin.${action}`));

  async function act(action) {
    const { id, name } = sale();
    if (action === "cancel") {
      const title = t("admin.cancelTitle", { name });
      if (!(await confirmed({ title, body: t("admin.cancelBody"), action: t("admin.cancel") }))) return;
    }
    const changed = await doAndTell(
      () => session.adminCall("POST", path`api/sales/${id}/` + action), () => t(`admin.${action}Done`, { name }));
    if (changed) sales.learn(changed);
  }
  return h("div", { class: "actions" }, button("open"), button("close"), button("cancel"));
}
