import EventLoop

/// Names a state, such as what is left of a sale or a place in a line. A newer value replaces one that was not sent.
public struct StateKey: Hashable, Sendable {
    /// What kind of state; numbered by whoever uses the gateway.
    public let kind: UInt32
    /// Which one of the kind.
    public let subject: Int64

    /// A key from its parts.
    public init(kind: UInt32, subject: Int64) {
        self.kind = kind
        self.subject = subject
    }
}

/// What a connection's socket doesn't take yet. Exists only while there is something in it.
struct Outbox {
    /// A state that has changed, and how to write its newest value.
    struct Mark {
        let key: StateKey
        let encode: Encoder
    }

    /// Writes the newest value of a state; nil when there is nothing to say any more.
    enum Encoder {
        case short(@LoopActor () -> [UInt8]?)
        case long(@LoopActor () -> LongText?)
    }

    /// What is to be sent next.
    enum Item {
        case message([UInt8])
        case long(LongText)
    }

    /// Messages in order, without those before `first`.
    private var messages: [[UInt8]] = []
    private var first = 0
    private var marks: [Mark] = []
    /// Bytes in the messages.
    private(set) var bytes = 0

    var isEmpty: Bool { first == messages.count && marks.isEmpty }

    mutating func append(_ message: [UInt8]) {
        messages.append(message)
        bytes += message.count
    }

    /// Marks a state, in the place of an older mark of the same key.
    mutating func mark(_ mark: Mark) {
        if let index = marks.firstIndex(where: { $0.key == mark.key }) {
            marks[index] = mark
        } else {
            marks.append(mark)
        }
    }

    mutating func removeMark(_ key: StateKey) { marks.removeAll { $0.key == key } }

    /// The next message, and after all of them the states.
    @LoopActor
    mutating func next() -> Item? {
        if first < messages.count {
            let message = messages[first]
            messages[first] = []
            first += 1
            if first == messages.count || first >= 256 {
                messages.removeFirst(first)
                first = 0
            }
            bytes -= message.count
            return .message(message)
        }
        while !marks.isEmpty {
            switch marks.removeFirst().encode {
            case .short(let encode): if let value = encode() { return .message(value) }
            case .long(let encode): if let value = encode(), !value.parts.isEmpty { return .long(value) }
            }
        }
        return nil
    }
}
