/* Layers in a row, by threads that each keep to their own rows. They meet where they have read or
 * written something together: masked weights, and gradients. */

/* Weights as products read them: masked and put in order where there are limits. This thread's share
 * of the outputs of all linear layers. */
static void FN(pack_rows)(FN(job) *job, team_t team) {
  const layer_t *l = job->layer;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t inputs = linear->inputs, outputs = linear->outputs;
    if (!linear->limit) continue;
    int64_t last = outputs * (team.number + 1) / team.count;
    for (int64_t o = outputs * team.number / team.count; o < last; o++) {
      int64_t row = linear->rows ? linear->rows[o] : o, seen = linear->limit[o];
      const REAL *from = (const REAL *)l->weight[i] + row * inputs;
      REAL *to = job->packed[i] + o * inputs;
      for (int64_t k = 0; k < seen; k++) to[k] = from[linear->columns ? linear->columns[k] : k];
      for (int64_t k = seen; k < inputs; k++) to[k] = 0;
      job->packed[i][outputs * inputs + o] = ((const REAL *)l->bias[i])[row];
    }
    int64_t *start = job->start[i];
    for (int64_t k = 0, o = 0; start && team.number == 0 && k < inputs; k++) {
      while (o < outputs && linear->limit[o] <= k) o++;
      start[k] = o;
    }
  }
}

/* Bytes that a layer needs besides what the caller gave: packed weights, gradients of `used`
 * threads. */
static int64_t FN(room_of)(const FN(job) *job, int64_t used) {
  const layer_t *l = job->layer;
  int64_t numbers = used * job->gradient_step, starts = 0;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    if (!linear->limit) continue;
    numbers += linear->outputs * (linear->inputs + 1);
    starts += used ? linear->inputs : 0;
  }
  int64_t bytes = starts * (int64_t)sizeof(int64_t) + numbers * (int64_t)sizeof(REAL);
  return (bytes + 63) / 64 * 64;
}

/* Points a job to its weights and to the room that it was given. */
static void FN(settle)(FN(job) *job, char *room, int backward) {
  const layer_t *l = job->layer;
  int64_t *start = (int64_t *)room;
  for (int64_t i = 0; i < l->layers; i++) {
    job->start[i] = l->linear[i].limit && backward ? start : 0;
    if (job->start[i]) start += l->linear[i].inputs;
  }
  REAL *next = (REAL *)start;
  for (int64_t i = 0; i < l->layers; i++) {
    const linear_t *linear = &l->linear[i];
    int64_t size = linear->outputs * linear->inputs;
    job->packed[i] = linear->limit ? next : 0;
    job->weight[i] = linear->limit ? next : l->weight[i];
    job->bias[i] = linear->limit ? next + size : l->bias[i];
    if (linear->limit) next += size + linear->outputs;
  }
  job->gradients = next;
}

typedef struct {
  FN(job) jobs[MOST_CHAINED];
  int64_t count;
} FN(chain);

static int FN(masked)(const layer_t *l) {
  return l->kind == NETWORK && l->linear[0].limit != 0;
}

/* Whether threads meet at a layer: forward for masked weights alone, backward for gradients, too. */
static int FN(meets)(const layer_t *l, int backward) {
  return FN(masked)(l) || (backward && !FN(is_constant)(l));
}

/* Weights and gradients lie in two rooms that are used in turn, by the layers at which threads meet: a
 * thread may be one meeting ahead of another, and no more. */
static void FN(chain_forward)(void *argument, int64_t first, int64_t last, team_t team) {
  FN(chain) *chain = argument;
  for (int64_t i = 0; i < chain->count; i++) {
    FN(job) *job = &chain->jobs[i];
    if (FN(masked)(job->layer)) {
      FN(pack_rows)(job, team);
      meet(team);
    }
    if (FN(is_constant)(job->layer))
      FN(constant_blocks)(job, first, last);
    else if (job->layer->kind == TRIANGLES)
      FN(triangles_blocks)(job, first, last);
    else if (job->layer->inverse && FN(masked)(job->layer))
      FN(sequential_blocks)(job, first, last);
    else
      FN(layer_blocks)(job, first, last);
  }
}

