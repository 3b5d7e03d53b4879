/* Couplings and masked autoregressions as wholes: gather, network, map, scatter. What all layers
 * share comes first. */

/* A layer with what is the same for all its blocks. */
typedef struct {
  const layer_t *layer;
  map_t map;
  const REAL *weight[MOST_LAYERS], *bias[MOST_LAYERS]; /* as products read them */
  REAL *packed[MOST_LAYERS];   /* where limits are: room for weight and bias in order, */
  int64_t *start[MOST_LAYERS]; /* and for each input the first output that reads it */
  int64_t inputs, hidden, raw, group; /* units of all kinds; features whose maps go together */
  int64_t saved_step;                 /* numbers that forward saves of a block */
  int64_t gradient_step;              /* numbers of all weights' gradients of a thread */
  REAL *gradients;                    /* those of all threads */
  REAL *reached;                      /* what layers of the same context are shown of it, or 0, */
  int fills;                          /* and whether this one is the first and writes it */
  int failed;
} FN(job);

static const linear_t *FN(last_linear)(const layer_t *l) { return &l->linear[l->layers - 1]; }

static int64_t FN(triangles_step)(const layer_t *l);
static int FN(is_constant)(const layer_t *l);

/* Numbers of a linear layer's gradients: the weight's rows; sums for the bias, and what they lost. */
static int64_t FN(gradients_of)(const linear_t *linear) {
  return linear->outputs * (FN(pitch_of)(linear->inputs) + 2);
}

static void FN(measure)(const layer_t *l, FN(job) *job) {
  job->layer = l;
  job->reached = 0;
  job->failed = 0;
  if (l->kind != NETWORK) {
    job->gradient_step = FN(is_constant)(l) ? 0 : FN(triangles_step)(l);
    return;
  }
  job->map = l->map;
  job->map.low = l->low;
  job->map.high = l->high;
  job->inputs = l->linear[0].inputs;
  job->hidden = 0;
  job->gradient_step = 0;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    if (i + 1 < l->layers) job->hidden += linear->outputs;
    job->gradient_step += FN(gradients_of)(linear);
  }
  job->raw = FN(last_linear)(l)->outputs;
  job->group = l->map.width >= 24 ? 1 : (24 + l->map.width - 1) / l->map.width;
  if (job->group > l->moved) job->group = l->moved;
  job->saved_step = (job->hidden + job->raw) * BLOCK;
}

static int64_t FN(rows_in)(const layer_t *l, int64_t block) {
  int64_t left = l->rows - block * BLOCK;
  return left < BLOCK ? left : BLOCK;
}

/* A column of the rows of a block; rows that are not there are 0. */
static ALWAYS void FN(column)(const REAL *from, int64_t stride, int64_t count, REAL *to) {
  for (int64_t v = 0; v < count; v++) to[v] = from[v * stride];
  for (int64_t v = count; v < BLOCK; v++) to[v] = 0;
}

/* Where the network's inputs of each kind begin. */
static int64_t FN(features_at)(const layer_t *l) { return l->context_first ? l->context : 0; }
static int64_t FN(context_at)(const layer_t *l) { return l->context_first ? 0 : l->seen; }

/* Layers in a row are often given one context: the first of them leaves what they are all shown. */
static void FN(read_context)(const FN(job) *job, int64_t block, int64_t count, REAL *in) {
  const layer_t *l = job->layer;
  int64_t size = l->context * BLOCK;
  if (size == 0) return;
  REAL *shown = in + FN(context_at)(l) * BLOCK;
  REAL *shared = job->reached ? job->reached + block * size : 0;
  if (shared && !job->fills) {
    memcpy(shown, shared, (size_t)size * sizeof(REAL));
    return;
  }
  const REAL *from = (const REAL *)l->context_values + block * BLOCK * l->context_row;
  for (int64_t j = 0; j < l->context; j++) {
    REAL *to = shown + j * BLOCK;
    FN(column)(from + j, l->context_row, count, to);
    EACH_ROW to[v] = FN(reach)(to[v]);
  }
  if (shared) memcpy(shared, shown, (size_t)size * sizeof(REAL));
}

static void FN(read_inputs)(const FN(job) *job, int64_t block, int64_t count, REAL *in) {
  const layer_t *l = job->layer;
  const REAL *x = (const REAL *)l->x + block * BLOCK * l->features;
  for (int64_t j = 0; j < l->seen; j++) {
    REAL *to = in + (FN(features_at)(l) + j) * BLOCK;
    FN(column)(x + l->seen_features[j], l->features, count, to);
    EACH_ROW to[v] = FN(reach)(to[v]);
  }
  FN(read_context)(job, block, count, in);
}

/* The box of a moved feature. */
static int64_t FN(box_of)(const layer_t *l, int64_t j) {
  return l->box_by_feature ? l->moved_features[j] : j;
}

/* One moved feature of a block: read, moved, written, its log-derivative added up. */
static void FN(move_feature)(const FN(job) *job, int64_t block, int64_t count, int64_t j,
                             const REAL *raw, REAL *moved, REAL *logdet) {
  const layer_t *l = job->layer;
  REAL x[BLOCK], log[BLOCK];
  int64_t at = block * BLOCK * l->features + l->moved_features[j];
  FN(column)((const REAL *)l->x + at, l->features, count, x);
  FN(map_move)(&job->map, FN(box_of)(l, j), (int)l->inverse, x, raw, moved, log);
  REAL *z = (REAL *)l->z + at;
  for (int64_t v = 0; v < count; v++) z[v * l->features] = moved[v];
  EACH_ROW logdet[v] += log[v];
}

