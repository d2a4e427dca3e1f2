#ifndef DIBS_CWEBSOCKETS_SHIM_H
#define DIBS_CWEBSOCKETS_SHIM_H
#include <libwebsockets.h>
// LWS_PRE is an expression macro that Swift does not import: the room that lws_write wants before a payload.
static const int dibs_lws_pre = LWS_PRE;
#endif
