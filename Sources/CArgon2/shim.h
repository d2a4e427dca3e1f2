#ifndef DIBS_CARGON2_SHIM_H
#define DIBS_CARGON2_SHIM_H
#include <argon2.h>
#endif
