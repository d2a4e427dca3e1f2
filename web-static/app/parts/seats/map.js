/**
 * The seat map: to be looked at, pointed at, and walked through by keyboard. For assistive technology it is a grid whose
 * one present cell is the seat with the cursor; what changed by one's own doing is said.
 */
import { h, refresh } from "../../dom.js";
import { t } from "../../i18n.js";
import { theme } from "../../theme.js";
import { Layout } from "./layout.js";
import { KIND, KINDS, seatName } from "./names.js";
import { isOpen, paintSeat, paletteOf } from "./paint.js";
import { Picture } from "./picture.js";
import { Port } from "./port.js";

/** Smaller than this, a click means "nearer", not "this one". */
const LEAST_PX = { mouse: 10, touch: 20 };
const NEAR_PX = 30;
const LEGEND = ["free", "held", "sold", "chosen", "mine", "paid"];
const LEGEND_PX = 20;
const PAGE_ROWS = 10;
/** How much larger at once. */
const STEP = 1.6;

let made = 0;

/**
 * @param {{date: () => import("../../stores/concerts.js").Performance, label: () => string,
 *          kindOf: (seat: number) => number, toggle: (seat: number) => string}} options kindOf: one of `KIND`;
 *   toggle: chooses a seat or gives it up, and says what came of it
 */
