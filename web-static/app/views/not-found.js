import { h } from "../dom.js";
import { t } from "../i18n.js";

export function show() {
  const element = h("section", { class: "column" },
    h("h1", {}, () => t("notFound.title")),
    h("p", {}, h("a", { href: "#/" }, () => t("notFound.back"))));
  return { title: () => t("notFound.title"), element };
}
