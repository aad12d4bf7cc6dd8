/* Layer norm over rows of n floats; gamma, beta (n) and their gradients may be NULL. */
#pragma once
#include <stddef.h>

void layer_norm_forward(float *y, const float *x, const float *gamma, const float *beta, float eps, size_t rows, size_t n);

void layer_norm_backward(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x, const float *gamma,
                         float eps, size_t rows, size_t n);
