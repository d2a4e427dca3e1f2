/**
 * Elements whose text and attributes can be functions. `refresh` asks those functions again and touches the document
 * only where the answer changed: what has focus keeps it, and a live region speaks only when it has something new.
 *
 * A name that starts with `--` is a CSS custom property.
 *
 *     const count = h("p", { class: "count", hidden: () => !sale }, () => t("sale.left", { n: sale.remaining }));
 *     refresh(count);
 */
/** @type {WeakMap<Node, (() => void)[]>} */
const dynamic = new WeakMap();

const SVG = "http://www.w3.org/2000/svg";
/** Set as properties, as their attribute is only a first value. */
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "indeterminate"]);

/** @param {string} tag @param {Record<string, any>} [props] @param {...any} children */
export function h(tag, props = {}, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "function") bind(element, () => value(), (now) => setProperty(element, name, now));
    else setProperty(element, name, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === "function" ? dynamicText(child) : child);
  }
  return element;
}

function dynamicText(read) {
  const node = document.createTextNode("");
  bind(node, () => String(read() ?? ""), (now) => { node.data = now; });
  return node;
}

function bind(node, read, write) {
  let last;
  const update = () => {
    const now = read();
    if (now === last) return;
    last = now;
    write(now);
  };
  update();
  if (!dynamic.has(node)) dynamic.set(node, []);
  dynamic.get(node).push(update);
}

function setProperty(element, name, value) {
  if (PROPERTIES.has(name)) element[name] = value;
  else if (name.startsWith("--")) element.style.setProperty(name, value);
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

/** Asks every function below `root` again. @param {Node} root */
export function refresh(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.currentNode; node; node = walker.nextNode()) {
    for (const update of dynamic.get(node) ?? []) update();
  }
}

/**
 * A list of elements that follows `items`: kept by key, so that an element that stays keeps its focus.
 * `make` gets a function that returns the item's present value.
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string | number} keyOf
 * @param {(item: () => T) => Element} make
 */
export function each(parent, items, keyOf, make) {
  const kept = parent.eachItems ?? new Map();
  const next = new Map();
  for (const item of items) {
    const key = String(keyOf(item));
    const entry = kept.get(key) ?? { item };
    entry.item = item;
    entry.element ??= make(() => entry.item);
    next.set(key, entry);
  }
  for (const [key, entry] of kept) if (!next.has(key)) entry.element.remove();
  let place = parent.firstElementChild;
  for (const { element } of next.values()) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  parent.eachItems = next;
  refresh(parent);
}
