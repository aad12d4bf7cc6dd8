/* .npz files in C, a zip of .npy arrays: reads what refnorm gives a program (stored members with their sizes in the local
 * headers, little-endian, C order), and writes the same, which numpy.load reads.  For little-endian machines. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char name[64], type[16];            /* type as NumPy names it: "<f4", "<f8", "<i8", "|b1", "<u2", "<U7" */
    int axes;
    size_t shape[8], count, size;       /* count of entries, size of one in bytes */
    void *data;
} Array;

typedef struct {
    int arrays;
    Array array[32];
} Npz;

static inline Array *npz_find(Npz *npz, const char *name)
{
    for (int k = 0; k < npz->arrays; k++)
        if (!strcmp(npz->array[k].name, name))
            return &npz->array[k];
    return NULL;
}

static inline uint32_t npz_number(const char *at, size_t bytes)
{
    uint32_t number = 0;
    memcpy(&number, at, bytes);
    return number;
}

/* npy: magic, version, length of the header, the header as a Python dict, and the entries. */
static inline int npz_parse(char *npy, Array *a)
{
    char *descr = strstr(npy + 10, "'descr': '"), *shape = strstr(npy + 10, "'shape': (");
    if (memcmp(npy, "\x93NUMPY\1", 7) || !descr || !shape || sscanf(descr + 10, "%15[^']", a->type) != 1)
        return 0;
    a->count = 1;
    for (shape += 10; *shape != ')' && a->axes < 8; shape += strspn(shape, ", "))
        a->count *= a->shape[a->axes++] = strtoull(shape, &shape, 10);
    a->size = strtoull(a->type + 2, NULL, 10) * (a->type[1] == 'U' ? 4 : 1);
    a->data = npy + 10 + npz_number(npy + 8, 2);
    return 1;
}

/* 1, or 0 where the file is none that it can read. */
static inline int npz_read(const char *path, Npz *npz)
{
    char head[30] = "", *npy = NULL;
    FILE *file = fopen(path, "rb");
    npz->arrays = 0;
    while (file && fread(head, 1, 30, file) == 30 && !memcmp(head, "PK\3\4", 4) && npz->arrays < 32) {
        size_t stored = npz_number(head + 18, 4), name = npz_number(head + 26, 2), extra = npz_number(head + 28, 2);
        Array a = {0};
        if (npz_number(head + 8, 2) || name < 5 || name > sizeof a.name || fread(a.name, 1, name, file) != name)
            break;
        a.name[name - 4] = 0;                               /* without ".npy" */
        npy = calloc(stored + 1, 1);
        if (!npy || fseek(file, extra, SEEK_CUR) || fread(npy, 1, stored, file) != stored || !npz_parse(npy, &a))
            break;
        npz->array[npz->arrays++] = a;
    }
    if (file)
        fclose(file);
    return npz->arrays > 0 && !memcmp(head, "PK\1\2", 4);   /* it came to the directory that follows the last member */
}

static inline uint32_t npz_crc(const char *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* The array as a .npy file in memory, of `size` bytes; NULL where there is no room. */
static inline char *npz_format(const Array *a, size_t *size)
{
    char shape[256] = "", text[512];
    for (int i = 0, n = 0; i < a->axes; i++)
        n += snprintf(shape + n, sizeof shape - n, "%zu, ", a->shape[i]);
    size_t length = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", a->type, shape);
    size_t head = (10 + length + 1 + 63) / 64 * 64;
    *size = head + a->count * a->size;
    char *npy = malloc(*size);
    if (npy) {
        memset(npy, ' ', head);
        memcpy(npy, "\x93NUMPY\1\0", 8);
        memcpy(npy + 8, &(uint16_t){head - 10}, 2);
        memcpy(npy + 10, text, length);
        npy[head - 1] = '\n';
        memcpy(npy + head, a->data, a->count * a->size);
    }
    return npy;
}

#define NPZ_HALVES(n) (uint16_t)(n), (uint16_t)((n) >> 16)

/* 1, or 0 where it cannot be written.  The whole stays below 4 GiB. */
static inline int npz_write(const char *path, const Npz *npz)
{
    uint16_t entry[32][13], number = npz->arrays;       /* entry: what a member's header and the directory have in common */
    uint32_t at[32];
    FILE *file = fopen(path, "wb");
    for (int k = 0; file && k < number; k++) {
        size_t size, name = strlen(npz->array[k].name) + 4;
        char *npy = npz_format(&npz->array[k], &size);
        if (!npy)
            return fclose(file), 0;
        uint32_t crc = npz_crc(npy, size);
        uint16_t common[13] = {20, 0, 0, 0, 0x21, NPZ_HALVES(crc), NPZ_HALVES(size), NPZ_HALVES(size), name, 0};
        memcpy(entry[k], common, sizeof common);
        at[k] = ftell(file);
        fwrite("PK\3\4", 1, 4, file);
        fwrite(common, 2, 13, file);
        fprintf(file, "%s.npy", npz->array[k].name);
        fwrite(npy, 1, size, file);
        free(npy);
    }
    if (!file)
        return 0;
    uint32_t start = ftell(file);
    for (int k = 0; k < number; k++) {
        fwrite("PK\1\2\24\0", 1, 6, file);
        fwrite(entry[k], 2, 13, file);
        fwrite((uint16_t[7]){0, 0, 0, 0, 0, NPZ_HALVES(at[k])}, 2, 7, file);
        fprintf(file, "%s.npy", npz->array[k].name);
    }
    uint32_t size = ftell(file) - start;
    fwrite("PK\5\6", 1, 4, file);
    fwrite((uint16_t[9]){0, 0, number, number, NPZ_HALVES(size), NPZ_HALVES(start), 0}, 2, 9, file);
    int failed = ferror(file);
    return !fclose(file) && !failed;
}
