/* Threads and memory. The OpenMP runtime that PyTorch has loaded runs the threads: its address is
 * handed in when the library is loaded (kernels/library.py), so that there is one runtime, one pool,
 * and nothing to link to. Without one, everything runs in the calling thread. */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

/* The threads that work on something together, as one of them sees them. */
typedef struct {
  int64_t number, count;
} team_t;

typedef void (*block_function)(void *argument, int64_t first, int64_t last, team_t team);

static void (*begin_threads)(void (*function)(void *), void *data, unsigned threads, unsigned flags);
static void (*meet_threads)(void);
static int (*thread_number)(void);
static int (*thread_count)(void);

typedef struct {
  block_function function;
  void *argument;
  int64_t count;
} work_t;

static void one_thread(void *data) {
  work_t *work = data;
  team_t team = {thread_number(), thread_count()};
  int64_t t = team.number, n = team.count;
  work->function(work->argument, work->count * t / n, work->count * (t + 1) / n, team);
}

/* Calls a function on parts of 0 … count. */
static void parallel(block_function function, void *argument, int64_t count, int64_t threads) {
  if (threads > count) threads = count;
  if (threads <= 1 || !begin_threads) {
    function(argument, 0, count, (team_t){0, 1});
    return;
  }
  work_t work = {function, argument, count};
  begin_threads(one_thread, &work, (unsigned)threads, 0);
}

/* Waits until all threads of a team are here. */
static void meet(team_t team) {
  if (team.count > 1) meet_threads();
}

/* How many threads to use for so many numbers: waking one takes as long as some ten thousand. */
static int64_t threads_for(int64_t numbers, int64_t threads) {
  int64_t worth = 1 + numbers / 200000;
  return worth < threads ? worth : threads;
}

/* Memory that a thread keeps from call to call, and gives back when it ends. */
typedef struct {
  void *memory;
  int64_t size;
} store_t;

typedef struct {
  store_t own, shared;
} stores_t;

static pthread_key_t stores_key;
static pthread_once_t stores_once = PTHREAD_ONCE_INIT;
static int stores_ready;

static void forget(void *data) {
  stores_t *stores = data;
  free(stores->own.memory);
  free(stores->shared.memory);
  free(stores);
}

static void make_key(void) { stores_ready = pthread_key_create(&stores_key, forget) == 0; }

static stores_t *stores_of_thread(void) {
  pthread_once(&stores_once, make_key);
  if (!stores_ready) return 0;
  stores_t *stores = pthread_getspecific(stores_key);
  if (!stores && (stores = calloc(1, sizeof *stores))) pthread_setspecific(stores_key, stores);
  return stores;
}

static void *grown(store_t *store, int64_t size) {
  if (size > store->size) {
    free(store->memory);
    store->size = 0;
    store->memory = 0;
    if (posix_memalign(&store->memory, 64, (size_t)size)) {
      store->memory = 0;
      return 0;
    }
    store->size = size;
  }
  return store->memory;
}

static void *scratch_of(int64_t size) {
  stores_t *stores = stores_of_thread();
  return stores ? grown(&stores->own, size) : 0;
}

static void *shared_of(int64_t size) {
  stores_t *stores = stores_of_thread();
  return stores ? grown(&stores->shared, size + 64) : 0;
}
