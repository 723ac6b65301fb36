/* What reading a batch is made of, for the functions that decode and for the one that filters. */
#ifndef LOGD_SPEED_DECODE_H
#define LOGD_SPEED_DECODE_H

#include "speed.h"

/* A batch whose header is right. `owner` (owned, immutable) holds [area, limit). */
typedef struct {
    batch_fields fields;
    int64_t size; /* of the whole batch, as it lies in the buffer */
    PyObject *owner;
    const uint8_t *area;
    const uint8_t *limit;
} batch;

/* One record within its batch; pointers are into the batch's area. */
typedef struct {
    const uint8_t *start;      /* its length */
    const uint8_t *body;       /* behind the length */
    const uint8_t *after_time; /* behind the timestamp delta */
    const uint8_t *end;
    int64_t timestamp;
    int64_t offset_delta;
    const uint8_t *key; /* NULL: null */
    const uint8_t *value;
    const uint8_t *headers; /* behind their number */
    int64_t key_size;
    int64_t value_size;
    int64_t headers_count;
} record;

/* Reads the record at `at`, whose offset delta is `expected` or more. Every byte is checked to be
 * in the area before it is read, and what is found is right as a whole; 0: it is not. */
int speed_read_record(const speed_state *state, const batch *from, const uint8_t *at,
                      int64_t expected, record *found);

/* Whether every record of the batch is right, and nothing is behind the last. */
int speed_is_sound(const speed_state *state, const batch *checked);

/* Opens the batch at `position`. 1: `found->owner` and `*bytes` are owned by the caller, who finds
 * the batch in `*bytes` at `*offset`; 0: Python has to look at it; -1: an exception is set. */
int speed_open_batch(speed_state *state, PyObject *buffer, PyObject *position, PyObject *verify,
                     batch *found, PyObject **bytes, int64_t *offset);

/* None for NULL. */
PyObject *speed_nullable_bytes(const uint8_t *bytes, int64_t size);

#endif
