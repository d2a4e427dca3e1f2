import EventLoop
import Foundation

/// A certificate of a test's own, in a folder that goes with the object.
@LoopActor
public final class Certificates {
    private let folder: URL

    /// The certificate's file.
    public var certificate: String { path("cert.pem") }
    /// Its key's file.
    public var key: String { path("key.pem") }

    /// Makes one for a name.
    public init(_ name: String) async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("dibs-tls-" + UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await make(name)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// A file in the folder.
    public func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// What a file has.
    public func read(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

    /// Writes a file in place.
    public func write(_ data: Data, _ path: String) throws { try data.write(to: URL(fileURLWithPath: path)) }

    /// Puts another certificate and key in the place of those that are there.
    public func make(
        _ name: String, algorithm: [String] = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    ) async throws {
        try await Program.run(
            "/usr/bin/openssl",
            ["req", "-x509", "-newkey"] + algorithm + [
                "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout", path("new-key.pem"), "-out",
                path("new-cert.pem"),
            ])
        for file in ["key.pem", "cert.pem"] { rename(path("new-" + file), path(file)) }
    }
}
