/* Reading batches: decode, lazy iteration, keys. */

#include "decode.h"

#include <structmember.h>

/* ---- numbers --------------------------------------------------------------------------------- */

/* Any number of up to 70 bits; 0: it is cut or too long. */
static int read_wide(const uint8_t **at, const uint8_t *limit, wide *value)
{
    uint64_t low = 0;
    const uint8_t *from = *at;
    for (int shift = 0; shift < 7 * (VARINT_BYTES_MAX - 1); shift += 7) {
        if (from >= limit)
            return 0;
        uint8_t byte = *from++;
        low |= (uint64_t)(byte & 0x7F) << shift;
        if (byte <= 0x7F) {
            *at = from;
            *value = (wide)(low >> 1) ^ -(wide)(low & 1);
            return 1;
        }
    }
    if (from >= limit || *from > 0x7F)
        return 0;
    unsigned __int128 raw = low | (unsigned __int128)*from++ << 7 * (VARINT_BYTES_MAX - 1);
    *at = from;
    *value = (wide)(raw >> 1) ^ -(wide)(raw & 1);
    return 1;
}

static int read_long_number(const uint8_t **at, const uint8_t *limit, int64_t *value)
{
    wide found;
    if (!read_wide(at, limit, &found) || found != (int64_t)found)
        return 0;
    *value = (int64_t)found;
    return 1;
}

/* A length, count or offset delta. One beyond 64 bits is as impossible as one that is cut: 0. */
static inline int read_number(const uint8_t **at, const uint8_t *limit, int64_t *value)
{
    const uint8_t *from = *at;
    if (from < limit && from[0] <= 0x7F) {
        *value = (from[0] >> 1) ^ -(int64_t)(from[0] & 1);
        *at = from + 1;
        return 1;
    }
    return read_long_number(at, limit, value);
}

/* Bytes behind their length; NULL with size -1 for a null. */
static inline int read_nullable(const uint8_t **at, const uint8_t *limit, const uint8_t **bytes,
                                int64_t *size)
{
    if (!read_number(at, limit, size))
        return 0;
    if (*size == -1) {
        *bytes = NULL;
        return 1;
    }
    if (*size < 0 || *size > limit - *at)
        return 0;
    *bytes = *at;
    *at += *size;
    return 1;
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* Whether bytes are UTF-8 as Python has it: shortest form, no surrogates, no more than U+10FFFF. */
static int is_utf8(const uint8_t *at, int64_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        if (first < 0xC2 || first > 0xF4 || end - at < more)
            return 0;
        uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (at[0] < low || at[0] > high)
            return 0;
        for (int i = 1; i < more; i++) {
            if ((at[i] & 0xC0) != 0x80)
                return 0;
        }
        at += more;
    }
    return 1;
}

static int skip_headers(const uint8_t **at, const uint8_t *limit, int64_t count)
{
    const uint8_t *bytes;
    int64_t size;
    for (int64_t i = 0; i < count; i++) {
        if (!read_nullable(at, limit, &bytes, &size) || bytes == NULL || !is_utf8(bytes, size)
            || !read_nullable(at, limit, &bytes, &size))
            return 0;
    }
    return 1;
}

int speed_read_record(const speed_state *state, const batch *from, const uint8_t *at,
                      int64_t expected, record *found)
{
    int64_t size;
    wide time;
    found->start = at;
    if (!read_number(&at, from->limit, &size) || size < RECORD_BYTES_MIN - 1
        || size > from->limit - at)
        return 0;
    const uint8_t *end = at + size;
    found->body = at++;
    if (*at <= 0x7F) {
        time = (*at >> 1) ^ -(wide)(*at & 1);
        at++;
    } else if (!read_wide(&at, end, &time)) {
        return 0;
    }
    found->after_time = at;
    if (!read_number(&at, end, &found->offset_delta)
        || !read_nullable(&at, end, &found->key, &found->key_size)
        || !read_nullable(&at, end, &found->value, &found->value_size)
        || !read_number(&at, end, &found->headers_count))
        return 0;
    found->headers = at;
    if (found->headers_count != 0
        && (found->headers_count < 0 || found->headers_count > state->headers_max
            || !skip_headers(&at, end, found->headers_count)))
        return 0;
    time += from->fields.base_timestamp;
    found->timestamp = (int64_t)time;
    found->end = end;
    return at == end && found->timestamp == time && found->offset_delta >= expected
           && found->offset_delta <= from->fields.last_offset_delta;
}

