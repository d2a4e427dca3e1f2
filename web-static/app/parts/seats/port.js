/**
 * The window on the seats: what is in sight, and how large. It scrolls as everything in a browser does, by wheel, finger,
 * bar or drag; the canvas stays in sight and draws what belongs there. Two fingers, Ctrl with the wheel, and `zoomTo`
 * change the size.
 */
import { h } from "../../dom.js";

const LARGEST_PX = 52;
const ZOOM_MS = 200;
/** A press that moves this far is no click. */
const DRAG_PX = 5;
const LEAST_HEIGHT = 220;
const SHARE_OF_SCREEN = 0.66;

export class Port {
  canvas = h("canvas", { class: "seats__canvas", "aria-hidden": "true" });
  #space = h("div", { class: "seats__space", role: "presentation" }, this.canvas);
  element = h("div", { class: "seats__port", tabindex: "0" }, this.#space);
  pitch = 0;
  #fit = 1;
  #size = { width: 0, height: 0 };
  #layout = { width: 1, height: 1 };
  #frame = 0;
  #isDragged = false;
  #draw; #reducesMotion = matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * @param {{draw: () => boolean, clicked: (x: number, y: number, isCoarse: boolean) => void,
   *          hovered: (x: number, y: number) => void}} options draw: whether to draw again in the next frame; x and y in
   *   the layout's units
   */
  constructor({ draw, clicked, hovered }) {
    this.#draw = draw;
    this.element.addEventListener("scroll", () => this.redraw(), { passive: true });
    this.#followPointer(clicked, hovered);
    this.#followPinch();
    this.element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.#zoomAt(this.pitch * Math.exp(-event.deltaY / 200), ...this.#inside(event));
    }, { passive: false });
  }

  get isMotionReduced() {
    return this.#reducesMotion.matches;
  }

  /** @returns {boolean} whether all is in sight */
  get isFitted() {
    return this.pitch <= this.#fit * 1.01;
  }

  get isLargest() {
    return this.pitch >= LARGEST_PX;
  }

  /** What the picture needs to know. */
  get view() {
    const { width, height } = this.#size;
    const [left, top] = this.#origin();
    return { pitch: this.pitch, left, top, width, height, ratio: devicePixelRatio || 1 };
  }

  /**
   * The layout, or the room for it, is another. What is in sight stays, if it was not all.
   * @param {import("./layout.js").Layout} layout
   */
  place(layout, width) {
    const wasFitted = this.pitch === 0 || this.isFitted || layout !== this.#layout;
    this.#layout = layout;
    const most = Math.max(LEAST_HEIGHT, innerHeight * SHARE_OF_SCREEN);
    // All in sight, but not so small only because it is high: one scrolls down by habit.
    const wide = width / layout.width;
    this.#fit = Math.min(LARGEST_PX * 0.85, wide, Math.max(most / layout.height, Math.min(wide, 12)));
    const height = Math.round(Math.min(most, Math.max(LEAST_HEIGHT / 2, layout.height * this.#fit)));
    this.#size = { width, height };
    this.element.style.height = `${height}px`;
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.#resize(wasFitted ? this.#fit : Math.max(this.pitch, this.#fit));
  }

  redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#size.width > 0 && this.#draw()) this.redraw();
    });
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  /** @param {number} pitch @param {number} [x] in the layout's units: what is to be in the middle */
  zoomTo(pitch, x, y) {
    const { width, height } = this.#size;
    if (x === undefined) return this.#glide(pitch, width / 2, height / 2);
    const [left, top] = this.#origin();
    return this.#glide(pitch, left + x * this.pitch, top + y * this.pitch, true);
  }

  fit() {
    this.zoomTo(this.#fit);
  }

  /** Scrolls so that a seat is in sight, and not at the very edge. */
  show(x, y) {
    const [left, top] = this.#origin();
    const { width, height } = this.#size;
    const edge = Math.min(this.pitch * 1.5, width / 4);
    const move = (at, room) => (at < edge ? at - edge : at > room - edge ? at - room + edge : 0);
    this.element.scrollBy({
      left: move(left + (x + 0.5) * this.pitch, width), top: move(top + (y + 0.5) * this.pitch, height),
      behavior: "instant",
    });
    this.redraw();
  }

  /** Where the layout's origin is, from the port's upper left corner. */
  #origin() {
    const { width, height } = this.#size;
    const spare = (room, size) => Math.max(0, (room - size * this.pitch) / 2);
    return [spare(width, this.#layout.width) - this.element.scrollLeft,
      spare(height, this.#layout.height) - this.element.scrollTop];
  }

  #resize(pitch) {
    this.pitch = Math.min(LARGEST_PX, Math.max(this.#fit, pitch));
    const { width, height } = this.#size;
    const whole = (size) => Math.floor(size * this.pitch);
    this.#space.style.width = `${Math.max(width, whole(this.#layout.width))}px`;
    this.#space.style.height = `${Math.max(height, whole(this.#layout.height))}px`;
    this.redraw();
  }

  /** Another size, at which what is at this place of the port stays there. */
  #zoomAt(pitch, x, y) {
    const [left, top] = this.#origin();
    const [worldX, worldY] = [(x - left) / this.pitch, (y - top) / this.pitch];
    this.#resize(pitch);
    const [nextLeft, nextTop] = this.#origin();
    this.element.scrollBy({ left: nextLeft + worldX * this.pitch - x, top: nextTop + worldY * this.pitch - y,
      behavior: "instant" });
  }

  #glide(pitch, x, y, toMiddle = false) {
    const from = this.pitch;
    const to = Math.min(LARGEST_PX, Math.max(this.#fit, pitch));
    const began = performance.now();
    const { width, height } = this.#size;
    let [atX, atY] = [x, y];
    const step = (now) => {
      const share = this.isMotionReduced ? 1 : Math.min(1, (now - began) / ZOOM_MS);
      const eased = 1 - (1 - share) ** 3;
      this.#zoomAt(from * (to / from) ** eased, atX, atY);
      if (toMiddle) {
        const [nextX, nextY] = [x + (width / 2 - x) * eased, y + (height / 2 - y) * eased];
        this.element.scrollBy({ left: atX - nextX, top: atY - nextY, behavior: "instant" });
        [atX, atY] = [nextX, nextY];
      }
      if (share < 1) requestAnimationFrame(step);
    };
    step(began);
  }

  /** @returns {[number, number]} from the port's corner */
  #inside({ clientX, clientY }) {
    const { left, top } = this.element.getBoundingClientRect();
    return [clientX - left - this.element.clientLeft, clientY - top - this.element.clientTop];
  }

  #inLayout(event) {
    const [x, y] = this.#inside(event);
    const [left, top] = this.#origin();
    return [(x - left) / this.pitch, (y - top) / this.pitch];
  }

  #followPointer(clicked, hovered) {
    const { element } = this;
    let pressed = null;
    let isCoarse = false;
    element.addEventListener("pointerdown", (event) => {
      isCoarse = event.pointerType === "touch";
      this.#isDragged = false;
      if (event.pointerType === "mouse" && event.button === 0) pressed = { x: event.clientX, y: event.clientY };
    });
    element.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      if (!pressed) return hovered(...this.#inLayout(event));
      const [dx, dy] = [event.clientX - pressed.x, event.clientY - pressed.y];
      if (!this.#isDragged && Math.hypot(dx, dy) < DRAG_PX) return;
      if (!this.#isDragged) element.setPointerCapture(event.pointerId);
      this.#isDragged = true;
      element.scrollBy({ left: -dx, top: -dy, behavior: "instant" });
      pressed = { x: event.clientX, y: event.clientY };
    });
    const released = () => { pressed = null; };
    element.addEventListener("pointerup", released);
    element.addEventListener("pointercancel", released);
    element.addEventListener("pointerleave", () => hovered(-1, -1));
    element.addEventListener("click", (event) => {
      if (this.#isDragged) return;
      clicked(...this.#inLayout(event), isCoarse);
    });
  }

  #followPinch() {
    let last = null;
    const measure = ([a, b]) => ({
      distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY),
      middle: this.#inside({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 }),
    });
    this.element.addEventListener("touchstart", (event) => {
      if (event.touches.length !== 2) return;
      event.preventDefault();
      last = measure(event.touches);
    }, { passive: false });
    this.element.addEventListener("touchmove", (event) => {
      if (event.touches.length !== 2 || !last) return;
      event.preventDefault();
      const now = measure(event.touches);
      this.element.scrollBy({ left: last.middle[0] - now.middle[0], top: last.middle[1] - now.middle[1],
        behavior: "instant" });
      this.#zoomAt(this.pitch * (now.distance / last.distance), ...now.middle);
      last = now;
    }, { passive: false });
    this.element.addEventListener("touchend", () => { last = null; });
  }
}
