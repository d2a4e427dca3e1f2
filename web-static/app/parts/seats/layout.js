/**
 * Where the seats of a performance are: pure geometry, in units of one seat's pitch.
 *
 * Sections are blocks, laid out from the left to the right and in as many shelves as it takes for the whole to have
 * about the asked proportions. Seats that are only numbered are one block of rows without names. Nothing is kept for a
 * single seat: where the 73,211th is, is computed from the block that it is in.
 *
 * @typedef {object} Block
 * @property {string | null} name
 * @property {number} first its first seat
 * @property {number} rows
 * @property {number} columns
 * @property {number} count
 * @property {number} x of its first seat's left edge
 * @property {number} y of its first row's upper edge
 */

/** Beside a block's seats there is room for the rows' numbers, above them for the section's name. */
const MARGIN = 1.6;
const HEAD = 1.7;
const GAP = 1.4;
const STAGE = 2.2;

export class Layout {
  /** @type {Block[]} */ blocks = [];
  width = 0;
  height = 0;
  /** How high the stage is; seats that are only numbered have none. */ stage = 0;
  #count;

  /**
   * @param {number} count of seats
   * @param {import("../../stores/concerts.js").Section[] | null} sections
   * @param {number} proportion width by height that the whole should have about
   */
  constructor(count, sections, proportion) {
    this.#count = count;
    if (sections) this.#placeSections(sections, proportion);
    else this.#placeNumbered(count, proportion);
  }

  get count() {
    return this.#count;
  }

  #placeNumbered(count, proportion) {
    const most = Math.ceil(Math.sqrt(count * proportion));
    // Rows of a round number of seats are easier to find one's way in.
    const columns = Math.min(count, most <= 10 ? 10 : most <= 20 ? 20 : Math.ceil(most / 10) * 10);
    const rows = Math.ceil(count / columns);
    this.blocks = [{ name: null, first: 1, rows, columns, count, x: 0.5, y: 0.5 }];
    this.width = columns + 1;
    this.height = rows + 1;
  }

  #placeSections(sections, proportion) {
    const sizes = sections.map(({ rows, seatsPerRow }) => ({ w: seatsPerRow + 2 * MARGIN, h: rows + HEAD + GAP }));
    const area = sizes.reduce((sum, { w, h }) => sum + w * h, 0);
    const wanted = Math.max(Math.sqrt(area * proportion), ...sizes.map(({ w }) => w));
    const shelves = [];
    for (const [at, size] of sizes.entries()) {
      const last = shelves.at(-1);
      if (!last || last.w + size.w > wanted * 1.05) shelves.push({ members: [at], ...size });
      else {
        last.members.push(at);
        last.w += size.w;
        last.h = Math.max(last.h, size.h);
      }
    }
    this.stage = STAGE;
    this.width = Math.max(...shelves.map(({ w }) => w));
    let first = 1;
    let y = STAGE + 0.6;
    for (const { members, w, h } of shelves) {
      let x = (this.width - w) / 2;
      for (const at of members) {
        const { name, rows, seatsPerRow } = sections[at];
        const count = Math.max(0, Math.min(rows * seatsPerRow, this.#count - first + 1));
        this.blocks.push({ name, first, rows, columns: seatsPerRow, count, x: x + MARGIN, y: y + HEAD });
        first += rows * seatsPerRow;
        x += sizes[at].w;
      }
      y += h;
    }
    this.height = y;
  }

  /** @param {number} seat @returns {{block: Block, row: number, column: number, x: number, y: number}} from 0 */
  place(seat) {
    const block = this.blocks.findLast(({ first }) => first <= seat) ?? this.blocks[0];
    const at = seat - block.first;
    const [row, column] = [Math.floor(at / block.columns), at % block.columns];
    return { block, row, column, x: block.x + column, y: block.y + row };
  }

  /** @returns {number | null} the seat at a point */
  at(x, y) {
    for (const block of this.blocks) {
      const [column, row] = [Math.floor(x - block.x), Math.floor(y - block.y)];
      if (column < 0 || row < 0 || column >= block.columns || row >= block.rows) continue;
      return seatIn(block, row, column);
    }
    return null;
  }

  /**
   * The next seat in a direction: in the same block, else in the nearest block that lies there.
   * @param {number} seat @param {-1 | 0 | 1} dx @param {-1 | 0 | 1} dy
   * @returns {number} the same seat, where nothing lies there
   */
  next(seat, dx, dy) {
    const from = this.place(seat);
    const inside = seatIn(from.block, from.row + dy, from.column + dx);
    if (inside !== null) return inside;
    // Straight down into a last row that ends early: its last seat.
    const last = from.block.first + from.block.count - 1;
    if (dy > 0 && this.row(seat)[1] < last) return last;
    let best = seat;
    let least = Infinity;
    for (const block of this.blocks) {
      if (block === from.block || block.count === 0) continue;
      const ahead = dx > 0 ? block.x - from.x : dx < 0 ? from.x - (block.x + block.columns - 1)
        : dy > 0 ? block.y - from.y : from.y - (block.y + block.rows - 1);
      if (ahead <= 0) continue;
      const column = clamp(Math.round(from.x - block.x), 0, block.columns - 1);
      const row = clamp(Math.round(from.y - block.y), 0, block.rows - 1);
      const aside = dx === 0 ? Math.abs(block.x + column - from.x) : Math.abs(block.y + row - from.y);
      const distance = ahead + 4 * aside;
      if (distance >= least) continue;
      least = distance;
      best = dx === 0 ? seatIn(block, dy > 0 ? 0 : block.rows - 1, column) ?? block.first + block.count - 1
        : seatIn(block, row, dx > 0 ? 0 : block.columns - 1) ?? block.first + block.count - 1;
    }
    return best;
  }

  /** @param {number} seat @returns {[first: number, last: number]} of its row */
  row(seat) {
    const { block, row } = this.place(seat);
    const first = block.first + row * block.columns;
    return [first, Math.min(first + block.columns, block.first + block.count) - 1];
  }

  /** The blocks that touch a rectangle, each with the rows and columns that do. */
  *within(left, top, right, bottom) {
    for (const block of this.blocks) {
      const fromColumn = Math.max(0, Math.floor(left - block.x));
      const toColumn = Math.min(block.columns - 1, Math.floor(right - block.x));
      const fromRow = Math.max(0, Math.floor(top - block.y));
      const toRow = Math.min(block.rows - 1, Math.floor(bottom - block.y));
      if (fromColumn <= toColumn && fromRow <= toRow) yield { block, fromColumn, toColumn, fromRow, toRow };
    }
  }
}

/** @returns {number | null} null outside of the block, and where its last row ends early */
function seatIn(block, row, column) {
  if (row < 0 || row >= block.rows || column < 0 || column >= block.columns) return null;
  const at = row * block.columns + column;
  return at < block.count ? block.first + at : null;
}

function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