int speed_is_sound(const speed_state *state, const batch *checked)
{
    const uint8_t *at = checked->area;
    int64_t expected = 0;
    record found;
    for (int32_t i = 0; i < checked->fields.records_count; i++) {
        if (!speed_read_record(state, checked, at, expected, &found))
            return 0;
        at = found.end;
        expected = found.offset_delta + 1;
    }
    return at == checked->limit;
}

/* Parses and checks the fixed part, as read_header in logd_wire/batch.py does. */
static int read_fixed(const speed_state *state, const uint8_t *at, int64_t available, batch *found)
{
    if (available < FIXED_BYTES)
        return 0;
    batch_fields *fields = &found->fields;
    fields->base_offset = (int64_t)get_be(at, 8);
    found->size = (int64_t)(int32_t)get_be(at + 8, 4) + LENGTH_PREFIX_BYTES;
    fields->leader_epoch = (int32_t)get_be(at + 12, 4);
    fields->attributes = (int16_t)get_be(at + 21, 2);
    fields->last_offset_delta = (int32_t)get_be(at + 23, 4);
    fields->base_timestamp = (int64_t)get_be(at + 27, 8);
    fields->max_timestamp = (int64_t)get_be(at + 35, 8);
    fields->producer_id = (int64_t)get_be(at + 43, 8);
    fields->producer_epoch = (int16_t)get_be(at + 51, 2);
    fields->base_sequence = (int32_t)get_be(at + 53, 4);
    fields->records_count = (int32_t)get_be(at + 57, 4);
    return at[16] == MAGIC && found->size >= FIXED_BYTES && found->size <= state->batch_bytes_max
           && found->size <= available && fields->base_offset >= 0
           && fields->last_offset_delta >= 0 && fields->last_offset_delta < state->records_max
           && fields->base_offset < INT64_MAX - fields->last_offset_delta
           && fields->records_count >= 0
           && fields->records_count <= fields->last_offset_delta + 1
           && (fields->attributes & CODEC_MASK) <= CODEC_LAST && fields->leader_epoch >= -1
           && fields->producer_id >= -1 && fields->producer_epoch >= -1
           && fields->base_sequence >= -1;
}

/* Puts the record area into `found`: the decompressed one, or that of `bytes` itself. */
static int open_records(speed_state *state, PyObject *bytes, int64_t position, batch *found)
{
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(bytes) + position;
    Py_ssize_t size = (Py_ssize_t)found->size - FIXED_BYTES;
    int codec = found->fields.attributes & CODEC_MASK;
    if (codec == 0) {
        found->owner = Py_NewRef(bytes);
        found->area = at + FIXED_BYTES;
        found->limit = found->area + size;
        return 1;
    }
    /* The limit on what comes out is that of `decompress`. */
    PyObject *number = PyObject_CallFunction((PyObject *)Py_TYPE(state->no_compression), "i",
                                             codec);
    if (number == NULL)
        return -1;
    PyObject *area = PyObject_CallFunction(state->decompress, "y#O",
                                           (const char *)at + FIXED_BYTES, size, number);
    Py_DECREF(number);
    if (area == NULL)
        return -1;
    if (!PyBytes_CheckExact(area)) {
        Py_DECREF(area);
        PyErr_SetString(PyExc_TypeError, "decompress() did not return bytes");
        return -1;
    }
    found->owner = area;
    found->area = (const uint8_t *)PyBytes_AS_STRING(area);
    found->limit = found->area + PyBytes_GET_SIZE(area);
    return 1;
}

/* The bytes from `position` on: `buffer` itself, or a copy of one batch of a buffer that may change
 * (`position` is 0 then). 0: let Python say what is wrong with them. */