static void FN(copy_kept)(const layer_t *l, int64_t block, int64_t count, const void *from,
                          void *to) {
  int64_t at = block * BLOCK * l->features;
  for (int64_t j = 0; j < l->kept; j++) {
    int64_t k = at + l->kept_features[j];
    for (int64_t v = 0; v < count; v++)
      ((REAL *)to)[k + v * l->features] = ((const REAL *)from)[k + v * l->features];
  }
}

static void FN(write_logdet)(const layer_t *l, int64_t block, int64_t count, const REAL *logdet) {
  REAL *to = (REAL *)l->logdet + block * BLOCK;
  for (int64_t v = 0; v < count; v++) to[v] = l->adds ? to[v] + logdet[v] : logdet[v];
}

/* Whether forward keeps what the activation was given, rather than what it gave. */
static int FN(keeps_sums)(const layer_t *l) { return l->activation == SILU || l->residual; }

static void FN(add)(int64_t count, const REAL *more, REAL *to) {
  for (int64_t i = 0; i < count; i++) to[i] += more[i];
}

/* The network of a block up to its last hidden layer; returns where that is. `kept` is filled with
 * what backward needs; `scratch` takes what the activation gave where the sums are kept. */
static const REAL *FN(hidden_layers)(const FN(job) *job, const REAL *in, REAL *kept,
                                     REAL *scratch) {
  const layer_t *l = job->layer;
  const REAL *sums = 0;
  for (int64_t i = 0; i + 1 < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t count = linear->outputs * BLOCK;
    REAL *after = FN(keeps_sums)(l) ? scratch : kept;
    FN(product)(job->weight[i], job->bias[i], linear->inputs, linear->limit, 0, linear->outputs, in,
                kept);
    if (l->residual && sums) FN(add)(count, sums, kept);
    FN(activate)(l->activation, count, kept, after);
    sums = kept;
    in = after;
    kept += count;
    scratch += count;
  }
  return in;
}

static void FN(layer_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  const linear_t *linear = FN(last_linear)(l);
  int64_t width = l->map.width;
  REAL *scratch = scratch_of((job->inputs + 2 * job->hidden + job->group * width) * BLOCK
                             * (int64_t)sizeof(REAL));
  if (!scratch) { job->failed = 1; return; }
  REAL *in = scratch, *activated = in + job->inputs * BLOCK;
  REAL *own = activated + job->hidden * BLOCK, *parameters = own + job->hidden * BLOCK;
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block);
    REAL *saved = l->saved ? (REAL *)l->saved + block * job->saved_step : 0;
    REAL logdet[BLOCK], moved[BLOCK];
    EACH_ROW logdet[v] = 0;
    FN(read_inputs)(job, block, count, in);
    const REAL *top = FN(hidden_layers)(job, in, saved ? saved : own, activated);
    for (int64_t j = 0; j < l->moved; j += job->group) {
      int64_t many = l->moved - j < job->group ? l->moved - j : job->group;
      REAL *raw = saved ? saved + (job->hidden + j * width) * BLOCK : parameters;
      FN(product)(job->weight[l->layers - 1], job->bias[l->layers - 1], linear->inputs,
                  linear->limit, j * width, (j + many) * width, top, raw);
      for (int64_t i = 0; i < many; i++)
        FN(move_feature)(job, block, count, j + i, raw + i * width * BLOCK, moved, logdet);
    }
    FN(copy_kept)(l, block, count, l->x, l->z);
    FN(write_logdet)(l, block, count, logdet);
  }
}

/* The inverse of an autoregression: feature by feature, each adding only the hidden units that
 * become known with it. All steps together are one pass through the network. */
static void FN(sequential_blocks)(FN(job) *job, int64_t first, int64_t last) {
  const layer_t *l = job->layer;
  int64_t width = l->map.width;
  REAL *scratch = scratch_of((job->inputs + 2 * job->hidden + width) * BLOCK
                             * (int64_t)sizeof(REAL));
  if (!scratch) { job->failed = 1; return; }
  REAL *in = scratch, *before = in + job->inputs * BLOCK;
  REAL *after = before + job->hidden * BLOCK, *raw = after + job->hidden * BLOCK;
  for (int64_t block = first; block < last; block++) {
    int64_t count = FN(rows_in)(l, block), done[MOST_LAYERS];
    REAL logdet[BLOCK], moved[BLOCK];
    EACH_ROW logdet[v] = 0;
    for (int64_t i = 0; i < l->layers; i++) done[i] = 0;
    FN(read_context)(job, block, count, in);
    for (int64_t j = 0; j < l->moved; j++) {
      int64_t known = l->context + j, at = 0;
      const REAL *from = in;
      for (int64_t i = 0; i + 1 < l->layers; i++) {
        const linear_t *linear = &l->linear[i];
        int64_t begin = done[i], end = begin;
        while (end < linear->outputs && linear->limit[end] <= known) end++;
        REAL *pre = before + (at + begin) * BLOCK, *post = after + (at + begin) * BLOCK;
        FN(product)(job->weight[i], job->bias[i], linear->inputs, linear->limit, begin, end, from,
                    pre);
        if (l->residual && i > 0)
          FN(add)((end - begin) * BLOCK, pre - linear->inputs * BLOCK, pre);
        FN(activate)(l->activation, (end - begin) * BLOCK, pre, post);
        done[i] = known = end;
        from = after + at * BLOCK;
        at += linear->outputs;
      }
      const linear_t *linear = FN(last_linear)(l);
      FN(product)(job->weight[l->layers - 1], job->bias[l->layers - 1], linear->inputs,
                  linear->limit, j * width, (j + 1) * width, from, raw);
      FN(move_feature)(job, block, count, j, raw, moved, logdet);
      REAL *to = in + (l->context + j) * BLOCK;
      EACH_ROW to[v] = FN(reach)(moved[v]);
    }
    FN(write_logdet)(l, block, count, logdet);
  }
}
