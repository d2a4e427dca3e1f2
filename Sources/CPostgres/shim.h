#ifndef DIBS_CPOSTGRES_SHIM_H
#define DIBS_CPOSTGRES_SHIM_H
#include <libpq-fe.h>
// PG_DIAG_* are character literals behind macros, which Swift does not import.
static const int dibs_pg_diag_sqlstate = PG_DIAG_SQLSTATE;
static const int dibs_pg_diag_message_primary = PG_DIAG_MESSAGE_PRIMARY;
static const int dibs_pg_diag_constraint_name = PG_DIAG_CONSTRAINT_NAME;
#endif
