/* A map with parameters (rows, features, width) of its own, in any strides. */

/* Up to BLOCK rows of one feature, laid out as maps read them; rows that are not there are 0. */
static void FN(gather)(const REAL *from, int64_t stride, int64_t count, REAL *to) {
  for (int64_t v = 0; v < count; v++) to[v] = from[v * stride];
  for (int64_t v = count; v < BLOCK; v++) to[v] = 0;
}

static void FN(gather_raw)(const elementwise_t *e, int64_t row, int64_t feature, int64_t count,
                           REAL *raw) {
  const REAL *from = (const REAL *)e->raw + row * e->raw_row + feature * e->raw_feature;
  int64_t width = e->map.width;
  for (int64_t v = 0; v < count; v++)
    for (int64_t p = 0; p < width; p++) raw[p * BLOCK + v] = from[v * e->raw_row + p * e->raw_step];
  for (int64_t p = 0; p < width; p++)
    for (int64_t v = count; v < BLOCK; v++) raw[p * BLOCK + v] = 0;
}

static void FN(elementwise_blocks)(void *argument, int64_t first, int64_t last, team_t team) {
  const elementwise_t *e = argument;
  (void)team;
  REAL x[BLOCK], z[BLOCK], l[BLOCK], raw[MOST_WIDTH * BLOCK];
  for (int64_t block = first; block < last; block++) {
    int64_t row = block * BLOCK, count = e->rows - row < BLOCK ? e->rows - row : BLOCK;
    for (int64_t f = 0; f < e->features; f++) {
      FN(gather)((const REAL *)e->x + row * e->x_row + f * e->x_feature, e->x_row, count, x);
      FN(gather_raw)(e, row, f, count, raw);
      FN(map_move)(&e->map, f, (int)e->inverse, x, raw, z, l);
      REAL *to = (REAL *)e->z + row * e->features + f;
      REAL *log = (REAL *)e->log_derivative + row * e->features + f;
      for (int64_t v = 0; v < count; v++) to[v * e->features] = z[v], log[v * e->features] = l[v];
    }
  }
}

/* `x` of the structure is the number on the side of the data, `z` what the direction got. */
static void FN(elementwise_backward_blocks)(void *argument, int64_t first, int64_t last,
                                            team_t team) {
  const elementwise_t *e = argument;
  (void)team;
  REAL x[BLOCK], given[BLOCK], gz[BLOCK], gl[BLOCK], gx[BLOCK];
  REAL raw[MOST_WIDTH * BLOCK], graw[MOST_WIDTH * BLOCK];
  int64_t width = e->map.width;
  for (int64_t block = first; block < last; block++) {
    int64_t row = block * BLOCK, count = e->rows - row < BLOCK ? e->rows - row : BLOCK;
    for (int64_t f = 0; f < e->features; f++) {
      FN(gather)((const REAL *)e->x + row * e->x_row + f * e->x_feature, e->x_row, count, x);
      FN(gather)((const REAL *)e->z + row * e->features + f, e->features, count, given);
      FN(gather)((const REAL *)e->grad_z + row * e->grad_z_row + f * e->grad_z_feature,
                 e->grad_z_row, count, gz);
      FN(gather)((const REAL *)e->grad_log + row * e->grad_log_row + f * e->grad_log_feature,
                 e->grad_log_row, count, gl);
      FN(gather_raw)(e, row, f, count, raw);
      FN(map_backward)(&e->map, f, (int)e->inverse, x, given, raw, gz, gl, gx, graw);
      REAL *to = (REAL *)e->grad_x + row * e->features + f;
      for (int64_t v = 0; v < count; v++) to[v * e->features] = gx[v];
      REAL *out = (REAL *)e->grad_raw + (row * e->features + f) * width;
      for (int64_t v = 0; v < count; v++)
        for (int64_t p = 0; p < width; p++)
          out[v * e->features * width + p] = graw[p * BLOCK + v];
    }
  }
}

static int64_t FN(threads_of_numbers)(const elementwise_t *e) {
  return threads_for(e->rows * e->features * e->map.width, e->threads);
}

static int FN(elementwise_run)(const elementwise_t *e) {
  parallel(FN(elementwise_blocks), (void *)e, (e->rows + BLOCK - 1) / BLOCK,
           FN(threads_of_numbers)(e));
  return 0;
}

static int FN(elementwise_backward_run)(const elementwise_t *e) {
  parallel(FN(elementwise_backward_blocks), (void *)e, (e->rows + BLOCK - 1) / BLOCK,
           FN(threads_of_numbers)(e));
  return 0;
}