static int batch_bytes(const speed_state *state, PyObject *buffer, int64_t *position,
                       PyObject **bytes, batch *found)
{
    if (PyBytes_CheckExact(buffer)) {
        int64_t size = PyBytes_GET_SIZE(buffer);
        if (*position < 0 || *position > size
            || !read_fixed(state, (const uint8_t *)PyBytes_AS_STRING(buffer) + *position,
                           size - *position, found))
            return 0;
        *bytes = Py_NewRef(buffer);
        return 1;
    }
    Py_buffer view;
    int of_bytes = PyByteArray_CheckExact(buffer);
    if (PyMemoryView_Check(buffer)) {
        const Py_buffer *shape = PyMemoryView_GET_BUFFER(buffer);
        of_bytes = shape->ndim == 1 && shape->itemsize == 1;
    }
    if (!of_bytes)
        return 0;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    int done = 0;
    if (*position >= 0 && *position <= view.len) {
        const uint8_t *at = (const uint8_t *)view.buf + *position;
        if (read_fixed(state, at, view.len - *position, found)) {
            *bytes = PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)found->size);
            done = *bytes == NULL ? -1 : 1;
            *position = 0;
            /* The buffer may have been shared with a writer that holds no lock: the copy counts. */
            if (done == 1
                && !read_fixed(state, (const uint8_t *)PyBytes_AS_STRING(*bytes),
                               PyBytes_GET_SIZE(*bytes), found)) {
                Py_CLEAR(*bytes);
                done = 0;
            }
        }
    }
    PyBuffer_Release(&view);
    return done;
}

int speed_open_batch(speed_state *state, PyObject *buffer, PyObject *position, PyObject *verify,
                     batch *found, PyObject **bytes, int64_t *offset)
{
    int overflow;
    *bytes = NULL;
    if (!PyLong_CheckExact(position))
        return 0;
    *offset = PyLong_AsLongLongAndOverflow(position, &overflow);
    int checks = PyObject_IsTrue(verify);
    if (checks < 0)
        return -1;
    int done = overflow ? 0 : batch_bytes(state, buffer, offset, bytes, found);
    if (done == 1 && checks) {
        const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(*bytes) + *offset;
        uint32_t crc;
        if (speed_crc(state, at + CRC_POSITION, (size_t)found->size - CRC_POSITION, &crc) < 0)
            done = -1;
        else if (crc != (uint32_t)get_be(at + CRC_FIELD_POSITION, 4))
            done = 0;
    }
    if (done == 1)
        done = open_records(state, *bytes, *offset, found);
    if (done != 1)
        Py_CLEAR(*bytes);
    return done;
}

/* ---- objects of a record --------------------------------------------------------------------- */

PyObject *speed_nullable_bytes(const uint8_t *bytes, int64_t size)
{
    if (bytes == NULL)
        return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
}

/* The headers of a record that was read before, so nothing in them is wrong. */
static PyObject *headers_tuple(const speed_state *state, const uint8_t *at, const uint8_t *end,
                               int64_t count)
{
    if (count == 0)
        return Py_NewRef(state->empty_tuple);
    PyObject *headers = PyTuple_New((Py_ssize_t)count);
    for (Py_ssize_t i = 0; headers != NULL && i < count; i++) {
        const uint8_t *name = NULL, *value = NULL;
        int64_t name_size = 0, value_size = 0;
        read_nullable(&at, end, &name, &name_size);
        read_nullable(&at, end, &value, &value_size);
        PyObject *text = PyUnicode_DecodeUTF8((const char *)name, (Py_ssize_t)name_size, NULL);
        PyObject *data = speed_nullable_bytes(value, value_size);
        PyObject *pair = text == NULL || data == NULL ? NULL : PyTuple_Pack(2, text, data);
        Py_XDECREF(text);
        Py_XDECREF(data);
        if (pair == NULL)
            Py_CLEAR(headers);
        else
            PyTuple_SET_ITEM(headers, i, pair);
    }
    return headers;
}

/* A timestamp as an object; records that follow each other often share it. */
typedef struct {
    int64_t value;
    PyObject *object;
} time_cache;

