/** Questions that stop what one is doing. The native dialog keeps focus inside and gives it back. */
import { h } from "../dom.js";
import { t } from "../i18n.js";

/** @param {HTMLDialogElement} dialog shown until it is closed, then removed */
export function openDialog(dialog) {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** @param {{title: string, body: string, action: string, keep?: string}} question @returns {Promise<boolean>} */
export async function confirmed({ title, body, action, keep = t("action.keep") }) {
  const answer = (value) => () => dialog.close(value);
  const named = { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-body" };
  const dialog = h("dialog", { class: "dialog", ...named },
    h("h2", { id: "confirm-title" }, title),
    h("p", { id: "confirm-body" }, body),
    h("div", { class: "dialog__actions" },
      h("button", { type: "button", class: "secondary", onclick: answer("") }, keep),
      h("button", { type: "button", class: "primary", onclick: answer("yes") }, action)));
  return (await openDialog(dialog)) === "yes";
}
