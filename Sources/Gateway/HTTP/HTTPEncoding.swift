import EventLoop
import Glibc

/// A request's version: the answer's line repeats it.
enum HTTPVersion: Sendable {
    case http10
    case http11
}

extension HTTPResponse {
    /// The bytes of the answer: head and body.
    func encode(version: HTTPVersion, keepAlive: Bool, omitBody: Bool, date: String) -> [UInt8] {
        var bytes = encodeHead(version: version, keepAlive: keepAlive, date: date)
        if !omitBody && mayHaveBody { bytes.append(contentsOf: body) }
        return bytes
    }

    /// Whether a body may follow the head (RFC 9110, 15.3.5 and 15.4.5).
    var mayHaveBody: Bool { status != 204 && status != 304 && status >= 200 }

    /// The head, with the length that the body has, whether or not it follows.
    func encodeHead(version: HTTPVersion, keepAlive: Bool, date: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(384)
        bytes.append(contentsOf: version == .http11 ? "HTTP/1.1 ".utf8 : "HTTP/1.0 ".utf8)
        bytes.append(contentsOf: String(status).utf8)
        bytes.append(UInt8(ascii: " "))
        bytes.append(contentsOf: HTTPResponse.reason(status).utf8)
        bytes.append(contentsOf: "\r\ndate: ".utf8)
        bytes.append(contentsOf: date.utf8)
        if mayHaveBody {
            bytes.append(contentsOf: "\r\ncontent-length: ".utf8)
            bytes.append(contentsOf: String(body.count).utf8)
        }
        if !keepAlive {
            bytes.append(contentsOf: "\r\nconnection: close".utf8)
        } else if version == .http10 {
            bytes.append(contentsOf: "\r\nconnection: keep-alive".utf8)
        }
        for (name, value) in headers.fields where !HTTPResponse.isOurs(name) {
            bytes.append(contentsOf: "\r\n".utf8)
            HTTPResponse.append(name, to: &bytes)
            bytes.append(contentsOf: ": ".utf8)
            HTTPResponse.append(value, to: &bytes)
        }
        bytes.append(contentsOf: "\r\n\r\n".utf8)
        return bytes
    }

    private static func isOurs(_ name: String) -> Bool {
        switch name {
        case "content-length", "connection", "date", "transfer-encoding": true
        default: false
        }
    }

    /// A name or value without line breaks, which would let whoever has a say in it add headers.
    private static func append(_ text: String, to bytes: inout [UInt8]) {
        for byte in text.utf8 where byte != 13 && byte != 10 && byte != 0 { bytes.append(byte) }
    }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 500: "Internal Server Error"
        case 503: "Service Unavailable"
        default: "Status"
        }
    }
}

/// The header `date`, made anew once a second.
@LoopActor
enum HTTPDate {
    private static var second = 0
    private static var text = ""

    static var now: String {
        let current = Int(EventLoop.wallMilliseconds / 1000)
        if current != second { (second, text) = (current, format(current)) }
        return text
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    static func format(_ second: Int) -> String {
        var time = time_t(second)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : String(value) }
        return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) "
            + "\(parts.tm_year + 1900) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}