static PyObject *time_object(time_cache *cache, int64_t timestamp)
{
    if (cache->object == NULL || cache->value != timestamp) {
        Py_XDECREF(cache->object);
        cache->object = PyLong_FromLongLong(timestamp);
        cache->value = timestamp;
    }
    return Py_XNewRef(cache->object);
}

/* Fills `parts` with the five new references of a record; -1, and none are left. */
static int record_parts(const speed_state *state, const batch *from, const record *found,
                        time_cache *times, PyObject **parts)
{
    int64_t timestamp = from->fields.attributes & APPEND_TIME_BIT ? from->fields.max_timestamp
                                                                  : found->timestamp;
    parts[0] = PyLong_FromLongLong(from->fields.base_offset + found->offset_delta);
    parts[1] = time_object(times, timestamp);
    parts[2] = speed_nullable_bytes(found->key, found->key_size);
    parts[3] = speed_nullable_bytes(found->value, found->value_size);
    parts[4] = headers_tuple(state, found->headers, found->end, found->headers_count);
    if (parts[0] && parts[1] && parts[2] && parts[3] && parts[4])
        return 0;
    for (int i = 0; i < 5; i++)
        Py_CLEAR(parts[i]);
    return -1;
}

enum part { OFFSET, TIMESTAMP, KEY, VALUE, HEADERS };

/* How the object of a record is made: by calling `call`, or (NULL) as a tuple of `type` that has
 * the items of `before`, the parts of the record in `order`, and the items of `after`. */
typedef struct {
    PyObject *call;
    PyTypeObject *type;
    PyObject *before;
    PyObject *after;
    enum part order[5];
    int cyclic; /* an item of `before` or `after` may lead back to the tuple */
} maker;

int speed_is_plain_tuple(PyObject *type)
{
    PyTypeObject *it = (PyTypeObject *)type;
    return PyType_Check(type) && PyType_IsSubtype(it, &PyTuple_Type)
           && it->tp_basicsize == PyTuple_Type.tp_basicsize && it->tp_dictoffset == 0;
}

static maker wire_records(const speed_state *state)
{
    return (maker){
        .type = (PyTypeObject *)state->wire_record,
        .before = state->empty_tuple,
        .after = state->empty_tuple,
        .order = {OFFSET, TIMESTAMP, KEY, VALUE, HEADERS},
    };
}

static int may_be_cyclic(PyObject *items)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++)
        if (PyObject_IS_GC(PyTuple_GET_ITEM(items, i)))
            return 1;
    return 0;
}

/* Takes over the five parts. Nobody sees the tuple before it is whole. */
static PyObject *made_tuple(const maker *how, PyObject **parts)
{
    Py_ssize_t before = PyTuple_GET_SIZE(how->before), after = PyTuple_GET_SIZE(how->after);
    PyTupleObject *made = PyObject_GC_NewVar(PyTupleObject, how->type, before + 5 + after);
    if (made == NULL)
        return NULL;
    PyObject **to = made->ob_item;
    for (Py_ssize_t i = 0; i < before; i++)
        *to++ = Py_NewRef(PyTuple_GET_ITEM(how->before, i));
    for (int i = 0; i < 5; i++)
        *to++ = parts[how->order[i]];
    for (Py_ssize_t i = 0; i < after; i++)
        *to++ = Py_NewRef(PyTuple_GET_ITEM(how->after, i));
    /* Bytes, numbers and tuples of such cannot be part of a cycle, so the collector, which would go
     * through every record several times, need not know of it. */
    if (how->cyclic)
        PyObject_GC_Track(made);
    return (PyObject *)made;
}

