/* Weights as products read them: masked and put in order where there are limits. */

typedef struct {
  FN(job) *job;
  REAL *weight[MOST_LAYERS], *bias[MOST_LAYERS];
} FN(packing);

static void FN(pack_rows)(void *argument, int64_t first, int64_t last, int64_t thread) {
  const FN(packing) *p = argument;
  const layer_t *l = p->job->layer;
  int64_t before = 0;
  (void)thread;
  for (int64_t i = 0; i < l->layers; before += l->linear[i].outputs, i++) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, outputs = linear->outputs;
    int64_t begin = first > before ? first - before : 0;
    int64_t end = last - before < outputs ? last - before : outputs;
    for (int64_t o = begin; o < end; o++) {
      int64_t row = linear->rows ? linear->rows[o] : o;
      const REAL *from = (const REAL *)l->weight[i] + row * inputs;
      if (!linear->limit) continue;
      int64_t seen = linear->limit[o];
      REAL *to = p->weight[i] + o * inputs;
      for (int64_t k = 0; k < seen; k++) to[k] = from[linear->columns ? linear->columns[k] : k];
      for (int64_t k = seen; k < inputs; k++) to[k] = 0;
      p->bias[i][o] = ((const REAL *)l->bias[i])[row];
    }
  }
}

/* Points a job to weights, packing what needs it into memory of the calling thread; 0 if there is
 * none. `extra` numbers are left free at the end of it, where `job->gradients` then points. */
static int FN(pack)(FN(job) *job, int backward, int64_t extra) {
  const layer_t *l = job->layer;
  FN(packing) p = {.job = job};
  int64_t numbers = extra, starts = 0, rows = 0;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t size = linear->outputs * linear->inputs;
    numbers += linear->limit ? size + linear->outputs : 0;
    starts += linear->limit && backward ? linear->inputs : 0;
    rows += linear->outputs;
  }
  char *memory = shared_of(numbers * (int64_t)sizeof(REAL) + starts * (int64_t)sizeof(int64_t));
  if (!memory) return 0;
  int64_t *start = (int64_t *)memory;
  REAL *next = (REAL *)(start + starts);
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, outputs = linear->outputs;
    job->weight[i] = l->weight[i], job->bias[i] = l->bias[i], job->start[i] = 0;
    if (linear->limit) {
      job->weight[i] = p.weight[i] = next, next += outputs * inputs;
      job->bias[i] = p.bias[i] = next, next += outputs;
    }
    if (linear->limit && backward) {
      int64_t o = 0;
      job->start[i] = start;
      for (int64_t k = 0; k < inputs; k++) {
        while (o < outputs && linear->limit[o] <= k) o++;
        start[k] = o;
      }
      start += inputs;
    }
  }
  job->gradients = next;
  if (numbers > extra) parallel(FN(pack_rows), &p, rows, threads_for(numbers - extra, l->threads));
  return 1;
}

/* How many threads are worth their while: additions and products of all rows, `passes` times. */
static int64_t FN(threads_of)(const FN(job) *job, int64_t passes) {
  const layer_t *l = job->layer;
  int64_t each = l->moved * l->map.width * 20; /* what the map costs, about */
  for (int64_t i = 0; i < l->layers; i++) each += 2 * l->linear[i].inputs * l->linear[i].outputs;
  return threads_for(passes * each / 16 * l->rows, l->threads);
}

static int FN(layer_run)(const layer_t *l) {
  FN(job) job = {0};
  FN(measure)(l, &job);
  if (!FN(pack)(&job, 0, 0)) return 1;
  int64_t blocks = (l->rows + BLOCK - 1) / BLOCK;
  int sequential = l->inverse && l->linear[0].limit != 0;
  parallel(sequential ? FN(sequential_blocks) : FN(layer_blocks), &job, blocks,
           FN(threads_of)(&job, 1));
  return job.failed;
}

static int FN(layer_backward_run)(const layer_t *l) {
  FN(job) job = {0};
  FN(measure)(l, &job);
  int64_t blocks = (l->rows + BLOCK - 1) / BLOCK, rows = 0;
  int64_t used = FN(threads_of)(&job, 2);
  if (used > blocks) used = blocks;
  if (used < 1) used = 1;
  if (!FN(pack)(&job, 1, used * job.gradient_step)) return 1;
  int64_t ran = parallel(FN(layer_backward_blocks), &job, blocks, used);
  FN(total) total = {.job = &job, .used = ran};
  for (int64_t i = 0; i < l->layers; i++) rows += l->linear[i].outputs;
  parallel(FN(gradient_rows), &total, rows, threads_for(ran * job.gradient_step, l->threads));
  return job.failed;
}
