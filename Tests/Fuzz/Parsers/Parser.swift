/// Reads bytes from outside with one of our parsers, and says what is wrong with how it did that.
struct Parser: Sendable {
    /// As `make fuzz PARSER=` and the folder of its corpus have it.
    let name: String
    /// What of all that has to hold doesn't; nil when all is well. That it must not trap goes without saying.
    let check: @Sendable ([UInt8]) -> String?

    /// Every parser of bytes from outside.
    static let all: [Parser] = [
        Parser(name: "message", check: JSONParsers.message),
        Parser(name: "body", check: JSONParsers.body),
        Parser(name: "json", check: JSONParsers.syntax),
        Parser(name: "path", check: PathParsers.path),
        Parser(name: "token", check: TokenParsers.token),
        Parser(name: "redis", check: RedisParsers.reply),
        Parser(name: "texts", check: RedisParsers.texts),
        Parser(name: "line", check: LineParsers.line),
        Parser(name: "configuration", check: ConfigurationParsers.configuration),
        Parser(name: "http", check: SocketParsers.http),
        Parser(name: "frames", check: SocketParsers.frames),
    ]
}

/// The first complaint of several checks.
func first(_ complaints: @autoclosure () -> String?, _ others: (() -> String?)...) -> String? {
    if let complaint = complaints() { return complaint }
    for other in others { if let complaint = other() { return complaint } }
    return nil
}
