/* Judges a float32 layer norm by refnorm's golden vectors.
 *
 *     refnorm vectors OUT --norm layer_norm --format raw
 *     cc -O2 judge.c layer_norm.c -lm -o judge && ./judge OUT
 *
 * Exit code: 0 right; 1 wrong, a line for each wrong array; 2 nothing to judge.
 * The vectors are little-endian, and so must be the machine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer_norm.h"

typedef struct {
    char name[64];
    const void *data;
    size_t count, row;          /* entries in all, and in the normalized axes */
} Array;

typedef struct {
    char name[256], dtype[64];
    double eps;
    int normalized, arrays;     /* how many trailing axes are normalized; how many arrays there are */
    Array array[32];
} Case;

static char *read_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        perror(path), exit(2);
    size_t size = ftell(file);
    char *text = calloc(size + 1, 1);
    rewind(file);
    if (!text || fread(text, 1, size, file) != size)
        perror(path), exit(2);
    fclose(file);
    return text;
}

/* Reads on in the manifest up to "end"; 0 where there is none.  A line that no pattern matches is skipped. */
static int next_case(Case *c, const char *data)
{
    char *line;
    *c = (Case){0};
    while ((line = strtok(NULL, "\n")) && strcmp(line, "end")) {
        Array a = {.count = 1, .row = 1};
        size_t offset;
        int axes, at;
        sscanf(line, "case %255s", c->name);
        sscanf(line, "dtype %63s", c->dtype);
        sscanf(line, "option eps %lf", &c->eps);
        sscanf(line, "option normalized_ndim %d", &c->normalized);
        if (sscanf(line, "array %63s %*s %zu %d%n", a.name, &offset, &axes, &at) != 3 || c->arrays == 32)
            continue;
        a.data = data + offset;
        for (line += at; axes > 0; axes--) {
            size_t length = strtoull(line, &line, 10);
            a.count *= length;
            a.row *= axes <= c->normalized ? length : 1;
        }
        c->array[c->arrays++] = a;
    }
    return line != NULL;
}

/* The array called kind and name, all zero where the case has none. */
static Array find(const Case *c, const char *kind, const char *name)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", kind, name);
    for (int k = 0; k < c->arrays; k++)
        if (!strcmp(c->array[k].name, whole))
            return c->array[k];
    return (Array){0};
}

/* A tolerance of nan: not judged; of inf: any finite value is right. */
static int is_wrong(const Case *c, const char *name, const float *observed)
{
    Array expected = find(c, "expected.", name);
    const double *right = expected.data, *bound = find(c, "tolerance.", name).data;
    for (size_t i = 0; i < expected.count; i++) {
        if (isnan(bound[i]) || (isfinite(observed[i]) && fabs(observed[i] - right[i]) <= bound[i]))
            continue;
        printf("%s: %s[%zu] is %.9g, expected %.9g within %.2g\n", c->name, name, i, observed[i], right[i], bound[i]);
        return 1;
    }
    return 0;
}

static int judge(const Case *c)
{
    Array x = find(c, "", "x"), dy = find(c, "", "dy"), gamma = find(c, "", "gamma"), beta = find(c, "", "beta");
    size_t n = x.row, rows = n ? x.count / n : 0;
    float *y = malloc(sizeof(float) * (2 * x.count + 2 * n + 1));
    float *dx = y + x.count, *dgamma = dx + x.count, *dbeta = dgamma + n;
    layer_norm_forward(y, x.data, gamma.data, beta.data, c->eps, rows, n);
    layer_norm_backward(dx, gamma.data ? dgamma : NULL, beta.data ? dbeta : NULL, dy.data, x.data, gamma.data, c->eps, rows, n);
    int wrong = is_wrong(c, "y", y) + is_wrong(c, "dx", dx);
    wrong += is_wrong(c, "dgamma", dgamma) + is_wrong(c, "dbeta", dbeta);
    free(y);
    return wrong;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: %s FOLDER\n", argv[0]), 2;
    char *manifest = read_file(argv[1], "manifest.txt"), *data = read_file(argv[1], "vectors.bin");
    if (!strstr(manifest, "\nnorm layer_norm\n"))
        return fprintf(stderr, "%s holds no vectors of layer_norm\n", argv[1]), 2;
    int cases = 0, wrong = 0;
    strtok(manifest, "\n");
    for (Case c; next_case(&c, data);)
        if (!strcmp(c.dtype, "float32"))
            wrong += judge(&c), cases++;
    free(manifest);
    free(data);
    printf("%d cases in float32, %d arrays wrong\n", cases, wrong);
    return !cases ? 2 : wrong > 0;
}
