// Runs one check of the client library, by name, and tells "ok" or what went wrong. The checks play the server.
const [name, tell] = arguments;

function checks({ Dibs, connect, mayReconnect }, { OutcomeLog }, { Places }, { SeatStates }) {
  const start = (storage = memory(), more = {}) => {
    const heard = [];
    const dibs = connect("ws://played/ws", () => token, { ...quick, storage, ...more });
    for (const type of ["result", "order", "error", "disconnected", "joined", "rank", "admitted", "expired", "left",
      "seats", "reservation"]) {
      dibs.addEventListener(type, ({ detail }) => heard.push({ type, ...detail }));
    }
    return { dibs, heard, storage };
  };
  const places = (...frames) => {
    const made = new Places();
    made.ask("main");
    for (const frame of frames) made.hear({ room: "main", ...frame });
    return made;
  };
  /** Connected, caught up, and in line at place 12. */
  const inLine = async (storage = memory()) => {
    const started = start(storage);
    const first = await socket(1);
    first.accept();
    first.pong();
    const answer = started.dibs.join("main");
    first.tell({ ...joined, id: first.all("join")[0].id });
    await answer;
    return { ...started, first };
  };
  const joined = { type: "joined", room: "main", rank: 12, waiting: 40, estimatedSeconds: null };
  const admitted = { type: "admitted", room: "main", token: "p1", expiresAt: "2026-01-01T00:05:00.000Z" };
  const log = (recovered = true) => {
    const made = new OutcomeLog({ epoch: "e1", offset: 3 });
    made.connected({ epoch: "e1", offset: 9, recovered });
    return made;
  };

  return {
    ...seatChecks({ SeatStates, start, inLine, admitted }),
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
    placesInOrder() {
      const line = places(joined, { type: "rank", rank: 3, waiting: 31, estimatedSeconds: 9, reachable: false });
      same(line.of("main"), { state: "waiting", rank: 3, waiting: 31, estimatedSeconds: 9, isReachable: false,
        isProvisional: false, isAnew: false }, "in line");
      line.hear(admitted);
      line.hear({ type: "rank", room: "main", rank: 1, waiting: 29 });
      same(line.of("main").token, "p1", "a late rank takes no pass away");
      line.hear({ type: "expired", room: "main", token: "another" });
      same(line.of("main").state, "admitted", "another pass ran out");
      line.hear({ type: "expired", room: "main", token: "p1" });
      same(line.of("main"), { state: "out", reason: "expired" }, "this one ran out");
      same([line.saved, line.kept], [[], []], "nothing is kept");
    },
    placesLost() {
      const line = places(joined, joined);
      same(line.of("main").isAnew, false, "the same place");
      line.hear({ ...joined, rank: 900 });
      line.hear({ type: "rank", room: "main", rank: 899, waiting: 900 });
      same([line.of("main").rank, line.of("main").isAnew], [899, true], "another one, further back");
      const drawn = places({ ...joined, provisional: true }, { ...joined, rank: 39 });
      same(drawn.of("main").isAnew, false, "lots were drawn");
    },
    placesOvertaking() {
      const line = places(joined, { type: "expired", token: "p1" }, admitted);
      same(line.of("main").state, "waiting", "a pass that ran out before it came");
      same(places(joined, { type: "left", reason: "closed" }).of("main").reason, "closed", "left");
      const back = places(joined);
      back.leave("main");
      back.hear(admitted);
      same(back.of("main").state, "leaving", "admitted while leaving");
      back.ask("main");
      back.hear({ type: "left", room: "main", reason: "left", id: 3 });
      same(back.of("main").state, "joining", "the answer to a leave that was thought better of");
    },
    async joinsAndClaimsWithThePass() {
      const { dibs, heard, first } = await inLine();
      const states = [];
      dibs.addEventListener("place", ({ detail }) => states.push([detail.room, detail.state]));
      same([dibs.place("main").rank, dibs.place("main").waiting], [12, 40], "in line");
      first.tell({ ...joined, type: "rank", rank: 1, estimatedSeconds: 2 });
      first.tell({ ...admitted, offset: 1 });
      first.tell({ ...admitted, offset: 1 });
      same(heard.map((one) => one.type), ["joined", "rank", "admitted"], "each told once");
      same(states, [["main", "waiting"], ["main", "admitted"]], "places");
      first.tell({ type: "sale", sale: 42, status: "open", remaining: 3, room: "main" });
      dibs.claim(42);
      dibs.claim(43);
      dibs.claim(44, { room: "main" });
      dibs.claim(45, { token: "mine" });
      same(first.all("claim").map((frame) => frame.token ?? null), ["p1", null, "p1", "mine"], "passes sent");
      first.tell({ type: "expired", room: "main", token: "p1", offset: 2 });
      dibs.claim(42);
      same(first.all("claim").at(-1).token, undefined, "no pass after it ran out");
    },
    async joinsAgainOnceCaughtUp() {
      const { dibs, first } = await inLine();
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      same(second.all("join").length, 0, "not before it is known what was missed");
      second.pong();
      same(second.all("join").map((frame) => frame.room), ["main"], "asks for its place");
      second.tell({ ...joined, rank: 9, id: second.all("join")[0].id });
      second.pong();
      same(second.all("join").length, 1, "asks once");
      same(dibs.place("main").rank, 9, "has its place");
      second.drop(1006);
      const third = await socket(3);
      third.accept({ recovered: true });
      third.tell({ ...admitted, offset: 1 });
      third.tell({ type: "expired", room: "main", token: "p1", offset: 2 });
      third.pong();
      same(third.all("join").length, 0, "nobody is put in line again who had their turn");
      same(dibs.place("main").reason, "expired", "told what happened");
    },
    async noPlaceAgainForWhoBought() {
      const { dibs, first } = await inLine();
      first.tell({ ...admitted, offset: 1 });
      const result = dibs.claim(42, { room: "main" });
      const { id } = first.all("claim")[0];
      first.tell({ type: "result", id, sale: 42, outcome: "accepted", ticket: 1, order: "42-1", offset: 2 });
      await result;
      first.drop(1001);
      const second = await socket(2);
      second.accept({ recovered: true });
      second.pong();
      same(second.all("join").length, 0, "the pass may be spent");
      same(dibs.place("main").token, "p1", "but where more may be bought, it is still there");
    },
    async keepsThePlaceOverAReload() {
      const { storage, first } = await inLine();
      const reloaded = start(storage);
      const second = await socket(2);
      same(reloaded.dibs.place("main").rank, 12, "the last rank is known at once");
      second.accept({ recovered: true });
      second.pong();
      same(second.all("join").length, 1, "asks for its place");
      second.tell({ ...admitted, id: second.all("join")[0].id, offset: 1 });
      start(storage);
      const third = await socket(3);
      third.accept({ recovered: true });
      third.tell({ ...admitted, offset: 1 });
      const last = start(storage);
      await socket(4);
      same(last.dibs.place("main").token, "p1", "the pass is kept");
      same(first.all("join").length, 1, "the first page asked once");
    },
    async passComesByReplay() {
      const { dibs, heard, first } = await inLine();
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      second.tell({ ...admitted, offset: 1 });
      second.pong();
      same(second.all("join").length, 1, "says that it came");
      second.tell({ ...admitted, id: second.all("join")[0].id, offset: 1 });
      same(heard.filter((one) => one.type === "admitted").length, 1, "told once");
      dibs.claim(42, { room: "main" });
      same(second.all("claim")[0].token, "p1", "pass sent");
    },
    async aJoinIsRefusedOrAskedAgain() {
      const { dibs, heard } = start();
      const first = await socket(1);
      first.accept();
      const answer = dibs.join("main").catch((error) => error);
      same(first.all("join").length, 0, "waits until it has caught up");
      first.pong();
      const { id } = first.all("join")[0];
      first.tell({ type: "error", id, code: "unavailable", message: "not now" });
      same(dibs.place("main").state, "joining", "not decided is not a no");
      await until(() => first.all("join").length === 2, "the join to be repeated");
      first.tell({ type: "error", id, code: "rejected", message: "nobody" });
      same([(await answer).code, (await answer).undecided], ["rejected", false], "refused");
      same([dibs.place("main").state, dibs.place("main").reason], ["out", "rejected"], "place");
      same(heard.filter((one) => one.type === "error").map((one) => [one.code, one.room]),
        [["unavailable", "main"], ["rejected", "main"]], "told");
    },
    async leavesAndComesBack() {
      const { dibs, first } = await inLine();
      first.tell({ ...admitted, offset: 1 });
      const answer = dibs.leave("main");
      same(dibs.place("main").token, undefined, "the pass is given back");
      first.tell({ type: "left", room: "main", reason: "left", id: first.all("leave")[0].id });
      same((await answer).reason, "left", "answered");
      const again = dibs.join("main");
      first.tell({ ...joined, rank: 41, id: first.all("join")[1].id });
      same((await again).rank, 41, "at the end of the line");
      first.tell({ type: "left", room: "main", reason: "timeout" });
      same(dibs.place("main").reason, "timeout", "pushed, from elsewhere");
    },
    async leavingIsNotForgotten() {
      const { dibs, first } = await inLine();
      first.drop(1006);
      const answer = dibs.leave("main");
      const second = await socket(2);
      second.accept({ recovered: true });
      second.pong();
      same([second.all("join").length, second.all("leave").length], [0, 1], "asked");
      second.tell({ type: "left", room: "main", reason: "left", id: second.all("leave")[0].id });
      await answer;
    },
    async aPagePutAsideHoldsNoPlace() {
      const { first } = await inLine();
      dispatchEvent(new PageTransitionEvent("pagehide", { persisted: false }));
      same(first.closedWith, null, "a page that goes for good is closed by the browser");
      dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
      same(first.closedWith, 1000, "closed with");
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
      const second = await socket(2);
      second.accept({ recovered: true });
      second.pong();
      same(second.all("join").length, 1, "asks for its place");
    },
    async aPassThatIsRefusedIsGone() {
      const { dibs, first } = await inLine();
      first.tell({ ...admitted, offset: 1 });
      const result = dibs.claim(42, { room: "main" });
      first.tell({ type: "result", id: first.all("claim")[0].id, sale: 42, outcome: "not_admitted" });
      same((await result).outcome, "not_admitted", "refused");
      same(dibs.place("main"), { state: "out", reason: "not_admitted" }, "place");
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
  const modules = await Promise.all([import(new URL("dibs.js", here)), import(new URL("outcome-log.js", here)),
    import(new URL("places.js", here)), import(new URL("seat-states.js", here))]);
  window.WebSocket = PlayedSocket;
  await checks(...modules)[name]();
})().then(() => tell("ok"), (error) => tell(String(error?.stack ?? error)));
