// Runs one check of the client library, by name, and tells "ok" or what went wrong. The checks play the server.
const [name, tell] = arguments;

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

function checks({ Dibs, connect, mayReconnect }, { OutcomeLog }) {
  const start = (storage = memory(), more = {}) => {
    const heard = [];
    const dibs = connect("ws://played/ws", () => token, { ...quick, storage, ...more });
    for (const type of ["result", "order", "error", "disconnected"]) {
      dibs.addEventListener(type, ({ detail }) => heard.push({ type, ...detail }));
    }
    return { dibs, heard, storage };
  };
  const log = (recovered = true) => {
    const made = new OutcomeLog({ epoch: "e1", offset: 3 });
    made.connected({ epoch: "e1", offset: 9, recovered });
    return made;
  };

  return {
    outcomesInOrder() {
      const outcomes = log();
      same([4, 4, 5, 3, 5].map((n) => outcomes.accept(n)), [true, false, true, false, false], "told");
      same(outcomes.position, { epoch: "e1", offset: 5 }, "position");
    },
    outcomesOvertaking() {
      const outcomes = log();
      same([6, 5, 6].map((n) => outcomes.accept(n)), [true, true, false], "told");
      same([outcomes.position.offset, outcomes.hasHole], [3, true], "4 is still missing");
      same(outcomes.accept(4), true, "4 told");
      same([outcomes.position.offset, outcomes.hasHole], [6, false], "nothing is missing");
    },
    outcomesNotRecovered() {
      const outcomes = log(false);
      same(outcomes.position, { epoch: "e1", offset: 9 }, "counting goes on from the server's position");
      same([9, 10, 10].map((n) => outcomes.accept(n)), [false, true, false], "told");
      const other = log();
      other.connected({ epoch: "e2", offset: 1, recovered: true });
      same(other.position, { epoch: "e2", offset: 1 }, "another epoch is another count");
    },
    holeSkipped() {
      const outcomes = log();
      outcomes.accept(6);
      outcomes.skipHole();
      same([outcomes.position.offset, outcomes.hasHole], [6, false], "given up");
    },
    closeCodes() {
      const codes = [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4008, 4012, 4029, 4499, 4500, 4501, 4503, 4509, 4999];
      same(codes.filter(mayReconnect), [1001, 1006, 1011, 4000, 4001, 4008, 4012, 4029, 4499], "reconnects after");
    },
    async resumesAfterALostConnection() {
      const { heard } = start();
      const first = await socket(1);
      first.accept({ offset: 5 });
      same(first.sent[0], { type: "connect", token }, "the first connect has nothing to resume");
      first.tell({ type: "order", sale: 1, order: "a", status: "confirmed", offset: 6 });
      first.drop(1006);
      const second = await socket(2);
      second.accept({ offset: 6, recovered: true });
      same(second.sent[0].resume, { epoch: "e1", offset: 6 }, "resume");
      second.tell({ type: "order", sale: 1, order: "a", status: "confirmed", offset: 6 });
      second.tell({ type: "order", sale: 1, order: "b", status: "failed", offset: 7 });
      same(heard.filter((one) => one.type === "order").map((one) => one.order), ["a", "b"], "each outcome once");
    },
    async tellsTheTruthWithoutOffsets() {
      const { heard } = start();
      const first = await socket(1);
      first.accept({ offset: 5 });
      first.drop(1006);
      const second = await socket(2);
      second.accept({ offset: 8, recovered: false });
      second.tell({ type: "result", sale: 1, outcome: "accepted", ticket: 3, order: "1-3" });
      second.tell({ type: "order", sale: 1, order: "1-3", status: "confirmed" });
      second.tell({ type: "order", sale: 1, order: "1-4", status: "confirmed", offset: 9 });
      same(heard.filter((one) => one.order).map((one) => [one.type, one.order]),
        [["result", "1-3"], ["order", "1-3"], ["order", "1-4"]], "the truth, then what comes after it");
    },
    async repeatsAnUndecidedClaim() {
      const { dibs, heard } = start();
      const first = await socket(1);
      first.accept();
      const result = dibs.claim(42);
      const asked = first.all("claim")[0];
      first.tell({ type: "error", id: asked.id, code: "unavailable", message: "not now" });
      await until(() => first.all("claim").length === 2, "the claim to be repeated");
      same(first.all("claim")[1], asked, "the same claim");
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      same(second.all("claim")[0], asked, "the same claim on another connection");
      second.tell({ type: "result", id: asked.id, sale: 42, outcome: "accepted", ticket: 1, order: "a", offset: 1 });
      same((await result).ticket, 1, "decided");
      same(heard.filter((one) => one.type === "error").map((one) => [one.code, one.sale, one.fatal]),
        [["unavailable", 42, false]], "told");
      dibs.claim(42);
      same(second.all("claim")[1].key === asked.key, false, "a new claim has a new key");
    },
    async keepsTheKeyOverAReload() {
      const storage = memory();
      const { dibs } = start(storage);
      const first = await socket(1);
      first.accept({ offset: 2 });
      dibs.claim(42);
      const { key } = first.all("claim")[0];
      const reloaded = start(storage);
      const second = await socket(2);
      second.accept({ recovered: true, offset: 2 });
      same(second.sent[0].resume, { epoch: "e1", offset: 2 }, "resume");
      same(reloaded.dibs.isUndecided(42), true, "known to be undecided");
      const result = reloaded.dibs.claim(42);
      same(second.all("claim")[0].key, key, "the same key");
      second.tell({ type: "result", id: second.all("claim")[0].id, sale: 42, outcome: "sold_out" });
      same((await result).outcome, "sold_out", "decided");
      same(reloaded.dibs.isUndecided(42), false, "known to be decided");
    },
    async answersByIdEvenWhenAlreadyTold() {
      const { dibs, heard } = start();
      const first = await socket(1);
      first.accept();
      const result = dibs.claim(42, { key: "mine" });
      const { id, key } = first.all("claim")[0];
      same(key, "mine", "a key of one's own");
      const frame = { type: "result", sale: 42, outcome: "accepted", ticket: 7, order: "a", offset: 1 };
      first.tell(frame);
      first.tell({ ...frame, id });
      same((await result).ticket, 7, "answered");
      same(heard.filter((one) => one.type === "result").length, 1, "told once");
    },
    async badTokenEndsIt() {
      const { dibs, heard } = start();
      (await socket(1)).drop(4501);
      same(dibs.state, "closed", "state");
      same(heard.map((one) => [one.type, one.code, one.retryInMs]),
        [["error", "close_4501", undefined], ["disconnected", 4501, null]], "told");
      same(PlayedSocket.made.length, 1, "no second attempt");
    },
    async goneAwayComesBack() {
      start();
      for (const [n, code] of [[1, 1001], [2, 4008], [3, 4029], [4, 1006]]) (await socket(n)).drop(code);
      await socket(5);
    },
    async watchesAgain() {
      const { dibs } = start();
      dibs.watch(1);
      dibs.watch(2);
      const first = await socket(1);
      first.accept();
      dibs.unwatch(1);
      first.drop(1001);
      const second = await socket(2);
      second.accept();
      same(first.all("watch").map((frame) => frame.sale), [1, 2], "watched");
      same(second.all("watch").map((frame) => frame.sale), [2], "watched again");
    },
    async missingOutcomeIsAskedFor() {
      const { heard } = start();
      const first = await socket(1);
      first.accept();
      first.tell({ type: "order", sale: 1, order: "b", status: "confirmed", offset: 2 });
      const second = await socket(2);
      second.accept({ recovered: true });
      same(second.sent[0].resume, { epoch: "e1", offset: 0 }, "asks from before the hole");
      second.tell({ type: "order", sale: 1, order: "a", status: "confirmed", offset: 1 });
      second.tell({ type: "order", sale: 1, order: "b", status: "confirmed", offset: 2 });
      same(heard.filter((one) => one.type === "order").map((one) => one.order), ["b", "a"], "each once");
    },
    async deadConnectionIsLeft() {
      start(memory(), { pingEveryMs: 20, answerWithinMs: 40 });
      const first = await socket(1);
      first.accept();
      first.tell({ type: "pong", at: new Date().toISOString() });
      await socket(2);
      same(first.closedWith, 4012, "closed with");
      same(first.all("ping").length >= 2, true, "pinged");
    },
    async closingIsNotANo() {
      const { dibs, storage } = start();
      (await socket(1)).accept();
      const result = dibs.claim(42);
      dibs.close();
      const error = await result.catch((caught) => caught);
      same([error.name, error.undecided], ["DibsError", true], "undecided");
      same(storage.getItem("dibs:key:ada:42") !== null, true, "the key is kept");
    },
  };
}

(async () => {
  const here = new URL(".", document.baseURI);
  const modules = await Promise.all([import(new URL("dibs.js", here)), import(new URL("outcome-log.js", here))]);
  window.WebSocket = PlayedSocket;
  await checks(...modules)[name]();
})().then(() => tell("ok"), (error) => tell(String(error?.stack ?? error)));
