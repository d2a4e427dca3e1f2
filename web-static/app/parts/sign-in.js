/** The dialog to make an account, or to sign in to one. */
import { h, refresh } from "../dom.js";
import { t } from "../i18n.js";
import { session } from "../stores/session.js";
import { openDialog } from "./dialogs.js";
import { checkbox, field, form } from "./field.js";

/** @returns {Promise<boolean>} whether somebody is signed in afterwards */
export async function openSignIn() {
  let isNew = true;
  const name = field("name", {
    label: () => t("account.name"), autocomplete: "username", required: true, maxlength: "64",
  });
  const password = field("password", {
    label: () => t("account.password"), type: "password", required: true,
    autocomplete: () => (isNew ? "new-password" : "current-password"),
  });
  const stay = checkbox(() => t("account.stay"), {});

  const mode = (value, words) => {
    const input = h("input", { type: "radio", name: "mode", checked: isNew === value,
      onchange: () => { isNew = value; refresh(dialog); } });
    return h("label", {}, input, h("span", {}, () => t(words)));
  };

  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "sign-in-title" },
    h("h2", { id: "sign-in-title" }, () => t(isNew ? "account.signUpTitle" : "account.signInTitle")),
    h("fieldset", { class: "segments" },
      h("legend", { class: "unseen" }, () => t("account.mode")),
      mode(true, "account.signUp"), mode(false, "account.signIn")),
    form({
      fields: [name, password],
      extra: [stay.element],
      action: () => t(isNew ? "account.signUp" : "account.signIn"),
      words: (error) => refusalWords(error),
      submit: async () => {
        const credentials = { name: name.input.value.trim(), password: password.input.value, stay: stay.input.checked };
        await (isNew ? session.signUp(credentials) : session.signIn(credentials));
        dialog.close("yes");
      },
    }),
    h("button", { class: "dialog__close quiet", type: "button", "aria-label": () => t("action.close"),
      onclick: () => dialog.close("") }, "×"));

  const done = openDialog(dialog);
  name.input.focus();
  await done;
  return session.user !== null;
}

function refusalWords(error) {
  if (error.code === "in_use") return { field: "name", text: t("account.nameTaken") };
  if (error.code === "unauthenticated") return { text: t("account.wrong") };
  return null;
}