/* The caller's object for a record. */
static PyObject *made_object(const maker *how, PyObject **parts)
{
    PyObject *made;
    if (how->call == NULL) {
        made = made_tuple(how, parts);
        if (made != NULL)
            return made;
    } else {
        PyObject *stack[6] = {NULL, parts[0], parts[1], parts[2], parts[3], parts[4]};
        made = PyObject_Vectorcall(how->call, stack + 1, 5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    for (int i = 0; i < 5; i++)
        Py_DECREF(parts[i]);
    return made;
}

/* ---- decode_records, decode_rows, decode_batch ----------------------------------------------- */

/* The list of what `how` makes; 0 in `*sound`: the batch is damaged, no exception is set. */
static PyObject *decode_all(const speed_state *state, const batch *from, const maker *how,
                            int *sound)
{
    int64_t count = from->fields.records_count, expected = 0;
    *sound = count * RECORD_BYTES_MIN <= from->limit - from->area;
    PyObject *list = *sound ? PyList_New((Py_ssize_t)count) : NULL;
    if (list == NULL)
        return NULL;
    /* Code that runs meanwhile must not find the list: it has holes. */
    PyObject_GC_UnTrack(list);
    time_cache times = {0, NULL};
    const uint8_t *at = from->area;
    record found;
    PyObject *parts[5];
    for (Py_ssize_t i = 0; i < count; i++) {
        *sound = speed_read_record(state, from, at, expected, &found);
        PyObject *made = NULL;
        if (*sound && record_parts(state, from, &found, &times, parts) == 0)
            made = made_object(how, parts);
        if (made == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, made);
        at = found.end;
        expected = found.offset_delta + 1;
    }
    Py_XDECREF(times.object);
    if (list != NULL) {
        *sound = at == from->limit;
        if (*sound)
            PyObject_GC_Track(list);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* Why a batch is left to the pure codec: C cannot read it, or found it damaged, and the error is
 * said in one place. */
enum { NOT_LEFT, UNREADABLE, DAMAGED };

/* The list; NULL with an exception, or without one where `*left` says so. */
static PyObject *decode_with(speed_state *state, PyObject *buffer, PyObject *position,
                             const maker *how, PyObject *verify, int *left)
{
    batch found;
    PyObject *bytes;
    int64_t offset;
    int sound = 0;
    int opened = speed_open_batch(state, buffer, position, verify, &found, &bytes, &offset);
    *left = opened == 0 ? UNREADABLE : NOT_LEFT;
    if (opened != 1)
        return NULL;
    PyObject *list = decode_all(state, &found, how, &sound);
    Py_DECREF(found.owner);
    Py_DECREF(bytes);
    if (!sound)
        *left = DAMAGED;
    return list;
}

/* What the pure `function` says of `count` arguments behind given[0], and of `verify`. */
static PyObject *decode_purely(PyObject *function, PyObject **given, size_t count, PyObject *verify,
                               int left)
{
    PyObject *named = Py_BuildValue("(s)", "verify");
    if (named == NULL)
        return NULL;
    given[count + 1] = verify;
    PyObject *list =
        PyObject_Vectorcall(function, given + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, named);
    Py_DECREF(named);
    if (list != NULL && left == DAMAGED) {
        Py_CLEAR(list);
        PyErr_SetString(PyExc_SystemError, "the two batch codecs disagree about a batch");
    }
    return list;
}

PyObject *speed_decode_records(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "position", "make", "verify"};
    speed_state *state = PyModule_GetState(module);
    PyObject *slots[4] = {NULL, NULL, NULL, Py_True};
    int left;
    if (speed_arguments("decode_records", names, 4, 3, 3, args, nargs, kwnames, slots) < 0)
        return NULL;
    maker how = slots[2] == state->wire_record ? wire_records(state) : (maker){.call = slots[2]};
    PyObject *list = decode_with(state, slots[0], slots[1], &how, slots[3], &left);
    if (left == NOT_LEFT)
        return list;
    /* It was perhaps called already: Python only has to find the error once more. */
    PyObject *make = left == DAMAGED ? state->ignore : slots[2];
    PyObject *given[5] = {NULL, slots[0], slots[1], make};
    return decode_purely(state->pure_decode_records, given, 3, slots[3], left);
}

PyObject *speed_decode_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "position", "row", "before", "after", "verify"};
    speed_state *state = PyModule_GetState(module);
    PyObject *slots[6] = {NULL, NULL, NULL, NULL, NULL, Py_True};
    int left = UNREADABLE;
    if (speed_arguments("decode_rows", names, 6, 5, 5, args, nargs, kwnames, slots) < 0)
        return NULL;
    if (speed_is_plain_tuple(slots[2]) && PyTuple_CheckExact(slots[3])
        && PyTuple_CheckExact(slots[4])) {
        maker how = {
            .type = (PyTypeObject *)slots[2],
            .before = slots[3],
            .after = slots[4],
            .order = {OFFSET, KEY, VALUE, HEADERS, TIMESTAMP},
            .cyclic = may_be_cyclic(slots[3]) || may_be_cyclic(slots[4]),
        };
        PyObject *list = decode_with(state, slots[0], slots[1], &how, slots[5], &left);
        if (left == NOT_LEFT)
            return list;
    }
    PyObject *given[7] = {NULL, slots[0], slots[1], slots[2], slots[3], slots[4]};
    return decode_purely(state->pure_decode_rows, given, 5, slots[5], left);
}

/* buffer, position=0, *, verify=True; `*zero` is to be released. */
static int batch_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, PyObject **slots, PyObject **zero)
{
    static const char *const names[] = {"buffer", "position", "verify"};
    *zero = PyLong_FromLong(0);
    if (*zero == NULL)
        return -1;
    slots[1] = *zero;
    slots[2] = Py_True;
    if (speed_arguments(function, names, 3, 1, 2, args, nargs, kwnames, slots) == 0)
        return 0;
    Py_CLEAR(*zero);
    return -1;
}

