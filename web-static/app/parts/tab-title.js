/** The title of the tab is seen also while another tab is looked at: it tells the place in line, and the turn. */
import { t } from "../i18n.js";
import { line } from "../stores/line.js";
import { sales } from "../stores/sales.js";

/** @param {string} title of the view */
export function tabTitle(title) {
  const [first] = line.current;
  if (!first) return title;
  const { sale, place } = first;
  if (place.state === "admitted") return t("line.tabTurn", { name: sales.get(sale)?.name ?? title });
  return place.isProvisional ? title : t("line.tabWaiting", { n: place.rank, title });
}
