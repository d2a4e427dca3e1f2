import EventLoop
import Gateway
import Model

/// A place in a room's line as it is pushed (`rank`): thousands of them in one go, so each is written over the last one, and
/// what never changes is encoded once.
@LoopActor
struct RankFrame {
    private let frame = TextFrame()
    private let beginning: [UInt8]

    init(room: RoomID) {
        var json = JSONWriter()
        json.string(room.rawValue)
        beginning = Array("{\"type\":\"rank\",\"room\":".utf8) + json.bytes + Array(",\"rank\":".utf8)
    }

    /// The frame of a place; good until the next one is asked for.
    func callAsFunction(_ place: PlaceInLine) -> TextFrame {
        frame.clear()
        frame.append(beginning)
        frame.append(place.rank)
        frame.append(",\"waiting\":")
        frame.append(place.waiting)
        frame.append(",\"estimatedSeconds\":")
        if let seconds = place.estimatedSeconds { frame.append(seconds) } else { frame.append("null") }
        if let isReachable = place.isReachable {
            frame.append(isReachable ? ",\"reachable\":true" : ",\"reachable\":false")
        }
        if place.isProvisional { frame.append(",\"provisional\":true") }
        frame.append(",\"seq\":")
        frame.append(place.event)
        frame.append("}")
        return frame
    }
}
