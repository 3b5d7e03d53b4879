/* The compiled inner loops of pushforward: a plain C interface, without Python's or PyTorch's
 * headers, so that one build serves every version of either.
 *
 * The same source is compiled for several kinds of processor, and the best that there is is taken
 * when the library is loaded: one binary runs everywhere. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "threads.h"
#include "types.h"

#define ALWAYS inline __attribute__((always_inline))
#define MOST_TERMS 64                 /* bins or components */
#define MOST_WIDTH (3 * MOST_TERMS + 2) /* parameters of one number */

typedef struct {
  int (*elementwise)(const elementwise_t *);
  int (*elementwise_backward)(const elementwise_t *);
  int (*layers)(const layer_t *, int64_t);
  int (*layers_backward)(const layer_t *, int64_t);
} functions_t;

#define TARGET_NAME plain
#define VECTOR_BYTES 16
#include "both_types.h"
#undef TARGET_NAME
#undef VECTOR_BYTES

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define TARGET_NAME avx2
#define VECTOR_BYTES 32
#include "both_types.h"
#undef TARGET_NAME
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#if defined(TEST_WIDE) /* the widest vectors, in instructions that the testing machine has */
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#endif
#define TARGET_NAME avx512
#define VECTOR_BYTES 64
#include "both_types.h"
#undef TARGET_NAME
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

typedef struct {
  const char *name;
  const functions_t *single, *twice;
} target_t;

static const target_t targets[] = {
#if defined(__x86_64__)
    {"avx512", &functions_single_avx512, &functions_twice_avx512},
    {"avx2", &functions_single_avx2, &functions_twice_avx2},
#endif
    {"plain", &functions_single_plain, &functions_twice_plain},
};

enum { TARGETS = sizeof targets / sizeof *targets };
static int chosen = TARGETS - 1;

static int runs_here(int target) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(TEST_WIDE)
  if (target == 0) target = 1;
#endif
  if (target == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (target == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return target == TARGETS - 1;
}

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Which version of the structures this library reads. */
EXPORT int64_t pushforward_version(void) { return 3; }
EXPORT int64_t pushforward_sizes(int64_t which) {
  return which == 0 ? sizeof(elementwise_t) : which == 1 ? sizeof(layer_t) : MOST_CHAINED;
}

/* Takes an OpenMP runtime: GOMP_parallel, GOMP_barrier, omp_get_thread_num, omp_get_num_threads. */
EXPORT void pushforward_threads(void *begin, void *meet, void *number, void *count) {
  *(void **)&begin_threads = begin;
  *(void **)&meet_threads = meet;
  *(void **)&thread_number = number;
  *(void **)&thread_count = count;
}

/* The name of a kind of processor, best first; NULL behind the last. */
EXPORT const char *pushforward_target(int64_t i) { return i < TARGETS ? targets[i].name : 0; }
/* Chooses a kind of processor; 0 if it is not this one's. */
EXPORT int64_t pushforward_choose(int64_t i) {
  if (i < 0 || i >= TARGETS || !runs_here((int)i)) return 0;
  chosen = (int)i;
  return 1;
}

EXPORT int64_t pushforward_elementwise(const elementwise_t *e, int64_t twice) {
  return (twice ? targets[chosen].twice : targets[chosen].single)->elementwise(e);
}
EXPORT int64_t pushforward_elementwise_backward(const elementwise_t *e, int64_t twice) {
  return (twice ? targets[chosen].twice : targets[chosen].single)->elementwise_backward(e);
}
/* Layers in a row, in the order in which they are applied. */
EXPORT int64_t pushforward_layers(const layer_t *l, int64_t count, int64_t twice) {
  return (twice ? targets[chosen].twice : targets[chosen].single)->layers(l, count);
}
EXPORT int64_t pushforward_layers_backward(const layer_t *l, int64_t count, int64_t twice) {
  return (twice ? targets[chosen].twice : targets[chosen].single)->layers_backward(l, count);
}

/* setuptools asks for this symbol on some systems; the library is no module of Python. */
EXPORT void *PyInit__compiled(void) { return 0; }
