#ifndef DIBS_CWEBSOCKETS_SHIM_H
#define DIBS_CWEBSOCKETS_SHIM_H
#include <libwebsockets.h>
// LWS_PRE is an expression macro that Swift does not import: the room that lws_write wants before a payload.
static const int dibs_lws_pre = LWS_PRE;
// glibc declares it with _GNU_SOURCE only, which Swift's importer doesn't define: accepts a socket that is non-blocking
// and not inherited by children from the start.
extern int accept4(int, struct sockaddr *, socklen_t *, int);

/// Has the processor fetch some bytes, without waiting for them.
static inline void dibs_prefetch(const void *from, long bytes) {
    for (long at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)from + at, 1);
}

// TLS. libwebsockets makes the connections and an SSL_CTX for its vhost, but has no way to change a vhost's certificate:
// so each handshake is moved to the SSL_CTX that holds the newest one, in the callback in which OpenSSL allows that. They
// are here because Swift doesn't import OpenSSL's macros.
#include <openssl/err.h>
#include <openssl/x509.h>

/// The newest certificate's SSL_CTX; `arg` points to the place where its address stands. It is called for clients
/// without SNI as well.
static inline int dibs_tls_choose(SSL *ssl, int *alert, void *arg) {
    SSL_CTX *newest = *(SSL_CTX **)arg;
    (void)alert;
    return newest && SSL_set_SSL_CTX(ssl, newest) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// HTTP/1.1 is all that is spoken here.
static inline int dibs_tls_alpn(
    SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *in, unsigned int inLength,
    void *arg) {
    static const unsigned char spoken[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)out, length, spoken, 9, in, inLength) == OPENSSL_NPN_NEGOTIATED
        ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/// What every SSL_CTX gets: TLS 1.2 at least, no renegotiation (a client's way to make a server calculate), and
/// resumption by tickets only, which cost the server no memory.
static inline void dibs_tls_restrict(SSL_CTX *context) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, dibs_tls_alpn, NULL);
}

/// Makes the vhost's SSL_CTX hand each handshake to the newest one, in place of the library's own choice by name.
static inline void dibs_tls_delegate(SSL_CTX *context, void *place) {
    SSL_CTX_set_tlsext_servername_callback(context, dibs_tls_choose);
    SSL_CTX_set_tlsext_servername_arg(context, place);
}

/// When a certificate ends, in seconds since 1970; 0 when that can't be told.
static inline long long dibs_tls_expiry(SSL_CTX *context) {
    struct tm parts;
    X509 *certificate = SSL_CTX_get0_certificate(context);
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) return 0;
    return (long long)timegm(&parts);
}
#endif
