#ifndef DIBS_CJWT_SHIM_H
#define DIBS_CJWT_SHIM_H
#include <jwt.h>
#endif