PyObject *speed_decode_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    speed_state *state = PyModule_GetState(module);
    PyObject *slots[3], *zero;
    if (batch_arguments("decode_batch", args, nargs, kwnames, slots, &zero) < 0)
        return NULL;
    maker how = wire_records(state);
    int left;
    PyObject *list = decode_with(state, slots[0], slots[1], &how, slots[2], &left);
    if (left != NOT_LEFT) {
        PyObject *given[5] = {NULL, slots[0], slots[1], state->wire_record};
        list = decode_purely(state->pure_decode_records, given, 3, slots[2], left);
    }
    Py_DECREF(zero);
    return list;
}

/* ---- lazy iteration -------------------------------------------------------------------------- */

/* A record whose objects are made when they are asked for. `owner` keeps what is pointed at. */
typedef struct {
    PyObject_HEAD
    speed_state *state;
    PyObject *owner;
    int64_t offset;
    int64_t timestamp;
    record found;
} record_view;

static void view_dealloc(record_view *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->owner);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *view_key(record_view *self, void *closure)
{
    (void)closure;
    return speed_nullable_bytes(self->found.key, self->found.key_size);
}

static PyObject *view_value(record_view *self, void *closure)
{
    (void)closure;
    return speed_nullable_bytes(self->found.value, self->found.value_size);
}

static PyObject *view_headers(record_view *self, void *closure)
{
    (void)closure;
    return headers_tuple(self->state, self->found.headers, self->found.end,
                         self->found.headers_count);
}

