import Model

/// What a waiting room must do, in the plainest words: the engine is compared with it. Its lots turn the line
/// around.
struct RoomModel {
    /// What keeps a place.
    enum Presence: Equatable {
        /// A gateway's connection.
        case held(Int64)
        /// A sign of life, until this moment.
        case until(Int64)
    }

    struct Waiter: Equatable {
        let client: String
        let number: Int64
        var presence: Presence
    }

    struct Pass: Equatable {
        let issued: Int64
        let expires: Int64
        /// When its place falls free: later than `expires` while a claim is decided.
        var freeAt: Int64
        var wasSeen: Bool
        /// Claims that are being decided.
        var openChecks = 0
    }

    struct Counters: Equatable {
        var joined: Int64 = 0
        var admitted: Int64 = 0
        var left: Int64 = 0
        var vanished: Int64 = 0
        var closed: Int64 = 0
        var expired: Int64 = 0
        var noShow: Int64 = 0
        var spent: Int64 = 0
    }

    enum Standing: Equatable {
        case waiting(number: Int64, rank: Int64)
        case admitted(expires: Int64)
        case finished
        case unknown
        case rejected
    }

    enum Told: Equatable {
        case admitted(expires: Int64)
        case expired
    }

    /// The grain of presence.
    static let grain: Int64 = 250

    /// How long a room may go without a tick before that time does not count, in ms.
    static let silence: Int64 = 2500

    private(set) var born: Int64
    var now: Int64
    private(set) var limits: RoomLimits
    private(set) var opens: Int64 = 0
    private(set) var isLive = false
    private(set) var salesVersion: Int64 = 0
    private(set) var isDrawn = false
    /// Between the first step of a draw and its last: nothing but the clock goes on.
    private(set) var isDrawing = false
    private(set) var line: [Waiter] = []
    private(set) var active: [String: Pass] = [:]
    private(set) var next: Int64
    private(set) var counters = Counters()
    private(set) var told: [String: [Told]] = [:]
    /// Who was admitted, in order, with their numbers.
    private(set) var admissions: [(client: String, number: Int64, at: Int64)] = []
    private var finished: Set<String> = []
    /// Sent home by the last closing.
    private var cleared: Set<String> = []
    /// When the pace allows the next admission.
    private var nextAdmission: Double = 0
    /// When somebody last looked at the line.
    private var ticked: Int64 = 0
    /// How often time did not count.
    private(set) var silences = 0

    init(limits: RoomLimits, now: Int64, next: Int64 = 0) {
        born = now
        self.now = now
        self.limits = limits
        self.next = next
    }

    func standing(_ client: String) -> Standing {
        if let index = line.firstIndex(where: { $0.client == client }) {
            return .waiting(number: line[index].number, rank: Int64(index + 1))
        }
        if let pass = active[client] { return pass.expires > now ? .admitted(expires: pass.expires) : .finished }
        return finished.contains(client) || cleared.contains(client) ? .finished : .unknown
    }

    // MARK: calls

    mutating func join(_ joins: [(client: String, holder: Int64)]) -> [Standing] {
        let hadLine = !line.isEmpty
        expire()
        var rejected: Set<String> = []
        for (client, holder) in joins {
            if active[client] != nil {
                active[client]!.wasSeen = true
            } else if let index = line.firstIndex(where: { $0.client == client }) {
                keep(index, holder)
            } else if limits.ordering == .reject {
                rejected.insert(client)
            } else {
                next += 1
                counters.joined += 1
                finished.remove(client)
                cleared.remove(client)
                line.append(
                    Waiter(
                        client: client, number: next,
                        presence: holder > 0 ? .held(holder) : .until(end(of: now + limits.graceSeconds * 1000))))
            }
        }
        admit(passes: joins.count)
        if !hadLine, !line.isEmpty { ticked = now }
        return joins.map { join in
            if rejected.contains(join.client) { return .rejected }
            if let pass = active[join.client] { return .admitted(expires: pass.expires) }
            return standing(join.client)
        }
    }

