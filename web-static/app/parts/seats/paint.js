/**
 * How seats look: each kind has a shape and a colour of its own, so that neither alone has to tell them apart. A seat is
 * painted once for each kind and size, and copied from then on.
 */
import { KIND, KINDS } from "./names.js";

/** How much of the pitch a seat takes. */
const SHARE = 0.84;
/** From this size on a seat is large enough for more than a shape. */
const DETAILED_PX = 13;
/** Names of colours in `seats.css`. */
const COLOURS = ["ground", "free", "free-edge", "free-ink", "held", "sold", "chosen", "chosen-ink", "mine", "mine-ink",
  "paid", "paid-ink", "unknown", "words", "focus", "stage", "far-free", "far-held", "far-sold"];

/**
 * Colours as a canvas takes them: a custom property is only resolved where it is used.
 * @param {HTMLElement} element in which they hold
 * @returns {Record<string, string>}
 */
export function paletteOf(element) {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.append(probe);
  const palette = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--seat-${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return palette;
}

/** Seats from afar: one point each, in the colours of their kinds. @returns {Uint32Array} by kind, as pixels */
export function pixelsOf(palette) {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const names = { unknown: "unknown", free: "far-free", held: "far-held", sold: "far-sold", chosen: "chosen", mine: "mine",
    paid: "paid" };
  return Uint32Array.from(KINDS, (kind) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = palette[names[kind]];
    context.fillRect(0, 0, 1, 1);
    return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
  });
}

/** A picture for each kind, for one size. */
export class Sprites {
  #pictures;
  /** The kinds' colours for numbers. @type {string[]} */ inks;

  /** @param {Record<string, string>} palette @param {number} pitch @param {number} ratio device pixels by pixel */
  constructor(palette, pitch, ratio) {
    this.pitch = pitch;
    this.ratio = ratio;
    this.palette = palette;
    this.inks = KINDS.map((kind) => ({ free: palette["free-ink"], chosen: palette["chosen-ink"],
      mine: palette["mine-ink"] })[kind] ?? null);
    const size = Math.max(1, Math.ceil(pitch * ratio));
    this.#pictures = KINDS.map((kind) => {
      const canvas = new OffscreenCanvas(size, size);
      const context = canvas.getContext("2d");
      context.scale(size / pitch, size / pitch);
      paintSeat(context, kind, pitch, palette);
      return canvas;
    });
  }

  /** @param {CanvasRenderingContext2D} context @param {number} kind */
  draw(context, kind, x, y, scale = 1) {
    const size = this.pitch * scale;
    const aside = (size - this.pitch) / 2;
    context.drawImage(this.#pictures[kind], x - aside, y - aside, size, size);
  }
}

/** Paints one seat into the square from 0 to `pitch`. */
export function paintSeat(context, kind, pitch, palette) {
  const size = pitch * SHARE;
  const at = (pitch - size) / 2;
  const isDetailed = pitch >= DETAILED_PX;
  const radius = size * 0.24;
  const square = (inset = 0) => {
    context.beginPath();
    context.roundRect(at + inset, at + inset, size - 2 * inset, size - 2 * inset, Math.max(0, radius - inset));
  };
  const disc = () => {
    context.beginPath();
    context.arc(pitch / 2, pitch / 2, size / 2, 0, 2 * Math.PI);
    context.fill();
  };
  const edge = Math.max(0.75, Math.min(1.75, pitch / 14));
  context.lineWidth = edge;
  switch (kind) {
    case "free":
      square(edge / 2);
      context.fillStyle = palette.free;
      context.fill();
      context.strokeStyle = palette["free-edge"];
      if (pitch >= 6) context.stroke();
      return;
    case "held":
      context.strokeStyle = palette.held;
      square(edge / 2);
      context.stroke();
      context.clip();
      hatch(context, pitch, isDetailed ? pitch / 5 : pitch / 3);
      return;
    case "sold":
      context.strokeStyle = palette.sold;
      context.lineWidth = Math.max(1, pitch / 11);
      cross(context, pitch / 2, size * 0.2);
      return;
    case "chosen":
      context.fillStyle = context.strokeStyle = palette.chosen;
      if (isDetailed) {
        context.lineWidth = pitch / 16;
        square(context.lineWidth / 2);
        context.stroke();
        square(pitch / 8);
      } else square();
      context.fill();
      return;
    case "mine":
      context.fillStyle = palette.mine;
      disc();
      return;
    case "paid":
      context.fillStyle = palette.paid;
      disc();
      context.strokeStyle = palette["paid-ink"];
      context.lineWidth = Math.max(1, pitch / 11);
      tick(context, pitch / 2, size * 0.24);
      return;
    default:
      context.strokeStyle = palette.unknown;
      square(edge / 2);
      context.stroke();
  }
}

function hatch(context, pitch, step) {
  context.beginPath();
  for (let x = -pitch; x < pitch; x += step) {
    context.moveTo(x, pitch);
    context.lineTo(x + pitch, 0);
  }
  context.stroke();
}

function cross(context, middle, reach) {
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(middle - reach, middle - reach);
  context.lineTo(middle + reach, middle + reach);
  context.moveTo(middle + reach, middle - reach);
  context.lineTo(middle - reach, middle + reach);
  context.stroke();
}

function tick(context, middle, reach) {
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(middle - reach, middle + reach * 0.1);
  context.lineTo(middle - reach * 0.25, middle + reach * 0.8);
  context.lineTo(middle + reach, middle - reach * 0.7);
  context.stroke();
}

/** @param {number} kind @returns {boolean} whether such a seat may be chosen or given up */
export function isOpen(kind) {
  return kind === KIND.free || kind === KIND.chosen;
}
