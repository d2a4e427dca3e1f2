/// The frames that a client sends.
struct OutgoingFrames: Sendable {
    /// Whether the server only echoes: then each frame is, but for its type, the answer that a real one would give.
    let echo: Bool

    func connect(token: String, resume: Position?) -> String {
        if echo { return #"{"type":"connected","epoch":"e","offset":0,"recovered":true,"token":"\#(token)"}"# }
        let resume = resume.map { #","resume":{"epoch":"\#($0.epoch)","offset":\#($0.offset)}"# } ?? ""
        return #"{"type":"connect","token":"\#(token)"\#(resume)}"#
    }

    func claim(_ claim: Buyer.Claim) -> String {
        let type = echo ? #""result","outcome":"sold_out""# : #""claim""#
        let pass = claim.pass.map { #","token":"\#($0)""# } ?? ""
        return #"{"type":\#(type),"sale":\#(claim.sale),"key":"\#(claim.key)"\#(pass),"id":\#(claim.number)}"#
    }

    func join(_ room: String) -> String { #"{"type":"join","room":"\#(room)","id":\#(Buyer.joinID)}"# }

    func leave(_ room: String) -> String { #"{"type":"leave","room":"\#(room)","id":\#(Buyer.leaveID)}"# }

    func watch(sale: String) -> String { #"{"type":"\#(echo ? "sale" : "watch")","sale":\#(sale)}"# }

    func hold(_ hold: SeatBuyer.Hold, of performance: String) -> String {
        let seats = hold.seats.map(String.init).joined(separator: ",")
        let what = #""performance":\#(performance),"seats":[\#(seats)]"#
        return #"{"type":"hold",\#(what),"token":"\#(hold.pass)","id":\#(hold.number)}"#
    }

    func watch(performance: String, isCompact: Bool) -> String {
        #"{"type":"watch","performance":\#(performance),"compact":\#(isCompact),"id":\#(SeatBuyer.watchID)}"#
    }
}
