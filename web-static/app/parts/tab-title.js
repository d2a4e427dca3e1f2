/** The title of the tab is seen also while another tab is looked at: it tells the place in line, and the turn. */
import { t } from "../i18n.js";
import { line, nameOf } from "../stores/line.js";

/** @param {string} title of the view */
export function tabTitle(title) {
  const [first] = line.current;
  if (!first) return title;
  const { goal, place } = first;
  if (place.state === "admitted") return t("line.tabTurn", { name: nameOf(goal) });
  return place.isProvisional ? title : t("line.tabWaiting", { n: place.rank, title });
}
