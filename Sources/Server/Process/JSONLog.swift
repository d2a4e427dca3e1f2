import EventLoop
import Foundation
import Model

extension Log {
    /// Writes one JSON object a line to standard output: `time`, `level`, `event`, and the event's fields.
    ///
    /// Each line is one `write`, so that lines of several workers don't mix.
    public static func lines(from level: LogLevel, fields common: [String: LogValue] = [:]) -> Log {
        Log { eventLevel, event, fields in
            guard eventLevel >= level else { return }
            var json = JSONWriter()
            json.object { json in
                json.member("time", Timestamp(milliseconds: EventLoop.wallMilliseconds))
                json.member("level", eventLevel.rawValue)
                json.member("event", event)
                // One of each name: readers of JSON differ in which of two they take.
                for (name, value) in common.sorted(by: { $0.key < $1.key }) where fields[name] == nil {
                    json.logField(name, value)
                }
                for (name, value) in fields.sorted(by: { $0.key < $1.key }) { json.logField(name, value) }
            }
            let line = json.bytes + [UInt8(ascii: "\n")]
            // A log that cannot be written (a closed pipe) must not end the server: the result is ignored.
            _ = line.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func logField(_ name: String, _ value: LogValue) {
        key(dynamic: name)
        switch value {
        case .text(let text): string(text)
        case .number(let number): self.number(number)
        case .flag(let flag): raw(flag ? "true" : "false")
        }
    }
}
