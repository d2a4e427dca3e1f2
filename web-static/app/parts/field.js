/**
 * A labelled input with room for a hint and for what the server says is wrong with it.
 *
 * @typedef {{name: string, element: HTMLElement, input: HTMLInputElement,
 *            setProblem: (words: string | null) => void}} Field
 */
import { h } from "../dom.js";
import { hasWords, t } from "../i18n.js";
import { problemWords } from "./problem.js";

let made = 0;

/**
 * @param {string} name as the contract calls it
 * @param {{label: () => string, hint?: () => string} & Record<string, any>} options the rest are the input's attributes
 * @returns {Field}
 */
export function field(name, { label, hint, ...attributes }) {
  return labelled(name, { label, hint }, h("input", { name, ...attributes }));
}

/** @returns {Field} */
function labelled(name, { label, hint }, input) {
  const id = `field-${name}-${++made}`;
  const problem = h("p", { class: "field__problem", id: `${id}-problem`, hidden: true });
  input.id = id;
  input.setAttribute("aria-describedby", [hint && `${id}-hint`, `${id}-problem`].filter(Boolean).join(" "));
  const element = h("div", { class: "field" },
    h("label", { for: id }, label),
    input,
    hint ? h("p", { class: "field__hint", id: `${id}-hint` }, hint) : null,
    problem);
  const setProblem = (words) => {
    problem.textContent = words ?? "";
    problem.hidden = !words;
    if (words) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  input.addEventListener("input", () => setProblem(null));
  return { name, element, input, setProblem };
}

/**
 * A choice among some, as a field of a form.
 *
 * @param {string} name as the contract calls it
 * @param {{label: () => string, hint?: () => string}} options
 * @param {[value: string, words: () => string][]} choices
 * @returns {Field & {offer: (choices: [string, () => string][]) => void}}
 */
export function choice(name, options, choices) {
  const input = h("select", { name });
  const offer = (offered) => {
    const { value } = input;
    input.replaceChildren(...offered.map(([value, words]) => h("option", { value }, words)));
    input.value = offered.some(([one]) => one === value) ? value : offered[0]?.[0] ?? "";
  };
  offer(choices);
  return { ...labelled(name, options, input), offer };
}

/** @param {() => string} label @param {Record<string, any>} attributes */
export function checkbox(label, attributes) {
  const input = h("input", { type: "checkbox", ...attributes });
  return { input, element: h("label", { class: "check" }, input, h("span", {}, label)) };
}

/**
 * A form that shows a refusal beside the field that the server's message names, or above the button if it names none.
 *
 * @param {{fields: Field[], extra?: Element[], action: () => string, submit: () => Promise<void>, class?: string,
 *          words?: (error: Error) => {field?: string, text: string} | null}} options
 */
export function form({ fields, extra = [], action, submit, words, class: className = "form" }) {
  const problem = h("p", { class: "form__problem", role: "alert" });
  const button = h("button", { class: "primary", type: "submit" }, action);
  let isBusy = false;
  const element = h("form", {
    class: className, novalidate: true,
    onsubmit: async (event) => {
      event.preventDefault();
      if (isBusy) return;
      isBusy = true;
      button.setAttribute("aria-disabled", "true");
      for (const one of fields) one.setProblem(null);
      problem.textContent = "";
      try {
        await submit();
      } catch (error) {
        showProblem(error, words?.(error));
      } finally {
        isBusy = false;
        button.removeAttribute("aria-disabled");
      }
    },
  }, h("div", { class: "form__fields" }, fields.map((one) => one.element)), extra, problem, button);

  function showProblem(error, own) {
    const named = fields.find(({ name }) => (own ? own.field === name : names(error, name)));
    const text = own?.text ?? (named ? fieldWords(error) : problemWords(error));
    if (!named) {
      problem.textContent = text;
      return;
    }
    named.setProblem(text);
    named.input.focus();
  }
  return element;
}

/** The contract's 400 and 422 name the field in their message. */
function names(error, field) {
  if (error.code !== "invalid" && error.code !== "bad_request") return false;
  return new RegExp(`(^|[^A-Za-z])${field}([^A-Za-z]|$)`).test(error.message);
}

function fieldWords(error) {
  return hasWords(`problem.${error.message}`) ? t(`problem.${error.message}`) : error.message;
}
