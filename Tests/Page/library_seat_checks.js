// Checks of watching and holding seats; `library_checks.js` runs them.
function seatChecks({ SeatStates, start, inLine, admitted }) {
  return {
    seatsByChanges() {
      const seats = new SeatStates();
      same([seats.isKnown, seats.of(1), seats.hear({ seq: 3, changes: [{ seatId: 1, status: "held" }] })],
        [false, null, null], "nothing is known before the first answer");
      same(seats.hear({ id: 1, seq: 5, letters: "fhsf", remaining: 2, held: 1, sold: 1 }), { whole: true, seats: [] },
        "the whole");
      same([1, 2, 3, 4, 5].map((seat) => seats.of(seat)), ["free", "held", "sold", "free", null], "seats");
      const change = (seq, ...pairs) => ({ seq, remaining: 1, held: 2, sold: 1,
        changes: pairs.map(([seatId, status]) => ({ seatId, status })) });
      same(seats.hear(change(7, [1, "held"], [3, "sold"], [9, "free"])), { whole: false, seats: [1] },
        "only what changed, of what there is");
      same([seats.of(1), seats.remaining, seats.held], ["held", 1, 2], "after it");
      same(seats.hear(change(6, [1, "free"])), null, "an older one undoes nothing");
      same(seats.of(1), "held", "after that");
      seats.hear({ id: 2, seq: 1, changes: [{ seatId: 2, status: "free" }, { seatId: 1, status: "sold" }] });
      same([seats.count, seats.of(1), seats.of(2)], [2, "sold", "free"], "the long form, counted anew");
    },
    async watchesSeatsAgain() {
      const { dibs, heard } = start();
      dibs.watchSeats(7);
      dibs.watchSeats(8);
      dibs.watchSeats(7);
      const first = await socket(1);
      first.accept();
      same(first.all("watch").map((frame) => [frame.performance, frame.compact]), [[7, true], [8, true]], "watched");
      const { id } = first.all("watch")[0];
      first.tell({ type: "error", id, code: "unavailable", message: "not now" });
      await until(() => first.all("watch").length === 3, "the watch to be repeated");
      first.tell({ type: "seats", performance: 7, id, seq: 1, letters: "ff", remaining: 2, held: 0, sold: 0 });
      first.tell({ type: "seats", performance: 7, seq: 2, remaining: 1, held: 1, sold: 0,
        changes: [{ seatId: 2, status: "held" }] });
      same(heard.filter((one) => one.type === "seats").map(({ performance, whole, seats }) => [performance, whole, seats]),
        [[7, true, []], [7, false, [2]]], "told");
      same([dibs.seats(7).of(2), dibs.seats(8).isKnown, dibs.seats(9)], ["held", false, null], "known");
      dibs.unwatchSeats(8);
      same(first.all("unwatch").map((frame) => frame.performance), [8], "unwatched");
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      same(second.all("watch").map((frame) => frame.performance), [7], "watched again");
      same(dibs.seats(7).of(2), "held", "known meanwhile");
      second.tell({ type: "seats", performance: 7, id: second.all("watch")[0].id, seq: 1, letters: "sf" });
      same([dibs.seats(7).of(1), dibs.seats(7).of(2)], ["sold", "free"], "the whole answer counts");
    },
    async holdsAndAsksAgain() {
      const { dibs, heard, first } = await inLine();
      dibs.watchSeats(7, { room: "main" });
      first.tell({ ...admitted, offset: 1 });
      const answer = dibs.hold(7, [1, 2]);
      const asked = first.all("hold")[0];
      same([asked.performance, asked.seats, asked.token], [7, [1, 2], "p1"], "asked with the pass");
      first.tell({ type: "error", id: asked.id, code: "unavailable", message: "not now" });
      await until(() => first.all("hold").length === 2, "the hold to be repeated");
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      same(second.all("hold"), [asked], "the same on another connection");
      second.tell({ type: "held", id: asked.id, performance: 7, reservationId: "7-1", seats: [1, 2], price: 10 });
      same((await answer).reservationId, "7-1", "held");
      same(heard.filter((one) => one.type === "error").map((one) => [one.code, one.performance]), [["unavailable", 7]],
        "told");
      dibs.hold(7, [3], "mine").catch(() => {});
      same(second.all("hold").at(-1).token, "mine", "a pass of one's own");
    },
    async aHoldIsRefused() {
      const { dibs, first } = await inLine();
      dibs.watchSeats(7, { room: "main" });
      first.tell({ ...admitted, offset: 1 });
      const refused = async (error) => {
        const answer = dibs.hold(7, [1, 2]).catch((caught) => caught);
        first.tell({ type: "error", message: error.code, id: first.all("hold").at(-1).id, ...error });
        return answer;
      };
      const taken = await refused({ code: "seat_taken", seats: [2] });
      same([taken.code, taken.seats, taken.undecided], ["seat_taken", [2], false], "taken");
      same(dibs.place("main").token, "p1", "the pass is still good");
      same((await refused({ code: "not_admitted" })).code, "not_admitted", "not admitted");
      same(dibs.place("main"), { state: "out", reason: "not_admitted" }, "the pass is gone");
      const open = dibs.hold(7, [1]).catch((caught) => caught);
      dibs.close();
      same((await open).undecided, true, "closing is not a no");
    },
    async aPaymentSpendsThePass() {
      const { dibs, heard, first } = await inLine();
      dibs.watchSeats(7, { room: "main" });
      first.tell({ ...admitted, offset: 1 });
      const paid = { type: "reservation", reservationId: "7-1", performance: 7, status: "paid" };
      first.tell(paid);
      same(dibs.place("main").isUsed, undefined, "told anew, it may have been before this pass");
      first.tell({ ...paid, offset: 2 });
      first.tell({ ...paid, offset: 2 });
      same(dibs.place("main").isUsed, true, "spent");
      same(heard.filter((one) => one.type === "reservation").length, 2, "each told once");
      first.drop(1006);
      const second = await socket(2);
      second.accept({ recovered: true });
      second.pong();
      same(second.all("join").length, 0, "not put in line again");
      dibs.refusePass("p1");
      same(dibs.place("main"), { state: "out", reason: "spent" }, "refused by REST");
    },
  };
}