export function seatMap({ date, label, kindOf, toggle }) {
  const id = `seats-${++made}`;
  let cursor = 1;
  let pointed = null;
  let said = "";
  let isTold = false;
  let width = 0;
  const port = new Port({ draw, clicked, hovered });
  const picture = new Picture(port.canvas);
  picture.kinds = new Uint8Array(date().seats);

  const row = h("div", { role: "row", class: "unseen" });
  port.element.append(row);
  for (const [name, value] of Object.entries({ id, role: "grid", "aria-multiselectable": "true",
    "aria-describedby": `${id}-keys` })) port.element.setAttribute(name, value);

  const button = (words, sign, act, isOff) => h("button", { type: "button", class: "quiet seats__tool",
    "aria-label": () => t(words), title: () => t(words), "aria-disabled": () => (isOff() ? "true" : null), onclick: act },
  h("span", { "aria-hidden": "true" }, sign));
  const never = () => false;
  const tools = h("div", { class: "seats__tools" },
    h("button", { type: "button", class: "quiet", "data-tool": "next", onclick: nextFree }, () => t("seats.nextFree")),
    button("seats.smaller", "−", () => zoom(1 / STEP), () => port.isFitted),
    button("seats.larger", "+", () => zoom(STEP), () => port.isLargest),
    button("seats.whole", "⤢", () => port.fit(), never));
  const readout = h("p", { class: "seats__readout", "aria-hidden": "true" }, readoutWords);
  const swatches = LEGEND.map((kind) => [kind, h("canvas", { "aria-hidden": "true" })]);
  const legend = h("ul", { class: "seats__legend", "aria-label": () => t("seats.legend") },
    swatches.map(([kind, canvas]) => h("li", {}, canvas, h("span", {}, () => t(`seats.kind.${kind}`)))));
  const element = h("div", { class: "seats", "data-contrast": CONTRAST },
    h("div", { class: "seats__head" }, readout, tools),
    port.element,
    h("p", { class: "unseen", id: `${id}-keys` }, () => t("seats.keys")),
    h("p", { class: "unseen", role: "status" }, () => said),
    legend);

  port.element.addEventListener("keydown", pressed);
  port.element.addEventListener("focus", () => { describe(); port.redraw(); });
  port.element.addEventListener("blur", () => { refresh(readout); port.redraw(); });

  function draw() {
    picture.cursor = hasCursor() ? cursor : null;
    refresh(tools);
    return picture.draw(port.view);
  }

  /** By mouse one sees where one points; the ring is for the keyboard. */
  function hasCursor() {
    return document.activeElement === port.element && port.element.matches(":focus-visible");
  }

  function readoutWords() {
    const seat = pointed ?? (document.activeElement === port.element ? cursor : null);
    if (seat !== null) return seatWords(seat);
    return t(matchMedia("(pointer: coarse)").matches ? "seats.tap" : "seats.point");
  }

  function seatWords(seat) {
    return t("seats.seat", { seat: seatName(date(), seat), kind: t(`seats.kind.${KINDS[picture.kinds[seat - 1]]}`) });
  }

  /** The present cell. A new one each time, so that it is read. */
  function describe() {
    const cell = `${id}-seat-${cursor}`;
    const kind = picture.kinds[cursor - 1];
    row.replaceChildren(h("div", { role: "gridcell", id: cell, "data-seat": cursor, "data-kind": KINDS[kind],
      "aria-selected": String(kind === KIND.chosen), "aria-disabled": isOpen(kind) ? null : "true" }, seatWords(cursor)));
    port.element.setAttribute("aria-activedescendant", cell);
    refresh(readout);
  }

  function hovered(x, y) {
    const seat = picture.layout?.at(x, y) ?? null;
    if (seat === pointed) return;
    pointed = seat;
    const isClickable = seat !== null && isOpen(picture.kinds[seat - 1]) && port.pitch >= LEAST_PX.mouse;
    port.element.style.cursor = isClickable ? "pointer" : "";
    refresh(readout);
  }

  function clicked(x, y, isCoarse) {
    if (port.pitch < (isCoarse ? LEAST_PX.touch : LEAST_PX.mouse)) return port.zoomTo(NEAR_PX, x, y);
    const seat = picture.layout.at(x, y);
    if (seat === null) return undefined;
    cursor = seat;
    return act(seat);
  }

  function act(seat) {
    said = toggle(seat);
    update([seat]);
    describe();
    refresh(element);
  }

  function go(seat) {
    cursor = seat;
    if (port.pitch < LEAST_PX.mouse) {
      const { x, y } = picture.layout.place(seat);
      port.zoomTo(NEAR_PX, x + 0.5, y + 0.5);
    }
    const { x, y } = picture.layout.place(seat);
    port.show(x, y);
    said = "";
    describe();
  }

  function nextFree() {
    const { kinds } = picture;
    for (let step = 1; step <= kinds.length; step += 1) {
      const seat = ((cursor - 1 + step) % kinds.length) + 1;
      if (kinds[seat - 1] !== KIND.free) continue;
      port.element.focus({ preventScroll: true, focusVisible: true });
      return go(seat);
    }
    said = t("seats.noneFree");
    return refresh(element);
  }

  function zoom(factor) {
    port.zoomTo(port.pitch * factor);
  }

  function pressed(event) {
    if (event.altKey || event.metaKey) return;
    const { layout } = picture;
    const [first, last] = layout.row(cursor);
    const far = (dy) => {
      let seat = cursor;
      for (let step = 0; step < PAGE_ROWS; step += 1) seat = layout.next(seat, 0, dy);
      return seat;
    };
    const goals = {
      ArrowLeft: () => layout.next(cursor, -1, 0), ArrowRight: () => layout.next(cursor, 1, 0),
      ArrowUp: () => layout.next(cursor, 0, -1), ArrowDown: () => layout.next(cursor, 0, 1),
      Home: () => (event.ctrlKey ? 1 : first), End: () => (event.ctrlKey ? layout.count : last),
      PageUp: () => far(-1), PageDown: () => far(1),
    };
    const acts = {
      " ": () => act(cursor), Enter: () => act(cursor), n: nextFree,
      "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: () => port.fit(),
    };
    const isPlain = !event.ctrlKey || event.key === "Home" || event.key === "End";
    if (!isPlain || !(event.key in goals || event.key in acts)) return;
    event.preventDefault();
    if (event.key in goals) go(goals[event.key]());
    else acts[event.key]();
  }

  /** @param {number[]} [seats] those that may be others now; without them, all */
  function update(seats) {
    const { kinds } = picture;
    const isMoving = isTold && !port.isMotionReduced;
    const look = (seat) => {
      const kind = kindOf(seat);
      if (kind !== kinds[seat - 1]) picture.set(seat, kind, isMoving && kinds[seat - 1] !== KIND.unknown);
    };
    if (!picture.layout) return;
    if (seats) seats.forEach(look);
    else for (let seat = 1; seat <= kinds.length; seat += 1) look(seat);
    isTold = true;
    port.element.setAttribute("aria-label", label());
    if (document.activeElement === port.element && (!seats || seats.includes(cursor))) describe();
    refresh(readout);
    port.redraw();
  }

  function place() {
    const room = port.element.clientWidth;
    if (room === 0 || room === width) return;
    width = room;
    const proportion = room < 560 ? 0.95 : 1.75;
    if (!picture.layout || picture.proportion !== proportion) {
      picture.proportion = proportion;
      picture.place(new Layout(date().seats, date().sections, proportion));
    }
    port.place(picture.layout, room);
    if (!isTold) update();
  }

  function repaint() {
    picture.repaint();
    const palette = paletteOf(element);
    const ratio = devicePixelRatio || 1;
    for (const [kind, canvas] of swatches) {
      canvas.width = canvas.height = LEGEND_PX * ratio;
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      paintSeat(context, kind, LEGEND_PX, palette);
    }
    port.redraw();
  }

  const watching = new ResizeObserver(() => {
    if (width === 0) repaint();
    place();
  });
  watching.observe(port.element);
  const stopTheme = theme.listen(repaint);

  return {
    element,
    update,
    close() {
      watching.disconnect();
      stopTheme();
      port.stop();
    },
  };
}

/** What of the colours has to be told apart, for the tests: front, what is behind it, and the least contrast. */
const CONTRAST = "free-ink/free/4.5 chosen-ink/chosen/4.5 mine-ink/mine/4.5 paid-ink/paid/3 free-edge/ground/3 "
  + "held/ground/3 chosen/ground/3 mine/ground/3 paid/ground/3 words/ground/4.5 words/stage/4.5 focus/ground/3 "
  + "far-free/far-sold/1.5";
