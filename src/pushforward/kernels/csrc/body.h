/* Everything, for one type of numbers and one kind of processor. */

#define GLUE_(a, b, c) a##_##b##_##c
#define GLUE(a, b, c) GLUE_(a, b, c)
#define FN(name) GLUE(name, REAL_NAME, TARGET_NAME)

#include "elementary.h"
#include "rational_quadratic.h"
#include "affine.h"
#include "logistic_mixture.h"
#include "map.h"
#include "elementwise.h"
#include "matrix.h"
#include "layer.h"
#include "layer_backward.h"
#include "triangles.h"
#include "constant.h"
#include "layer_run.h"

static const functions_t FN(functions) = {
    FN(elementwise_run), FN(elementwise_backward_run), FN(layers_run), FN(layers_backward_run)};

#undef FN
#undef LANES
#undef PAIR
#undef TALL
#undef REAL_EPS
#undef REAL_TINY
#undef FAR_OUT
#undef EACH_ROW
#undef TOGETHER
#undef MIXTURE_BOUND