    mutating func leave(_ client: String) -> Bool {
        var wasThere = true
        if let index = line.firstIndex(where: { $0.client == client }) {
            line.remove(at: index)
            finished.insert(client)
            counters.left += 1
        } else if active.removeValue(forKey: client) != nil {
            finished.insert(client)
            counters.left += 1
        } else {
            wasThere = false
        }
        proceed(passes: 4)
        return wasThere
    }

    mutating func away(_ client: String, holder: Int64) {
        guard let index = line.firstIndex(where: { $0.client == client }), line[index].presence == .held(holder) else {
            return
        }
        line[index].presence = .until(end(of: now + limits.graceSeconds * 1000))
    }

    mutating func hold(_ clients: [String], holder: Int64) -> [Standing] {
        for client in clients {
            if let index = line.firstIndex(where: { $0.client == client }) {
                line[index].presence = .held(holder)
            } else {
                active[client]?.wasSeen = true
            }
        }
        // Nobody loses a pass by being held whose time is just over: it ends when somebody looks.
        return clients.map { client in
            active[client].map { .admitted(expires: $0.expires) } ?? standing(client)
        }
    }

    mutating func ask(_ client: String) {
        if let index = line.firstIndex(where: { $0.client == client }) {
            keep(index, 0)
        } else if let pass = active[client], pass.expires > now {
            active[client]!.wasSeen = true
        }
    }

    mutating func tick(passes: Int) {
        let silence = now - ticked
        if !line.isEmpty, silence > Self.silence {
            silences += 1
            born += silence
            for index in line.indices {
                if case .until(let end) = line[index].presence { line[index].presence = .until(end + silence) }
            }
        }
        if silence >= Self.grain { ticked = now }
        guard !isDrawing else { return expire() }
        let gone = line.filter { if case .until(let end) = $0.presence { end <= now } else { false } }
        line.removeAll { waiter in gone.contains(waiter) }
        finished.formUnion(gone.map(\.client))
        counters.vanished += Int64(gone.count)
        proceed(passes: passes)
    }

    mutating func spend(_ client: String, before: Int64) {
        if let pass = active[client], pass.issued <= before {
            active[client] = nil
            finished.insert(client)
            counters.spent += 1
        }
        proceed(passes: 5)
    }

    mutating func check(_ client: String) -> (isValid: Bool, isKept: Bool) {
        guard var pass = active[client], pass.expires > now else { return (false, false) }
        let isKept = pass.expires < now + 5000
        if isKept {
            pass.freeAt = max(pass.freeAt, now + 5000)
            pass.openChecks = min(8, pass.openChecks + 1)
        }
        pass.wasSeen = true
        active[client] = pass
        return (true, isKept)
    }

    mutating func endCheck(_ client: String) {
        guard let pass = active[client] else { return }
        active[client]!.openChecks = max(0, pass.openChecks - 1)
        if pass.openChecks <= 1 { active[client]!.freeAt = pass.expires }
    }

    mutating func setSales(opens: Int64, isLive: Bool, version: Int64, passes: Int) -> Int64 {
        var sentHome: Int64 = 0
        // Of one version the clock only ends sales, and so moves the earliest opening on.
        let isLater = self.isLive != isLive ? !isLive : opens >= self.opens
        guard version > salesVersion || version == salesVersion && isLater else {
            proceed(passes: passes)
            return 0
        }
        salesVersion = version
        if self.isLive, !isLive, !line.isEmpty {
            sentHome = Int64(line.count)
            cleared = Set(line.map(\.client))
            line = []
            counters.closed += sentHome
        }
        self.opens = opens
        self.isLive = isLive
        proceed(passes: passes)
        return sentHome
    }

    mutating func define(_ limits: RoomLimits) {
        self.limits = limits
        nextAdmission = min(nextAdmission, interval.map { Double(now) + $0 } ?? 0)
    }

