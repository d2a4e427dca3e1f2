import CWebSockets
import EventLoop

/// Reads the library's table of the headers that it is parsing or has parsed.
@LoopActor
enum HeaderTable {
    /// The value of a header that the library knows; several of one name are joined by commas. Nil when it is absent or
    /// empty, or when there is no table.
    static func value(_ wsi: OpaquePointer, _ token: lws_token_indexes) -> String? {
        let length = Int(lws_hdr_total_length(wsi, token))
        guard length > 0, length <= Library.headerBytes else { return nil }
        return Scratch.string(length) { lws_hdr_copy(wsi, $0, $1, token) }
    }

    /// The value of a header that the library keeps by name. Nil when it is absent; only the first of several.
    static func custom(_ wsi: OpaquePointer, _ name: String) -> String? {
        // The library's names end in the colon.
        var name = name + ":"
        return name.withUTF8 { name in
            name.withMemoryRebound(to: CChar.self) { name in
                let length = Int(lws_hdr_custom_length(wsi, name.baseAddress, Int32(name.count)))
                guard length >= 0, length <= Library.headerBytes else { return nil }
                return Scratch.string(length) {
                    lws_hdr_custom_copy(wsi, $0, $1, name.baseAddress, Int32(name.count))
                }
            }
        }
    }

    /// The pieces of a path or a query, which the library cuts at `&` and `;` and decodes.
    static func fragments(_ wsi: OpaquePointer, _ token: lws_token_indexes) -> [[UInt8]] {
        let room = Scratch.room(Library.headerBytes + 1)
        var fragments: [[UInt8]] = []
        return room.withMemoryRebound(to: CChar.self, capacity: Library.headerBytes + 1) { text in
            while true {
                let count = lws_hdr_copy_fragment(
                    wsi, text, Int32(Library.headerBytes + 1), token, Int32(fragments.count))
                guard count >= 0 else { return fragments }
                fragments.append(Array(UnsafeBufferPointer(start: room, count: Int(count))))
            }
        }
    }

    /// Whether the connection has a table: it has while a request is parsed, and no more once that has failed
    /// (`bail_nuke_ah`, lib/roles/http/server/server.c:2293).
    static func isAttached(_ wsi: OpaquePointer) -> Bool {
        // lws_hdr_custom_copy empties the destination only when there is a table (parsers.c:616).
        var probe: CChar = 1
        let name: StaticString = "-:"
        lws_hdr_custom_copy(
            wsi, &probe, 1, UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), 2)
        return probe == 0
    }
}

extension Scratch {
    /// A text of `length` bytes that `copy` writes, with a NUL behind it.
    fileprivate static func string(
        _ length: Int, _ copy: (UnsafeMutablePointer<CChar>, Int32) -> Int32
    ) -> String? {
        let room = room(length + 1)
        let count = room.withMemoryRebound(to: CChar.self, capacity: length + 1) { copy($0, Int32(length + 1)) }
        guard count >= 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: room, count: Int(count)), as: UTF8.self)
    }
}
