#ifndef DIBS_CWEBSOCKETS_SHIM_H
#define DIBS_CWEBSOCKETS_SHIM_H
#include <libwebsockets.h>
// LWS_PRE is an expression macro that Swift does not import: the room that lws_write wants before a payload.
static const int dibs_lws_pre = LWS_PRE;
// glibc declares it with _GNU_SOURCE only, which Swift's importer doesn't define: accepts a socket that is non-blocking
// and not inherited by children from the start.
extern int accept4(int, struct sockaddr *, socklen_t *, int);
#endif
