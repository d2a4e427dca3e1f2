/** The seats of a date that is being made: so many, or by sections. */
import { h, refresh } from "../dom.js";
import { t } from "../i18n.js";
import { field } from "./field.js";

const MOST_SECTIONS = 200;

/**
 * @returns {{fields: import("./field.js").Field[], element: HTMLElement,
 *            read: () => number | {sections: import("../stores/concerts.js").Section[]} | undefined}} read: what the
 *   contract calls `seats`
 */
export function sectionFields() {
  let isBySections = false;
  const seats = field("seats", { label: () => t("date.seats"), hint: () => t("date.seatsHint"), type: "number",
    inputmode: "numeric", step: "1", min: "1", value: "50" });
  const list = h("ul", { class: "sections" });
  /** @type {{name: HTMLInputElement, rows: HTMLInputElement, seatsPerRow: HTMLInputElement}[]} */ const sections = [];
  const mode = (value, words) => {
    const input = h("input", { type: "radio", name: "seatKind", checked: value === isBySections,
      onchange: () => { isBySections = value; refresh(element); } });
    return h("label", {}, input, h("span", {}, () => t(words)));
  };
  const element = h("div", { class: "section-fields" },
    h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, () => t("date.kind")),
      mode(false, "date.numbered"), mode(true, "date.sections")),
    h("div", { hidden: () => isBySections }, seats.element),
    h("div", { class: "section-fields", hidden: () => !isBySections }, list,
      h("button", { type: "button", class: "secondary", id: "add-section", onclick: () => add(true) },
        () => t("date.addSection")),
      h("p", { role: "status" }, () => t("date.total", { n: total() }))));

  function add(isAsked) {
    if (sections.length >= MOST_SECTIONS) return;
    const one = (words, attributes) => h("input", { "aria-label": () => t(words), placeholder: () => t(words),
      oninput: () => refresh(element), autocomplete: "off", ...attributes });
    const whole = { type: "number", inputmode: "numeric", min: "1", step: "1" };
    const section = {
      name: one("date.sectionName", { value: letter(sections.length), maxlength: "64", "data-field": "sectionName" }),
      rows: one("date.rows", { ...whole, value: "10", "data-field": "rows" }),
      seatsPerRow: one("date.seatsPerRow", { ...whole, value: "20", "data-field": "seatsPerRow" }),
    };
    const item = h("li", { class: "field" }, section.name, section.rows, h("span", { "aria-hidden": "true" }, "×"),
      section.seatsPerRow,
      h("button", { type: "button", class: "quiet", onclick: () => drop(section, item),
        "aria-label": () => t("date.dropSection", { name: section.name.value }) }, "×"));
    sections.push(section);
    list.append(item);
    refresh(element);
    if (isAsked) section.name.focus();
  }

  function drop(section, item) {
    sections.splice(sections.indexOf(section), 1);
    item.remove();
    refresh(element);
    element.querySelector("#add-section").focus();
  }

  function total() {
    const size = ({ rows, seatsPerRow }) => Number(rows.value) * Number(seatsPerRow.value) || 0;
    return sections.reduce((sum, section) => sum + size(section), 0);
  }

  add(false);
  return {
    // It has its place in `element`, and is a field of the form only for what is wrong with it.
    fields: [{ ...seats, element: null }],
    element,
    read() {
      if (!isBySections) return seats.input.value === "" ? undefined : Number(seats.input.value);
      return { sections: sections.map(({ name, rows, seatsPerRow }) => ({
        name: name.value.trim(), rows: Number(rows.value), seatsPerRow: Number(seatsPerRow.value),
      })) };
    },
  };
}

/** A, B, … Z, AA, … */
function letter(at) {
  return (at >= 26 ? letter(Math.floor(at / 26) - 1) : "") + String.fromCharCode(65 + (at % 26));
}
