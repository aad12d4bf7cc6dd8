/* The layer norm under test: plain loops in float, two passes.  Put yours in its place. */
#include "layer_norm.h"

#include <math.h>

static float mean(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

/* 1 / sqrt(mean of (x - mu)^2 + eps) */
static float reciprocal_deviation(const float *x, float mu, float eps, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - mu) * (x[i] - mu);
    return 1 / sqrtf(sum / n + eps);
}

void layer_norm_forward(float *y, const float *x, const float *gamma, const float *beta, float eps, size_t rows, size_t n)
{
    for (; rows; rows--, x += n, y += n) {
        float mu = mean(x, n), r = reciprocal_deviation(x, mu, eps, n);
        for (size_t i = 0; i < n; i++)
            y[i] = (x[i] - mu) * r * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0);
    }
}

/* dx = r (g - mean(g) - xhat mean(g xhat)) with g = gamma dy;  dgamma = sum of dy xhat;  dbeta = sum of dy */
void layer_norm_backward(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x, const float *gamma,
                         float eps, size_t rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (dgamma)
            dgamma[i] = 0;
        if (dbeta)
            dbeta[i] = 0;
    }
    for (; rows; rows--, x += n, dy += n, dx += n) {
        float mu = mean(x, n), r = reciprocal_deviation(x, mu, eps, n), a = 0, b = 0;
        for (size_t i = 0; i < n; i++) {
            float g = dy[i] * (gamma ? gamma[i] : 1), xhat = (x[i] - mu) * r;
            a += g;
            b += g * xhat;
            if (dgamma)
                dgamma[i] += dy[i] * xhat;
            if (dbeta)
                dbeta[i] += dy[i];
        }
        a /= n;
        b /= n;
        for (size_t i = 0; i < n; i++)
            dx[i] = r * (dy[i] * (gamma ? gamma[i] : 1) - a - (x[i] - mu) * r * b);
    }
}
