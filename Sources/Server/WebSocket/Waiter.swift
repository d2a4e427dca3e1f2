import EventLoop
import Gateway
import Model

/// One client of this process in one line.
@LoopActor
final class Waiter {
    let client: ClientID
    /// Lives as long as anybody waits in it.
    unowned let line: RoomLine
    var number: Int64
    var sessions: Few<Session> { didSet { connection = Self.connection(of: sessions) } }
    /// The connection of the only session; nil where there are several. By it no session is looked at to tell a rank: of
    /// thousands of them, each lies somewhere else in memory.
    ///
    /// Retain/release: none. The session in `sessions` holds its connection (`let`), and this changes with `sessions`.
    private(set) var connection: Unmanaged<WebSocketConnection>?
    /// What it was told last.
    var told: PlaceInLine
    var toldAt: Int64
    /// The change of the line as of which the number is known: older maps say nothing about it.
    var since: Int64
    /// Since when the map says that it waits no more, while nobody has said what became of it; 0 when it waits.
    var inDoubtSince: Int64 = 0
    /// The session by which it leaves, which gets its own answer.
    var leaver: ObjectIdentifier?
    /// Whether it was told of an admission while the line was not known.
    var mayBeAdmitted = false
    /// Whether it waits no more.
    var isGone = false

    init(client: ClientID, line: RoomLine, number: Int64, session: Session, told: PlaceInLine) {
        self.client = client
        self.line = line
        self.number = number
        self.told = told
        sessions = [session]
        connection = Self.connection(of: sessions)
        toldAt = EventLoop.monotonicMilliseconds
        since = told.event
    }

    private static func connection(of sessions: Few<Session>) -> Unmanaged<WebSocketConnection>? {
        sessions.count == 1 ? .passUnretained(sessions[0].connection) : nil
    }
}