static void FN(chain_backward)(void *argument, int64_t first, int64_t last, team_t team) {
  FN(chain) *chain = argument;
  for (int64_t i = chain->count - 1; i >= 0; i--) {
    FN(job) *job = &chain->jobs[i];
    if (FN(masked)(job->layer)) {
      FN(pack_rows)(job, team);
      meet(team);
    }
    if (FN(is_constant)(job->layer)) {
      FN(constant_backward_blocks)(job, first, last);
    } else if (job->layer->kind == TRIANGLES) {
      FN(triangles_backward_blocks)(job, first, last, team.number);
      meet(team);
      FN(triangles_gradients)(job, team);
    } else {
      FN(layer_backward_blocks)(job, first, last, team.number);
      meet(team);
      FN(gradient_rows)(job, team);
    }
  }
}

/* How many threads are worth their while: additions and products of all rows, `passes` times. */
static int64_t FN(threads_of)(const FN(chain) *chain, int64_t passes) {
  int64_t each = 0;
  for (int64_t c = 0; c < chain->count; c++) {
    const layer_t *l = chain->jobs[c].layer;
    if (l->kind == TRIANGLES) each += 2 * l->features * l->features;
    if (FN(is_constant)(l)) each += 8 * l->features;
    each += l->moved * l->map.width * 20; /* what the map costs, about */
    for (int64_t i = 0; i < l->layers; i++) each += 2 * l->linear[i].inputs * l->linear[i].outputs;
  }
  const layer_t *first = chain->jobs[0].layer;
  int64_t blocks = (first->rows + BLOCK - 1) / BLOCK;
  int64_t worth = threads_for(passes * each / 16 * first->rows, first->threads);
  return worth < blocks ? worth : blocks;
}

/* Whether a layer is given the context that another is. */
static int FN(same_context)(const layer_t *a, const layer_t *b) {
  return b->kind == NETWORK && b->context && a->context_values == b->context_values
         && a->context == b->context && a->context_row == b->context_row;
}

/* Lets layers share what they are shown of their context, from one of them on, in the order that
 * they are run in; `memory` is for that. Returns the bytes that it takes, 0 if nothing is shared. */
static int64_t FN(share_context)(FN(chain) *chain, int backward, char *memory) {
  const layer_t *first = 0;
  int64_t sharing = 0;
  for (int64_t c = 0; c < chain->count; c++) {
    FN(job) *job = &chain->jobs[backward ? chain->count - 1 - c : c];
    if (!first && job->layer->kind == NETWORK && job->layer->context) first = job->layer;
    if (!first || !FN(same_context)(first, job->layer)) continue;
    job->fills = sharing++ == 0;
    job->reached = (REAL *)memory;
  }
  if (sharing < 2) return 0;
  return (first->rows + BLOCK - 1) / BLOCK * BLOCK * first->context * (int64_t)sizeof(REAL);
}

static int FN(chain_run)(const layer_t *layers, int64_t count, int backward) {
  FN(chain) chain;
  int64_t room = 0;
  int failed = 0;
  if (count < 1 || count > MOST_CHAINED) return 1;
  chain.count = count;
  for (int64_t c = 0; c < count; c++) FN(measure)(&layers[c], &chain.jobs[c]);
  int64_t used = FN(threads_of)(&chain, backward ? 2 : 1);
  for (int64_t c = 0; c < count; c++) {
    int64_t one = FN(room_of)(&chain.jobs[c], backward ? used : 0);
    room = one > room ? one : room;
  }
  int64_t shared = FN(share_context)(&chain, backward, 0);
  char *memory = shared_of(2 * room + shared);
  if (!memory) return 1;
  if (shared) FN(share_context)(&chain, backward, memory + 2 * room);
  for (int64_t c = 0, meetings = 0; c < count; c++) {
    FN(settle)(&chain.jobs[c], memory + (meetings & 1) * room, backward);
    meetings += FN(meets)(&layers[c], backward);
  }
  parallel(backward ? FN(chain_backward) : FN(chain_forward), &chain,
           (layers[0].rows + BLOCK - 1) / BLOCK, used);
  for (int64_t c = 0; c < count; c++) failed |= chain.jobs[c].failed;
  return failed;
}

static int FN(layers_run)(const layer_t *layers, int64_t count) {
  return FN(chain_run)(layers, count, 0);
}

static int FN(layers_backward_run)(const layer_t *layers, int64_t count) {
  return FN(chain_run)(layers, count, 1);
}
