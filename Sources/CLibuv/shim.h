#ifndef DIBS_CLIBUV_SHIM_H
#define DIBS_CLIBUV_SHIM_H
// libuv's own API; nothing here is variadic or a function-like macro that Swift needs.
#include <uv.h>
#endif
