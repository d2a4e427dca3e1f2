#ifndef DIBS_CHIREDIS_SHIM_H
#define DIBS_CHIREDIS_SHIM_H
// timeval is used in hiredis' declarations without being included by them.
#include <sys/time.h>
#include <hiredis/hiredis.h>
#include <hiredis/async.h>
#endif
