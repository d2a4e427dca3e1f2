import CWebSockets
import EventLoop
import Glibc
import Model

/// The certificate and key that a server shows, which may be replaced while it runs.
///
/// libwebsockets does TLS; what it can't do is change a vhost's certificate. A second vhost would not do: the library
/// picks vhosts by the port and the name that a client asks for, and would go on to find the first
/// (`lws_select_vhost`, lib/roles/http/server/server.c:358). So the vhost's SSL_CTX hands each handshake to the newest
/// SSL_CTX of ours (`dibs_tls_choose`). Connections keep the one with which they began; OpenSSL counts who uses each.
@LoopActor
final class TLSIdentity {
    private let files: TLSFiles
    /// Where `dibs_tls_choose` finds the newest. Never freed: the library's vhost lives as long as the process.
    private let newest: UnsafeMutablePointer<OpaquePointer?>
    private var seen: [Stamp?]

    /// When the certificate ends, in seconds since 1970.
    private(set) var expiresAt: Int64

    /// Reads the files.
    /// - Throws: ``GatewayError`` when they can't be used.
    init(_ files: TLSFiles) throws(GatewayError) {
        self.files = files
        seen = TLSIdentity.stamps(of: files)
        let context = try TLSIdentity.load(files)
        newest = .allocate(capacity: 1)
        newest.initialize(to: context)
        expiresAt = dibs_tls_expiry(context)
    }

    /// Takes new files into use; keeps what it has when they are no good.
    func reload(always: Bool, _ log: Log) {
        let stamps = TLSIdentity.stamps(of: files)
        guard always || stamps != seen else { return }
        seen = stamps
        do {
            let context = try TLSIdentity.load(files)
            SSL_CTX_free(newest.pointee)
            newest.pointee = context
            expiresAt = dibs_tls_expiry(context)
            log(.info, "certificate_loaded", ["expiresAt": .init(Timestamp(milliseconds: expiresAt * 1000))])
        } catch {
            log(.error, "certificate_refused", ["error": .init("\(error)")])
        }
    }

    // MARK: Into the library

    private static var installed: TLSIdentity?

    /// Makes a vhost that shows this identity: the library asks for it by a callback in between.
    static func installing<Value>(_ identity: TLSIdentity?, _ make: () throws -> Value) rethrows -> Value {
        installed = identity
        defer { installed = nil }
        return try make()
    }

    /// The library has made the SSL_CTX of a vhost. Returns what its callback has to return: 0 for good.
    static func install(_ context: OpaquePointer?) -> Int32 {
        guard let context, let installed else { return 0 }
        dibs_tls_restrict(context)
        dibs_tls_delegate(context, installed.newest)
        return 0
    }

    // MARK: Files

    /// Tells one version of a file from another.
    private struct Stamp: Equatable {
        let inode: UInt
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    private static func stamps(of files: TLSFiles) -> [Stamp?] {
        [files.certificate, files.key].map { path in
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            return Stamp(
                inode: UInt(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
                nanoseconds: status.st_mtim.tv_nsec)
        }
    }

    /// An SSL_CTX with the certificate and its key, which fit each other.
    nonisolated static func load(_ files: TLSFiles) throws(GatewayError) -> OpaquePointer {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw failure("TLS") }
        dibs_tls_restrict(context)
        if SSL_CTX_use_certificate_chain_file(context, files.certificate) != 1 {
            SSL_CTX_free(context)
            throw failure("the certificate")
        }
        // Without this, OpenSSL would ask for the password of an encrypted key, at whatever terminal there is.
        var isAsked: Int32 = 0
        let isUsed = withUnsafeMutablePointer(to: &isAsked) { asked in
            SSL_CTX_set_default_passwd_cb_userdata(context, asked)
            SSL_CTX_set_default_passwd_cb(context) { _, _, _, asked in
                asked?.assumingMemoryBound(to: Int32.self).pointee = 1
                return 0
            }
            defer { SSL_CTX_set_default_passwd_cb_userdata(context, nil) }
            return SSL_CTX_use_PrivateKey_file(context, files.key, SSL_FILETYPE_PEM) == 1
        }
        if isAsked != 0 {
            SSL_CTX_free(context)
            ERR_clear_error()
            throw GatewayError(description: "the key is encrypted: nobody is here to ask for its password", code: 0)
        }
        if !isUsed || SSL_CTX_check_private_key(context) != 1 {
            SSL_CTX_free(context)
            throw failure("the key")
        }
        return context
    }

    private nonisolated static func failure(_ what: String) -> GatewayError {
        var text = [CChar](repeating: 0, count: 256)
        ERR_error_string_n(ERR_get_error(), &text, text.count)
        ERR_clear_error()
        let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return GatewayError(description: "\(what) can't be used: \(words)", code: 0)
    }
}

extension TLSFiles {
    /// Why they can't be used; nil when they can.
    public var problem: String? {
        do {
            SSL_CTX_free(try TLSIdentity.load(self))
            return nil
        } catch {
            return error.description
        }
    }
}
