/* What crosses the border between Python and C: plain structures of 64-bit numbers and pointers.
 *
 * The Python side has the same fields in the same order (kernels/library.py). */
#ifndef PUSHFORWARD_TYPES_H
#define PUSHFORWARD_TYPES_H

#include <stdint.h>

/* Rows that are worked on at a time: features are the slow index of every block, rows the fast one,
 * so that each instruction works on neighbouring rows. */
#define BLOCK 32

enum map_kind { AFFINE = 0, ADDITIVE = 1, RATIONAL_QUADRATIC = 2, LOGISTIC_MIXTURE = 3 };
enum tails { LINEAR = 0, IDENTITY = 1, CIRCULAR = 2, NONE = 3 };
enum activation { RELU = 0, TANH = 1, ELU = 2, SILU = 3 };

/* A monotone map of one number. Arrays hold numbers of the type that is computed in. */
typedef struct {
  int64_t kind;
  int64_t width;     /* parameters of one number */
  int64_t terms;     /* bins of a spline, components of a mixture */
  int64_t tails;     /* of a spline */
  double bound;      /* of the log-scale of an affine map */
  double min_width;  /* of a bin, as a share of the box */
  double min_height;
  double min_slope;  /* at a knot; of a mixture the share of x that is mixed in */
  double offset;     /* of what softplus sees, so that slopes are 1 at raw = 0 */
  const void *low;   /* ends of the boxes, (features,); or places of the components, (terms,) */
  const void *high;  /* or slopes of the components, (terms,) */
  int64_t box_step;  /* 0 where one box serves all features */
} map_t;

/* A map applied to numbers (rows, features) with parameters (rows, features, width) of their own.
 * Strides count numbers, not bytes. Gradients and results are contiguous. */
typedef struct {
  map_t map;
  int64_t rows, features;
  const void *x;
  int64_t x_row, x_feature;
  const void *raw;
  int64_t raw_row, raw_feature, raw_step;
  void *z, *log_derivative;              /* written by forward and inverse */
  const void *grad_z, *grad_log;         /* read by backward */
  int64_t grad_z_row, grad_z_feature, grad_log_row, grad_log_feature;
  void *grad_x, *grad_raw;               /* written by backward; grad_raw may be NULL */
  int64_t inverse;                       /* whether the inverse is applied, or differentiated */
  int64_t threads;
} elementwise_t;

/* One linear layer of a network. Where `limit` is given, output o sees the inputs before limit[o],
 * which never falls; rows and columns of the weight are then read in the order given. */
typedef struct {
  int64_t inputs, outputs;
  const int64_t *limit, *rows, *columns; /* NULL: everything is seen, in the order of memory */
} linear_t;

#define MOST_LAYERS 8
#define MOST_CHAINED 64 /* layers in a row */

enum kind { NETWORK = 0, TRIANGLES = 1, SCALING = 2, NORMAL = 3 };

/* A network that reads some features and a context, and a map that moves features by what it says:
 * a coupling, or a masked autoregression; or a product of triangles (csrc/triangles.h), a scaling or
 * the density of a base (csrc/constant.h). What changes from call to call comes first. */
typedef struct {
  int64_t rows;
  const void *x;                         /* (rows, features), contiguous */
  void *z, *logdet;                      /* (rows, features), (rows,); a density gives no z */
  const void *context_values;
  int64_t context_row;                   /* 0 where one context serves all rows */
  const void *low, *high;                /* of the map */
  void *saved;                           /* hidden layers and parameters, kept for backward */
  const void *grad_z, *grad_logdet;      /* contiguous; read by backward */
  void *grad_x, *grad_context;           /* written by backward; NULL where nobody asks */
  int64_t inverse;
  int64_t adds;                          /* whether logdet, or grad_context, is added to what is there */
  int64_t threads;
  const void *weight[MOST_LAYERS], *bias[MOST_LAYERS];   /* (outputs, inputs), (outputs,) */
  void *grad_weight[MOST_LAYERS], *grad_bias[MOST_LAYERS];
  /* and what does not */
  int64_t kind;
  map_t map;
  int64_t features;
  int64_t seen;                          /* features that the network reads, */
  const int64_t *seen_features;          /* and which */
  int64_t moved;
  const int64_t *moved_features;
  int64_t kept;                          /* features that do not move */
  const int64_t *kept_features;
  int64_t context;                       /* width of the context */
  int64_t context_first;                 /* whether the network reads it before the features */
  int64_t box_by_feature;                /* whether boxes are counted by features, not by moved ones */
  int64_t activation;
  int64_t residual;                      /* whether hidden layers add to the sums of those before */
  int64_t layers;
  linear_t linear[MOST_LAYERS];
} layer_t;

#endif
