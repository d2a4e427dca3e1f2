// The server, played to the client library, and what its checks are written with.
class PlayedSocket {
  static OPEN = 1;
  static made = [];
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url) {
    this.url = url;
    PlayedSocket.made.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.closedWith = code;
  }
  /** The server accepts, and answers `connect`. */
  accept(answer = {}) {
    this.readyState = 1;
    this.onopen();
    this.tell({ type: "connected", client: "ada", epoch: "e1", offset: 0, recovered: false, ...answer });
  }
  tell(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  /** Answers the ping: by then everything that was missed has been told. */
  pong() {
    this.tell({ type: "pong", at: new Date().toISOString() });
  }
  drop(code) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }
  all(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

const token = `x.${btoa(JSON.stringify({ sub: "ada" }))}.x`;
const quick = { pauseBaseMs: 0, random: () => 0 };

function memory() {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
}

async function until(condition, what) {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function same(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a}, expected ${b}`);
}

const socket = async (n) => {
  await until(() => PlayedSocket.made.length >= n, `connection ${n}`);
  return PlayedSocket.made[n - 1];
};
