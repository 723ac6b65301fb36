/* The compiled batch codec: what its parts share.
 *
 * encode.c makes batches, intake.c hands it the values of a producer, decode.c reads and filter.c
 * thins them, keymap.c remembers keys for the cleaner, module.c is what Python sees. The Python
 * modules `_pure_*` are the definition. Whatever is out of the ordinary (a bad batch, a field out
 * of range, an odd type, compression) is handed to them, so errors and their words exist once; the
 * code here has to notice it, and never reads or writes a byte too far.
 */
#ifndef LOGD_SPEED_H
#define LOGD_SPEED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* The fixed part of a batch; positions in bytes, as in logd_wire/batch.py. */
enum {
    LENGTH_PREFIX_BYTES = 12,
    CRC_FIELD_POSITION = 17,
    CRC_POSITION = 21,
    FIXED_BYTES = 61,
    MAGIC = 2,
    CODEC_MASK = 0x07,
    CODEC_LAST = 4,
    APPEND_TIME_BIT = 0x08,
    DELETE_HORIZON_BIT = 0x40,
};

/* Attributes, timestamp delta, offset delta, key, value and number of headers: a byte each, and one
 * for the length. */
enum { RECORD_BYTES_MIN = 7, VARINT_BYTES_MAX = 10 };

typedef __int128 wide;

/* What the module found at import: Python objects (owned), and the table of limits. */
typedef struct {
    PyObject *wire_record; /* a tuple of five without fields of its own */
    PyObject *batch_header;
    PyObject *no_compression;
    PyObject *crc32c;
    PyObject *check_supported;
    PyObject *compress;
    PyObject *decompress;
    PyObject *pure_decode_records;
    PyObject *pure_decode_rows;
    PyObject *pure_iter_records;
    PyObject *pure_iter_keys;
    PyObject *pure_filter_batch;
    PyObject *pure_encode_batch;
    PyObject *pure_murmur2;
    PyObject *pure_partition_for_key;
    PyObject *encode_placed;
    PyObject *check_placed;
    PyObject *finish;
    PyObject *urandom;
    PyObject *time_ns;
    PyObject *empty_tuple;
    PyObject *ignore; /* a callable that takes anything and returns None */
    PyTypeObject *builder_type;
    PyTypeObject *receipt_type;
    PyTypeObject *intake_type;
    PyTypeObject *iterator_type;
    PyTypeObject *view_type;
    PyTypeObject *key_map_type;
    int64_t batch_bytes_max;
    int64_t records_max;
    int64_t decompressed_bytes_max;
    int64_t headers_max;
    int64_t header_bytes_max;
    int64_t key_bytes_max;
    int64_t record_bytes_max;
} speed_state;

/* The fields of a batch's fixed part, without length, magic and CRC. */
typedef struct {
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t leader_epoch;
    int32_t last_offset_delta;
    int32_t base_sequence;
    int32_t records_count;
    int16_t producer_epoch;
    int16_t attributes;
} batch_fields;

/* Bytes that grow. `bytes` is NULL while `capacity` is 0. */
typedef struct {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
} byte_area;

static inline uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline size_t varint_size(uint64_t rest)
{
    return rest < 0x80 ? 1 : (size_t)(63 - __builtin_clzll(rest)) / 7 + 1;
}

/* Needs room for varint_size(rest) bytes; returns where they end. */
static inline uint8_t *put_varint(uint8_t *to, uint64_t rest)
{
    while (rest > 0x7F) {
        *to++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *to++ = (uint8_t)rest;
    return to;
}

static inline void put_be(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        to[i] = (uint8_t)value;
        value >>= 8;
    }
}

static inline uint64_t get_be(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

/* decode.c */
/* A tuple whose class adds nothing to it, so that its items are all there is to fill. */
int speed_is_plain_tuple(PyObject *type);
extern PyType_Spec speed_iterator_spec;
extern PyType_Spec speed_view_spec;
PyObject *speed_decode_records(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames);
PyObject *speed_decode_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames);
PyObject *speed_decode_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);
PyObject *speed_iter_records(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);
PyObject *speed_iter_keys(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames);

/* filter.c */
PyObject *speed_filter_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);

/* keymap.c */
extern PyType_Spec speed_key_map_spec;

/* intake.c */
extern PyType_Spec speed_receipt_spec;
extern PyType_Spec speed_intake_spec;

/* encode.c */
extern PyType_Spec speed_builder_spec;
/* Adds a record of nothing but `value`, which is bytes, to a builder; returns its index, -1: full,
 * or no record may be like this, -2: MemoryError. */
int64_t speed_builder_add(PyObject *builder, int64_t timestamp, PyObject *value);
PyObject *speed_encode_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);
PyObject *speed_murmur2(PyObject *module, PyObject *data);
PyObject *speed_partition_for_key(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
/* Makes room for `more` bytes behind `size`; -1 with MemoryError. */
int speed_reserve(byte_area *area, size_t more);
void speed_release(byte_area *area);
/* The batch of an area; `attributes` hold the codec that is wanted. */
PyObject *speed_finish(speed_state *state, const batch_fields *fields, const uint8_t *area,
                       size_t size, PyObject *level);
/* CRC-32C of memory that stays as it is meanwhile: the library lets go of the interpreter's lock
 * when there is much of it. -1: an exception is set. */
int speed_crc(speed_state *state, const uint8_t *bytes, size_t size, uint32_t *crc);
/* Sorts positional and named arguments into `slots` (borrowed; what is not given stays). The names
 * from `keyword_only` on cannot be positional, those before `required` must be given. -1:
 * TypeError. */
int speed_arguments(const char *function, const char *const *names, int names_count, int required,
                    int keyword_only, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    PyObject **slots);

#endif
