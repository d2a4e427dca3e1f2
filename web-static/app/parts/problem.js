/** What to say when a call did not succeed. What is not decided is never said as a "no". */
import { hasWords, t } from "../i18n.js";

/** @param {Error & {code?: string}} error */
export function problemWords(error) {
  const key = `problem.${error.code}`;
  if (hasWords(key)) return t(key);
  return t("problem.other", { message: error.message });
}
