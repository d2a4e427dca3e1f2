// Plays concerts, seats, holds and payments to the page: what the page asks of them never reaches the server, and
// `playedSeats` says what others do meanwhile. For states that no test can bring about at will: a hall of 100,000 seats
// half sold, a seat lost in the very moment, a payment that is not decided. The test puts its values in for `CONFIG`.
if (location.protocol.startsWith("http")) {
  const config = CONFIG;
  const text = sessionStorage.getItem("played-seats");
  // What was held and paid outlives a reload, as at a server.
  const state = text ? JSON.parse(text) : {
    letters: config.letters, seq: 1, reservations: [], points: config.points ?? 0, next: 1, token: null,
  };
  const keep = () => sessionStorage.setItem("played-seats", JSON.stringify(state));
  const date = config.concerts[0].dates[0];
  const performance = date.concertDetailId;
  let socket = null;
  let offset = 0;
  const asked = [];
  const tell = (frame) => socket?.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(frame) }));
  const count = (letter) => state.letters.split(letter).length - 1;
  const counts = () => ({ remaining: count("f"), held: count("h"), sold: count("s") });
  const name = { f: "free", h: "held", s: "sold" };
  const set = (seats, letter) => {
    const letters = [...state.letters];
    for (const seat of seats) letters[seat - 1] = letter;
    state.letters = letters.join("");
    state.seq += 1;
    keep();
    tell({ type: "seats", performance, seq: state.seq, ...counts(),
      changes: seats.map((seatId) => ({ seatId, status: name[letter] })) });
  };
  const outcome = (frame) => tell({ ...frame, offset: ++offset });
  const end = (id, status, more = {}) => {
    const one = state.reservations.find(({ reservationId }) => reservationId === id);
    const wasPaid = one.status === "paid";
    Object.assign(one, { status, endedAt: new Date().toISOString(), refunded: wasPaid && status === "released", ...more });
    if (one.refunded) state.points += one.price;
    set(one.seatIds, status === "paid" ? "s" : "f");
    outcome({ type: "reservation", reservationId: id, performance, status });
    return one;
  };

  const answers = {
    join: (frame) => {
      if (playedSeats.joins !== "admitted") {
        return tell({ type: "joined", room: frame.room, rank: 12, waiting: 40, estimatedSeconds: 60, id: frame.id });
      }
      return playedSeats.admit(frame);
    },
    leave: (frame) => tell({ type: "left", room: frame.room, reason: "left", id: frame.id }),
    unwatch: () => {},
    watch: (frame) =>
      tell({ type: "seats", performance, seq: state.seq, ...counts(), letters: state.letters, id: frame.id }),
    hold: (frame) => {
      const error = (code, more) => tell({ type: "error", code, message: code, id: frame.id, ...more });
      const scripted = playedSeats.holds.shift();
      if (scripted) return error(scripted.code, scripted);
      if (frame.token !== state.token) return error("not_admitted");
      const taken = frame.seats.filter((seat) => state.letters[seat - 1] !== "f");
      if (taken.length > 0) return error("seat_taken", { seats: taken });
      const concert = config.concerts[0];
      const one = {
        reservationId: `${performance}-${state.next++}`, concertDetailId: performance, concertId: concert.concertId,
        concertName: concert.name, startsAt: date.startsAt, seatIds: frame.seats, price: date.price * frame.seats.length,
        status: "held", heldAt: new Date().toISOString(),
        expiresAt: new Date(Date.now() + 1000 * date.holdSeconds).toISOString(), paidAt: null, endedAt: null,
        paymentId: null, refunded: false,
      };
      state.reservations.unshift(one);
      set(frame.seats, "h");
      return tell({ type: "held", reservationId: one.reservationId, performance, seats: one.seatIds,
        expiresAt: one.expiresAt, price: one.price, id: frame.id });
    },
  };

  window.playedSeats = {
    asked,
    state,
    /** What becomes of a join. */ joins: config.joins ?? "admitted",
    /** Errors for the next holds. */ holds: [],
    /** Statuses and codes for the next payments, before they are dealt with. */ payments: [],
    /** Others take seats, or give some back. */ set,
    admit({ room = date.room, id } = {}) {
      // Who has a pass keeps it: joining again, as after a reload, tells it once more.
      state.token ??= `pass-${state.next++}`;
      keep();
      const expiresAt = new Date(Date.now() + 300_000).toISOString();
      outcome({ type: "admitted", room, token: state.token, expiresAt, ...(id === undefined ? {} : { id }) });
    },
    expire(id) {
      end(id, "expired", { expiresAt: new Date(Date.now() - 1).toISOString() });
    },
  };

  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const frame = JSON.parse(data);
    if (socket !== this) {
      socket = this;
      const { resume } = frame;
      this.addEventListener("message", (event) => {
        const heard = JSON.parse(event.data);
        // Outcomes are played on from where the page is: what it heard before a reload was not the server's.
        if (heard.type === "connected") offset = (heard.recovered && resume?.offset) || heard.offset;
      });
    }
    const isOurs = ["join", "leave", "hold"].includes(frame.type) || frame.performance !== undefined;
    if (!isOurs) return send.call(this, data);
    asked.push(frame);
    setTimeout(() => answers[frame.type](frame), config.delay ?? 0);
  };

  const respond = (status, result, error = null) =>
    new Response(status === 204 ? null : JSON.stringify({ result, error }), { status });
  const refuse = (status, code, more = {}) => respond(status, null, { code, message: code, ...more });
  const pay = (body, headers) => {
    asked.push({ type: "payment", ...body, key: headers["idempotency-key"], token: headers.token ?? null });
    const scripted = playedSeats.payments.shift();
    if (scripted?.code === "not_admitted") state.token = null;
    if (scripted) return refuse(scripted.status, scripted.code, scripted);
    const one = state.reservations.find(({ reservationId }) => reservationId === body.reservationId);
    if (one.status === "paid") return refuse(409, "already_paid", { paymentId: one.paymentId });
    if (headers.token !== state.token) return refuse(403, "not_admitted");
    if (one.status !== "held") return refuse(409, "hold_expired");
    if (state.points < one.price) return refuse(402, "insufficient_points");
    state.points -= one.price;
    end(one.reservationId, "paid", { paymentId: "p-1", paidAt: new Date().toISOString(), endedAt: null });
    state.token = null;
    keep();
    return respond(201, { status: "SUCCESS", paymentId: "p-1" });
  };
  const routes = [
    ["GET", /^api\/concerts$/, () => respond(200, config.concerts)],
    ["GET", /^api\/concerts\/(.+)$/, () => respond(200, config.concerts[0])],
    ["GET", /^api\/users\/.+\/reservations$/, () => respond(200, state.reservations)],
    ["DELETE", /^api\/reservations\/(.+)$/, (id) => respond(200, end(decodeURIComponent(id), "released"))],
    ["GET", /^api\/users\/(.+)\/point$/, (userId) => respond(200, { userId, point: state.points })],
    ["GET", /^api\/users\/.+\/token\?room=/, () => respond(200, { status: "FINISHED", rank: null, token: null })],
    ["PATCH", /^api\/users\/point$/, (_, { point }) => {
      if (!(point > 0)) return refuse(422, "invalid", { message: "point must be positive" });
      state.points += point;
      keep();
      return respond(200, "SUCCESS");
    }],
    ["POST", /^api\/concerts(\/[^/]+\/dates)?$/, (_, body) => {
      asked.push({ type: "made", ...body });
      if (body.seats === 0) return refuse(422, "invalid", { message: "seats must be 1 to 100,000" });
      return respond(201, { concertId: 9, concertDetailId: 9 });
    }],
    ["GET", /^api\/audit$/, () => respond(200, { drift: 0, sales: [], performances: [{ performance,
      quantity: state.letters.length, free: count("f"), held: count("h"), sold: count("s"), drift: 0 }] })],
    ["POST", /^api\/payment$/, (_, body, headers) => pay(body, headers)],
  ];
  const fetched = window.fetch;
  window.fetch = async (path, options = {}) => {
    for (const [method, pattern, answer] of routes) {
      const match = method === (options.method ?? "GET") && pattern.exec(path);
      if (match) return answer(match[1], options.body && JSON.parse(options.body), options.headers ?? {});
    }
    return fetched(path, options);
  };
}
