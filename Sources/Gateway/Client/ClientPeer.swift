import CWebSockets
import EventLoop

/// A connection that we open: the base of the clients.
public class ClientPeer: Peer {
    private let headers: [(name: String, value: String)]

    init(headers: [(name: String, value: String)]) {
        self.headers = headers
        super.init()
    }

    /// Begins to connect. What comes of it is told by events.
    /// - Parameter method: nil for a WebSocket.
    final func connect(_ address: ClientAddress, at numeric: String, method: String?) throws {
        let library = try Library.forClients()
        PeerTable.insert(self)
        var info = lws_client_connect_info()
        info.context = library.context
        info.vhost = library.clientVhost
        info.port = address.port
        info.ietf_version_or_minus_one = -1
        info.userdata = UnsafeMutableRawPointer(bitPattern: handle.rawValue)
        let wsi = numeric.withCString { numeric in
            address.target.withCString { target in
                address.authority.withCString { authority in
                    "dibs-client".withCString { name in
                        // The library copies all of these.
                        info.address = numeric
                        info.path = target
                        info.host = authority
                        info.local_protocol_name = name
                        guard let method else { return lws_client_connect_via_info(&info) }
                        return method.withCString { method in
                            info.method = method
                            return lws_client_connect_via_info(&info)
                        }
                    }
                }
            }
        }
        guard let wsi else {
            self.wsi = nil
            PeerTable.remove(self)
            throw GatewayError(description: "cannot connect to \(address.authority)", code: 0)
        }
        // Unless the connection failed during the call.
        if handle != .none { self.wsi = wsi }
    }

    /// Adds our headers to the request that the library is writing. `place` points to the pointer to its end.
    final func appendHeaders(_ place: UnsafeMutableRawPointer?, room: Int) -> Int32 {
        guard let end = place?.assumingMemoryBound(to: UnsafeMutablePointer<UInt8>.self) else { return -1 }
        var text: [UInt8] = []
        for (name, value) in headers {
            text.append(contentsOf: name.utf8)
            text.append(contentsOf: ": ".utf8)
            text.append(contentsOf: value.utf8.filter { $0 != 13 && $0 != 10 && $0 != 0 })
            text.append(contentsOf: "\r\n".utf8)
        }
        guard text.count < room else { return -1 }
        text.withUnsafeBufferPointer { text in
            if let source = text.baseAddress { end.pointee.update(from: source, count: text.count) }
        }
        end.pointee += text.count
        return 0
    }
}