static PyMemberDef view_members[] = {
    {"offset", T_LONGLONG, offsetof(record_view, offset), READONLY, NULL},
    {"timestamp", T_LONGLONG, offsetof(record_view, timestamp), READONLY, "ms since 1970"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef view_getset[] = {
    {"key", (getter)view_key, NULL, NULL, NULL},
    {"value", (getter)view_value, NULL, NULL, NULL},
    {"headers", (getter)view_headers, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_doc, "One record of a batch, read where it lies."},
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_members, view_members},
    {Py_tp_getset, view_getset},
    {0, NULL},
};

PyType_Spec speed_view_spec = {
    .name = "logd_wire._speed.RecordView",
    .basicsize = sizeof(record_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

/* Over records or keys of a batch that is known to be sound. */
typedef struct {
    PyObject_HEAD
    speed_state *state;
    batch from;
    const uint8_t *at;
    int64_t expected;
    int32_t left;
    int keys;
    PyObject *reused; /* the tuple of the last key, given out again when nobody kept it */
} batch_iterator;

static void iterator_dealloc(batch_iterator *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->from.owner);
    Py_XDECREF(self->reused);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *next_key(batch_iterator *self, const record *found)
{
    PyObject *parts[3] = {
        PyLong_FromLongLong(self->from.fields.base_offset + found->offset_delta),
        speed_nullable_bytes(found->key, found->key_size),
        Py_NewRef(found->value == NULL ? Py_False : Py_True),
    };
    if (parts[0] != NULL && parts[1] != NULL && self->reused != NULL
        && Py_REFCNT(self->reused) == 1) {
        for (int i = 0; i < 3; i++) {
            PyObject *old = PyTuple_GET_ITEM(self->reused, i);
            PyTuple_SET_ITEM(self->reused, i, parts[i]);
            Py_DECREF(old); /* an int, bytes, None or a bool: no code runs */
        }
        return Py_NewRef(self->reused);
    }
    PyObject *tuple = parts[0] && parts[1] ? PyTuple_Pack(3, parts[0], parts[1], parts[2]) : NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    Py_XSETREF(self->reused, Py_XNewRef(tuple));
    return tuple;
}

static PyObject *next_view(batch_iterator *self, const record *found)
{
    PyTypeObject *type = self->state->view_type;
    record_view *view = (record_view *)type->tp_alloc(type, 0);
    if (view == NULL)
        return NULL;
    const batch_fields *fields = &self->from.fields;
    view->state = self->state;
    view->owner = Py_NewRef(self->from.owner);
    view->offset = fields->base_offset + found->offset_delta;
    view->timestamp =
        fields->attributes & APPEND_TIME_BIT ? fields->max_timestamp : found->timestamp;
    view->found = *found;
    return (PyObject *)view;
}

static PyObject *iterator_next(batch_iterator *self)
{
    record found;
    if (self->left == 0
        || !speed_read_record(self->state, &self->from, self->at, self->expected, &found))
        return NULL;
    self->left--;
    self->at = found.end;
    self->expected = found.offset_delta + 1;
    return self->keys ? next_key(self, &found) : next_view(self, &found);
}

static PyObject *iterator_length(batch_iterator *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(self->left);
}

static PyMethodDef iterator_methods[] = {
    {"__length_hint__", (PyCFunction)iterator_length, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot iterator_slots[] = {
    {Py_tp_doc, "Iterates over a batch."},
    {Py_tp_dealloc, iterator_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iterator_next},
    {Py_tp_methods, iterator_methods},
    {0, NULL},
};

PyType_Spec speed_iterator_spec = {
    .name = "logd_wire._speed.BatchIterator",
    .basicsize = sizeof(batch_iterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = iterator_slots,
};

static PyObject *iterate(PyObject *module, const char *function, int keys, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    speed_state *state = PyModule_GetState(module);
    PyObject *slots[3], *zero, *bytes;
    batch found;
    int64_t offset;
    if (batch_arguments(function, args, nargs, kwnames, slots, &zero) < 0)
        return NULL;
    batch_iterator *iterator = NULL;
    int opened = speed_open_batch(state, slots[0], slots[1], slots[2], &found, &bytes, &offset);
    Py_DECREF(zero);
    if (opened < 0)
        return NULL;
    if (opened == 1) {
        Py_DECREF(bytes);
        if (speed_is_sound(state, &found)) {
            iterator = (batch_iterator *)state->iterator_type->tp_alloc(state->iterator_type, 0);
            if (iterator == NULL) {
                Py_DECREF(found.owner);
                return NULL;
            }
            iterator->state = state;
            iterator->from = found;
            iterator->at = found.area;
            iterator->left = found.fields.records_count;
            iterator->keys = keys;
            return (PyObject *)iterator;
        }
        Py_DECREF(found.owner);
    }
    return PyObject_Vectorcall(keys ? state->pure_iter_keys : state->pure_iter_records, args,
                               (size_t)nargs, kwnames);
}

PyObject *speed_iter_records(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    return iterate(module, "iter_records", 0, args, nargs, kwnames);
}

PyObject *speed_iter_keys(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    return iterate(module, "iter_keys", 1, args, nargs, kwnames);
}
