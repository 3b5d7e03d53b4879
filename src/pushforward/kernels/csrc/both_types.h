/* Single and double precision, for one kind of processor. */

#define REAL float
#define INT int32_t
#define REAL_NAME single
#define SINGLE
#define SQRT __builtin_sqrtf
#define FLOOR __builtin_floorf
#include "body.h"
#undef REAL
#undef INT
#undef REAL_NAME
#undef SINGLE
#undef SQRT
#undef FLOOR

#define REAL double
#define INT int64_t
#define REAL_NAME twice
#define SQRT __builtin_sqrt
#define FLOOR __builtin_floor
#include "body.h"
#undef REAL
#undef INT
#undef REAL_NAME
#undef SQRT
#undef FLOOR