    /// Whether lots are to be drawn; nil when not at all.
    var isDrawDue: Bool? {
        if isDrawing { return true }
        return limits.ordering == .random && !isDrawn && opens > 0 ? opens <= now : nil
    }

    /// Whether nobody is admitted for now, however many places are free.
    var isHeld: Bool {
        isDrawDue != nil || limits.ordering == .reject || limits.ordering != .passthrough && opens > now
    }

    mutating func beginDraw() { isDrawing = true }

    mutating func endDraw() {
        isDrawing = false
        isDrawn = true
        line = line.reversed().enumerated().map { place, waiter in
            Waiter(
                client: waiter.client, number: next + Int64(place) + 1,
                presence: .until(end(of: now + limits.graceSeconds * 1000)))
        }
        next += Int64(line.count)
    }

    /// The room is as one in which lots were never drawn.
    mutating func forgetDraw() { isDrawn = false }

    mutating func orphan(_ gateway: Int64, lastBeat: Int64) {
        for index in line.indices where line[index].presence == .held(gateway) {
            line[index].presence = .until(end(of: lastBeat + limits.graceSeconds * 1000))
        }
    }

    /// When something happens by the clock alone; nil when nothing does.
    var due: Int64? {
        var moments = active.values.map(\.freeAt)
        if !isDrawing {
            for case .until(let end) in line.map(\.presence) { moments.append(end) }
        }
        if opens > now, !line.isEmpty, limits.ordering != .passthrough { moments.append(opens) }
        if let free = freeFrom, Int64(active.count) < limits.maxActive { moments.append(free) }
        return moments.min()
    }

    // MARK: rules

    private mutating func keep(_ index: Int, _ holder: Int64) {
        if holder > 0 {
            line[index].presence = .held(holder)
        } else if case .until = line[index].presence {
            line[index].presence = .until(end(of: now + limits.graceSeconds * 1000))
        }
    }

    /// A moment, by the grain.
    private func end(of moment: Int64) -> Int64 {
        born + max(1, (moment - born + Self.grain - 1) / Self.grain) * Self.grain
    }

    private mutating func proceed(passes: Int) {
        expire()
        admit(passes: passes)
    }

    private mutating func expire() {
        for (client, pass) in active where pass.freeAt <= now {
            active[client] = nil
            finished.insert(client)
            counters.expired += 1
            if !pass.wasSeen { counters.noShow += 1 }
            told[client, default: []].append(.expired)
        }
    }

    private var interval: Double? {
        limits.ordering == .passthrough ? nil : limits.admitPerMinute.map { 60_000 / Double($0) }
    }

    /// From when on the first in line may be admitted if there is a place; nil when nobody waits, or not by the clock.
    private var freeFrom: Int64? {
        guard !line.isEmpty, !isHeld else { return nil }
        guard interval != nil else { return now }
        return max(now, Int64(nextAdmission.rounded(.up)))
    }

    private mutating func admit(passes: Int) {
        while freeFrom == now, admitOne(passes) {}
        admittedInCall = 0
    }

    private var admittedInCall = 0

    private mutating func admitOne(_ passes: Int) -> Bool {
        guard Int64(active.count) < limits.maxActive, admittedInCall < passes else { return false }
        if let interval {
            // One after the other, at most what was missed in the last grain.
            nextAdmission = max(nextAdmission, Double(now) - max(0, Double(Self.grain) - interval))
            guard nextAdmission <= Double(now) else { return false }
            nextAdmission += interval
        }
        admittedInCall += 1
        let waiter = line.removeFirst()
        let wasHeld = if case .held = waiter.presence { true } else { false }
        let expires = now + limits.passSeconds * 1000
        active[waiter.client] = Pass(issued: now, expires: expires, freeAt: expires, wasSeen: wasHeld)
        counters.admitted += 1
        told[waiter.client, default: []].append(.admitted(expires: expires))
        admissions.append((waiter.client, waiter.number, now))
        return true
    }
}
