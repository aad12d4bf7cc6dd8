/* A layer norm as a program, for `refnorm check "exec:./program" --norm layer_norm --dtype float32`.
 *
 *     cc -O2 program.c layer_norm.c -lm -o program
 *
 * It is started once a call, in a folder that holds inputs.npz, and leaves outputs.npz there (refnorm/conformance/adapters/command.py). */
#include "layer_norm.h"
#include "npz.h"

enum { ANSWERED = 0, UNREADABLE = 1, NOT_OFFERED = 77 };

/* An array of the type and shape of another one. */
static float *add(Npz *npz, const char *name, const Array *like)
{
    Array a = *like;
    snprintf(a.name, sizeof a.name, "%s", name);
    a.data = calloc(a.count + 1, a.size);
    npz->array[npz->arrays++] = a;
    return a.data;
}

int main(void)
{
    static Npz in, out;
    if (!npz_read("inputs.npz", &in))
        return fprintf(stderr, "inputs.npz cannot be read\n"), UNREADABLE;
    const Array *x = npz_find(&in, "x"), *gamma = npz_find(&in, "gamma"), *beta = npz_find(&in, "beta");
    if (strcmp(x->type, "<f4"))
        return fprintf(stderr, "x is %s; this program takes float32\n", x->type), NOT_OFFERED;
    float eps = *(double *)npz_find(&in, "eps")->data;
    int64_t normalized = *(int64_t *)npz_find(&in, "normalized_ndim")->data;
    size_t n = 1, rows = 1;
    for (int axis = 0; axis < x->axes; axis++)
        *(axis < x->axes - normalized ? &rows : &n) *= x->shape[axis];
    const float *scale = gamma ? gamma->data : NULL, *shift = beta ? beta->data : NULL;
    int is_forward = *(char *)npz_find(&in, "call")->data == 'f';
    if (is_forward) {
        layer_norm_forward(add(&out, "y", x), x->data, scale, shift, eps, rows, n);
    } else {
        float *dx = add(&out, "dx", x), *dgamma = gamma ? add(&out, "dgamma", gamma) : NULL;
        float *dbeta = beta ? add(&out, "dbeta", beta) : NULL;
        layer_norm_backward(dx, dgamma, dbeta, npz_find(&in, "dy")->data, x->data, scale, eps, rows, n);
    }
    return npz_write("outputs.npz", &out) ? ANSWERED : UNREADABLE;
}
