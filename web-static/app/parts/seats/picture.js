/**
 * The picture of the seats on a canvas: what of the layout is in sight, at the present size. From afar a whole section is
 * one image with a point a seat; nearer, only seats in sight are drawn. So 100,000 cost no more than what fits the screen.
 */
import { t } from "../../i18n.js";
import { KIND } from "./names.js";
import { paletteOf, pixelsOf, Sprites } from "./paint.js";

/** Below this, or with more in sight than that, a seat is a point. */
const FAR_PX = 4.5;
const MOST_DRAWN = 15_000;
const NUMBERS_PX = 21;
const MARK_PX = 10;
const CHANGE_MS = 420;
/** How much of the room above a section its name may take, in pitches. */
const HEADROOM = 1.5;
/** Of more changes at once, none is animated: nobody could follow them. */
const MOST_MOVING = 1_500;

export class Picture {
  /** @type {import("./layout.js").Layout} */ layout;
  /** What each seat is, the seat 1 first. @type {Uint8Array} */ kinds;
  /** The seat with the cursor, where that is to be seen. @type {number | null} */ cursor = null;
  #context; #font;
  #palette = {};
  /** @type {Uint32Array} */ #pixels;
  /** @type {Sprites | null} */ #sprites = null;
  /** @type {Map<object, {canvas: OffscreenCanvas, image: ImageData, isStale: boolean}>} by block */ #images = new Map();
  /** @type {Map<number, {from: number, at: number}>} */ #moving = new Map();
  /** Seats that concern the buyer: to be seen also from afar. @type {Set<number>} */ #marked = new Set();

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#font = getComputedStyle(document.body).fontFamily;
  }

  /** The colours may be others: another theme. */
  repaint() {
    this.#palette = paletteOf(this.canvas.parentElement);
    this.#font = getComputedStyle(document.body).fontFamily;
    this.#pixels = pixelsOf(this.#palette);
    this.#sprites = null;
    this.#images.clear();
  }

  /** @param {import("./layout.js").Layout} layout */
  place(layout) {
    this.layout = layout;
    this.#images.clear();
  }

  /** @param {number} seat @param {number} kind @param {boolean} isMoving shown as a change */
  set(seat, kind, isMoving) {
    const before = this.kinds[seat - 1];
    this.kinds[seat - 1] = kind;
    if (kind >= KIND.chosen) this.#marked.add(seat);
    else this.#marked.delete(seat);
    const { block } = this.layout.place(seat);
    const image = this.#images.get(block);
    if (image) {
      new Uint32Array(image.image.data.buffer)[seat - block.first] = this.#pixels[kind];
      image.isStale = true;
    }
    if (isMoving && this.#moving.size < MOST_MOVING) this.#moving.set(seat, { from: before, at: performance.now() });
  }

  /**
   * @param {{pitch: number, left: number, top: number, width: number, height: number, ratio: number}} view left and top:
   *   where the layout's origin is
   * @returns {boolean} whether something still moves
   */
  draw({ pitch, left, top, width, height, ratio }) {
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.layout.stage > 0) this.#stage(pitch, left, top);
    const parts = [...this.layout.within(-left / pitch, -top / pitch, (width - left) / pitch, (height - top) / pitch)];
    const seen = parts.reduce((sum, part) =>
      sum + (part.toColumn - part.fromColumn + 1) * (part.toRow - part.fromRow + 1), 0);
    const isFar = pitch < FAR_PX || seen > MOST_DRAWN;
    for (const part of parts) {
      if (isFar) this.#drawFar(part.block, pitch, left, top);
      else this.#drawNear(part, pitch, left, top, ratio);
    }
    for (const block of this.layout.blocks) this.#words(block, pitch, left, top, width, height);
    if (isFar) this.#marks(pitch, left, top, ratio);
    if (isFar) this.#moving.clear();
    if (this.cursor !== null) this.#ring(this.cursor, pitch, left, top);
    return this.#moving.size > 0;
  }

  #drawFar(block, pitch, left, top) {
    let kept = this.#images.get(block);
    if (!kept) {
      const canvas = new OffscreenCanvas(block.columns, block.rows);
      const image = new ImageData(block.columns, block.rows);
      const pixels = new Uint32Array(image.data.buffer);
      for (let at = 0; at < block.count; at += 1) pixels[at] = this.#pixels[this.kinds[block.first - 1 + at]];
      kept = { canvas, image, isStale: true };
      this.#images.set(block, kept);
    }
    if (kept.isStale) kept.canvas.getContext("2d").putImageData(kept.image, 0, 0);
    kept.isStale = false;
    this.#context.imageSmoothingEnabled = pitch < 1.5;
    this.#context.drawImage(kept.canvas, left + block.x * pitch, top + block.y * pitch,
      block.columns * pitch, block.rows * pitch);
  }

  #drawNear({ block, fromColumn, toColumn, fromRow, toRow }, pitch, left, top, ratio) {
    if (this.#sprites?.pitch !== pitch || this.#sprites.ratio !== ratio) {
      this.#sprites = new Sprites(this.#palette, pitch, ratio);
    }
    const context = this.#context;
    context.imageSmoothingEnabled = true;
    const now = performance.now();
    for (let row = fromRow; row <= toRow; row += 1) {
      for (let column = fromColumn; column <= toColumn; column += 1) {
        const at = row * block.columns + column;
        if (at >= block.count) break;
        const seat = block.first + at;
        const [x, y] = [left + (block.x + column) * pitch, top + (block.y + row) * pitch];
        const kind = this.kinds[seat - 1];
        const moving = this.#moving.get(seat);
        if (moving) this.#drawMoving(seat, kind, moving, (now - moving.at) / CHANGE_MS, x, y);
        else this.#sprites.draw(context, kind, x, y);
        if (pitch >= NUMBERS_PX) this.#number(block, seat, column, kind, x + pitch / 2, y + pitch / 2, pitch);
      }
    }
    for (const [seat, { at }] of this.#moving) if (now - at > CHANGE_MS) this.#moving.delete(seat);
  }

  /** One kind fades into the other, which swells a little. */
  #drawMoving(seat, kind, { from }, share, x, y) {
    const context = this.#context;
    const done = Math.min(1, share);
    context.globalAlpha = 1 - done;
    this.#sprites.draw(context, from, x, y);
    context.globalAlpha = done;
    this.#sprites.draw(context, kind, x, y, 1 + 0.28 * Math.sin(Math.PI * done));
    context.globalAlpha = 1;
  }

  #number(block, seat, column, kind, x, y, pitch) {
    const ink = this.#sprites.inks[kind];
    if (!ink) return;
    const words = String(block.name === null ? seat : column + 1);
    const context = this.#context;
    context.fillStyle = ink;
    context.font = `650 ${Math.min(pitch * 0.36, (pitch * 1.15) / words.length).toFixed(1)}px ${this.#font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(words, x, y + pitch * 0.02);
  }

  /** A section's name above it, and beside its rows their numbers. */
  #words(block, pitch, left, top, width, height) {
    if (block.name === null) return;
    const context = this.#context;
    const [x, y] = [left + block.x * pitch, top + block.y * pitch];
    const size = Math.min(17, Math.max(11, pitch * 0.8));
    const [middle, wide] = [x + (block.columns * pitch) / 2, block.columns * pitch];
    context.fillStyle = this.#palette.words;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.font = `700 ${size}px ${this.#font}`;
    // In a wide section it stays in sight.
    const seen = wide > width ? Math.min(Math.max(width / 2, x), x + wide) : middle;
    const most = Math.max(wide + 2 * pitch, 24);
    if (HEADROOM * pitch >= size) context.fillText(block.name, seen, y - pitch * 0.45, most);
    else this.#plate(block.name, middle, y + (block.rows * pitch) / 2, size, wide - 4);
    if (pitch < 10) return;
    context.font = `500 ${Math.min(12, pitch * 0.45).toFixed(1)}px ${this.#font}`;
    context.textBaseline = "middle";
    const inSight = (px) => Math.min(block.rows, Math.max(0, Math.round((px - y) / pitch)));
    for (let row = inSight(-pitch); row < inSight(height + pitch); row += 1) {
      context.fillText(String(row + 1), x - pitch * 0.7, y + (row + 0.5) * pitch);
    }
  }

  /** From afar there is no room above a section: its name lies on it, if it fits. */
  #plate(name, x, y, size, most) {
    const context = this.#context;
    const wide = context.measureText(name).width + 12;
    if (wide > most) return;
    context.fillStyle = this.#palette.ground;
    context.beginPath();
    context.roundRect(x - wide / 2, y - size * 0.85, wide, size * 1.7, 4);
    context.fill();
    context.fillStyle = this.#palette.words;
    context.textBaseline = "middle";
    context.fillText(name, x, y + 1);
  }

  #marks(pitch, left, top, ratio) {
    if (this.#marked.size === 0) return;
    const size = Math.max(MARK_PX, pitch);
    const sprites = new Sprites(this.#palette, size, ratio);
    for (const seat of this.#marked) {
      const { x, y } = this.layout.place(seat);
      const kind = this.kinds[seat - 1];
      sprites.draw(this.#context, kind, left + (x + 0.5) * pitch - size / 2, top + (y + 0.5) * pitch - size / 2);
    }
  }

  #stage(pitch, left, top) {
    const context = this.#context;
    const wide = Math.min(this.layout.width * 0.6, 46) * pitch;
    const high = this.layout.stage * pitch * 0.62;
    const x = left + (this.layout.width * pitch - wide) / 2;
    context.fillStyle = this.#palette.stage;
    context.beginPath();
    context.roundRect(x, top + 0.3 * pitch, wide, high, [pitch * 0.2, pitch * 0.2, high * 0.5, high * 0.5]);
    context.fill();
    context.fillStyle = this.#palette.words;
    context.font = `600 ${Math.min(14, Math.max(9, high * 0.6)).toFixed(1)}px ${this.#font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    if (high >= 12) context.fillText(t("seats.stage"), x + wide / 2, top + 0.3 * pitch + high / 2);
  }

  /** Also from afar it is to be seen where the cursor is. */
  #ring(seat, pitch, left, top) {
    const { x, y } = this.layout.place(seat);
    const size = Math.max(pitch * 0.98, 12);
    const context = this.#context;
    context.strokeStyle = this.#palette.focus;
    context.lineWidth = Math.max(2.5, Math.min(4, pitch / 10));
    context.beginPath();
    context.roundRect(left + (x + 0.5) * pitch - size / 2, top + (y + 0.5) * pitch - size / 2, size, size, size * 0.28);
    context.stroke();
  }
}
