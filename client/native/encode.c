/* Making batches: the incremental builder, encode_batch, the fixed part; and the partitioner. */

#include "speed.h"

#include <structmember.h>

/* One less than what 64 bits hold, so that the delta between any two timestamps fits. */
#define TIMESTAMP_MAX (INT64_MAX - 1)

/* ---- bytes that grow ------------------------------------------------------------------------- */

int speed_reserve(byte_area *area, size_t more)
{
    if (area->capacity - area->size >= more)
        return 0;
    size_t capacity = area->capacity + area->capacity / 2 + 256;
    if (capacity < area->size + more)
        capacity = area->size + more;
    uint8_t *bytes = PyMem_Realloc(area->bytes, capacity);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    area->bytes = bytes;
    area->capacity = capacity;
    return 0;
}

void speed_release(byte_area *area)
{
    PyMem_Free(area->bytes);
    memset(area, 0, sizeof *area);
}

/* Appends the bytes object `record`. */
static int append_bytes(byte_area *area, PyObject *record)
{
    size_t size = (size_t)PyBytes_GET_SIZE(record);
    if (speed_reserve(area, size) < 0)
        return -1;
    memcpy(area->bytes + area->size, PyBytes_AS_STRING(record), size);
    area->size += size;
    return 0;
}

/* ---- arguments ------------------------------------------------------------------------------- */

int speed_arguments(const char *function, const char *const *names, int names_count, int required,
                    int keyword_only, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    PyObject **slots)
{
    uint32_t given = 0;
    if (nargs > keyword_only) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional arguments but %zd were given",
                     function, keyword_only, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        slots[i] = args[i];
        given |= 1u << i;
    }
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int slot = 0;
        while (slot < names_count && PyUnicode_CompareWithASCIIString(name, names[slot]) != 0)
            slot++;
        if (slot == names_count || given & 1u << slot) {
            PyErr_Format(PyExc_TypeError,
                         slot == names_count ? "%s() got an unexpected keyword argument '%U'"
                                             : "%s() got multiple values for argument '%U'",
                         function, name);
            return -1;
        }
        slots[slot] = args[nargs + i];
        given |= 1u << slot;
    }
    for (int slot = 0; slot < required; slot++) {
        if (!(given & 1u << slot)) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function,
                         names[slot]);
            return -1;
        }
    }
    return 0;
}

/* The value of an int (no subclass) from `min` to `max`; 0: it is something else. */
static int plain_int(PyObject *object, int64_t min, int64_t max, int64_t *value)
{
    int overflow;
    if (!PyLong_CheckExact(object))
        return 0;
    long long found = PyLong_AsLongLongAndOverflow(object, &overflow);
    *value = found;
    return !overflow && found >= min && found <= max;
}

/* ---- one record ------------------------------------------------------------------------------ */

/* What a record holds, looked at but not copied; valid while the caller holds the objects. A NULL
 * pointer is a null; the objects behind the pointers are immutable. */
typedef struct {
    const char *key;
    const char *value;
    size_t key_size;
    size_t value_size;
    PyObject *headers; /* a plain tuple, or NULL: none */
    size_t headers_bytes;
} content;

static int plain_bytes(PyObject *object, const char **bytes, size_t *size)
{
    if (object == Py_None) {
        *bytes = NULL;
        *size = 0;
        return 1;
    }
    if (!PyBytes_CheckExact(object))
        return 0;
    *bytes = PyBytes_AS_STRING(object);
    *size = (size_t)PyBytes_GET_SIZE(object);
    return 1;
}

static size_t nullable_size(const char *bytes, size_t size)
{
    return bytes == NULL ? 1 : varint_size(size << 1) + size;
}

static uint8_t *put_nullable(uint8_t *to, const char *bytes, size_t size)
{
    if (bytes == NULL) {
        *to++ = 1;
        return to;
    }
    to = put_varint(to, size << 1);
    memcpy(to, bytes, size);
    return to + size;
}

/* The parts of one header; 0: not of the plain types, no exception is set. */
static int plain_header(PyObject *header, const char **name, size_t *name_size,
                        const char **value, size_t *value_size)
{
    if (!PyTuple_CheckExact(header) || PyTuple_GET_SIZE(header) != 2
        || !PyUnicode_CheckExact(PyTuple_GET_ITEM(header, 0)))
        return 0;
    Py_ssize_t size;
    *name = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(header, 0), &size);
    if (*name == NULL) {
        PyErr_Clear();
        return 0;
    }
    *name_size = (size_t)size;
    return plain_bytes(PyTuple_GET_ITEM(header, 1), value, value_size);
}

/* Looks at a record; 0: it takes the general way, which may refuse it. */
static int look_at(const speed_state *state, PyObject *key, PyObject *value, PyObject *headers,
                   content *found)
{
    if (!plain_bytes(key, &found->key, &found->key_size)
        || !plain_bytes(value, &found->value, &found->value_size)
        || (int64_t)found->key_size > state->key_bytes_max)
        return 0;
    found->headers = NULL;
    found->headers_bytes = 0;
    size_t content_size = 0;
    if (headers != state->empty_tuple && headers != NULL) {
        if (!PyTuple_CheckExact(headers) || PyTuple_GET_SIZE(headers) > state->headers_max)
            return 0;
        found->headers = headers;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(headers); i++) {
            const char *name, *data;
            size_t name_size, data_size;
            if (!plain_header(PyTuple_GET_ITEM(headers, i), &name, &name_size, &data, &data_size))
                return 0;
            found->headers_bytes += nullable_size(name, name_size) + nullable_size(data, data_size);
            content_size += name_size + data_size;
        }
        if (content_size > (size_t)state->header_bytes_max)
            return 0;
    }
    return found->key_size + found->value_size + content_size <= (size_t)state->record_bytes_max;
}

/* Bytes behind the length of the record. */
static size_t body_size(const content *record, uint64_t time, uint64_t offset)
{
    Py_ssize_t headers = record->headers == NULL ? 0 : PyTuple_GET_SIZE(record->headers);
    return 1 + varint_size(time) + varint_size(offset)
           + nullable_size(record->key, record->key_size)
           + nullable_size(record->value, record->value_size)
           + varint_size((uint64_t)headers << 1) + record->headers_bytes;
}

/* Appends a record whose body has `size` bytes (of body_size). */
static int append_record(byte_area *area, const content *record, uint64_t time, uint64_t offset,
                         size_t size)
{
    if (speed_reserve(area, VARINT_BYTES_MAX + size) < 0)
        return -1;
    uint8_t *to = put_varint(area->bytes + area->size, size << 1);
    *to++ = 0;
    to = put_varint(to, time);
    to = put_varint(to, offset);
    to = put_nullable(to, record->key, record->key_size);
    to = put_nullable(to, record->value, record->value_size);
    Py_ssize_t headers = record->headers == NULL ? 0 : PyTuple_GET_SIZE(record->headers);
    to = put_varint(to, (uint64_t)headers << 1);
    for (Py_ssize_t i = 0; i < headers; i++) {
        const char *name = NULL, *data = NULL;
        size_t name_size = 0, data_size = 0;
        /* Cannot fail: look_at saw the same immutable objects, and kept the text's bytes. */
        plain_header(PyTuple_GET_ITEM(record->headers, i), &name, &name_size, &data, &data_size);
        to = put_nullable(to, name, name_size);
        to = put_nullable(to, data, data_size);
    }
    area->size = (size_t)(to - area->bytes);
    return 0;
}

/* The general way: (offset delta, bytes) from Python, or NULL with the error. Steals nothing. */
static PyObject *placed(speed_state *state, PyObject *record, PyObject *base_offset,
                        int64_t previous, PyObject *base_timestamp)
{
    PyObject *found = PyObject_CallFunction(state->encode_placed, "OOLO", record, base_offset,
                                            (long long)previous, base_timestamp);
    if (found != NULL
        && (!PyTuple_CheckExact(found) || PyTuple_GET_SIZE(found) != 2
            || !PyBytes_CheckExact(PyTuple_GET_ITEM(found, 1)))) {
        PyErr_SetString(PyExc_TypeError, "encode_placed() did not return an int and bytes");
        Py_CLEAR(found);
    }
    return found;
}

/* ---- the fixed part -------------------------------------------------------------------------- */

int speed_crc(speed_state *state, const uint8_t *bytes, size_t size, uint32_t *crc)
{
    PyObject *view = PyMemoryView_FromMemory((char *)bytes, (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL)
        return -1;
    PyObject *found = PyObject_CallOneArg(state->crc32c, view);
    Py_DECREF(view);
    if (found == NULL)
        return -1;
    unsigned long value = PyLong_AsUnsignedLongMask(found);
    Py_DECREF(found);
    if (PyErr_Occurred())
        return -1;
    *crc = (uint32_t)value;
    return 0;
}

/* The general way, with any objects for attributes, producer and epoch. */
static PyObject *finish_any(speed_state *state, const batch_fields *fields, PyObject *leader_epoch,
                            PyObject *attributes, PyObject *const *producer, const uint8_t *area,
                            size_t size, PyObject *level)
{
    PyObject *header = PyObject_CallFunction(
        state->batch_header, "LiOiiOlLLOOOl", (long long)fields->base_offset, 0, leader_epoch,
        MAGIC, 0, attributes, (long)fields->last_offset_delta, (long long)fields->base_timestamp,
        (long long)fields->max_timestamp, producer[0], producer[1], producer[2],
        (long)fields->records_count);
    if (header == NULL)
        return NULL;
    PyObject *batch = PyObject_CallFunction(state->finish, "y#OO", (const char *)area,
                                            (Py_ssize_t)size, header, level);
    Py_DECREF(header);
    return batch;
}

/* All fields are in range and nothing is to be compressed. */
static PyObject *finish_plain(speed_state *state, const batch_fields *fields, const uint8_t *area,
                              size_t size)
{
    PyObject *batch = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(FIXED_BYTES + size));
    if (batch == NULL)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(batch);
    put_be(to, (uint64_t)fields->base_offset, 8);
    put_be(to + 8, FIXED_BYTES + size - LENGTH_PREFIX_BYTES, 4);
    put_be(to + 12, (uint64_t)fields->leader_epoch, 4);
    to[16] = MAGIC;
    put_be(to + 21, (uint64_t)fields->attributes, 2);
    put_be(to + 23, (uint64_t)fields->last_offset_delta, 4);
    put_be(to + 27, (uint64_t)fields->base_timestamp, 8);
    put_be(to + 35, (uint64_t)fields->max_timestamp, 8);
    put_be(to + 43, (uint64_t)fields->producer_id, 8);
    put_be(to + 51, (uint64_t)fields->producer_epoch, 2);
    put_be(to + 53, (uint64_t)fields->base_sequence, 4);
    put_be(to + 57, (uint64_t)fields->records_count, 4);
    if (size > 0)
        memcpy(to + FIXED_BYTES, area, size);
    uint32_t crc;
    /* Nobody else has the batch yet, so it cannot change while the lock is let go of. */
    if (speed_crc(state, to + CRC_POSITION, FIXED_BYTES - CRC_POSITION + size, &crc) < 0) {
        Py_DECREF(batch);
        return NULL;
    }
    put_be(to + CRC_FIELD_POSITION, crc, 4);
    return batch;
}

PyObject *speed_finish(speed_state *state, const batch_fields *fields, const uint8_t *area,
                       size_t size, PyObject *level)
{
    if (!(fields->attributes & CODEC_MASK)
        && (int64_t)(size + FIXED_BYTES) <= state->batch_bytes_max)
        return finish_plain(state, fields, area, size);
    PyObject *numbers[5] = {
        PyLong_FromLong(fields->leader_epoch),   PyLong_FromLong(fields->attributes),
        PyLong_FromLongLong(fields->producer_id), PyLong_FromLong(fields->producer_epoch),
        PyLong_FromLong(fields->base_sequence),
    };
    PyObject *batch = NULL;
    if (numbers[0] && numbers[1] && numbers[2] && numbers[3] && numbers[4])
        batch = finish_any(state, fields, numbers[0], numbers[1], numbers + 2, area, size, level);
    for (int i = 0; i < 5; i++)
        Py_XDECREF(numbers[i]);
    return batch;
}

/* What the caller gave for leader epoch (NULL: -1), codec and producer; `fields` has the rest. */
static PyObject *finish_given(speed_state *state, batch_fields *fields, PyObject *leader_epoch,
                              PyObject *compression, PyObject *const *producer,
                              const byte_area *area, PyObject *level)
{
    int64_t epoch, id, producer_epoch, sequence;
    if (compression == state->no_compression
        && (int64_t)(area->size + FIXED_BYTES) <= state->batch_bytes_max
        && plain_int(leader_epoch, -1, INT32_MAX, &epoch)
        && plain_int(producer[0], -1, INT64_MAX, &id)
        && plain_int(producer[1], -1, INT16_MAX, &producer_epoch)
        && plain_int(producer[2], -1, INT32_MAX, &sequence)) {
        fields->leader_epoch = (int32_t)epoch;
        fields->attributes = 0;
        fields->producer_id = id;
        fields->producer_epoch = (int16_t)producer_epoch;
        fields->base_sequence = (int32_t)sequence;
        return finish_plain(state, fields, area->bytes, area->size);
    }
    return finish_any(state, fields, leader_epoch, compression, producer,
                      area->bytes == NULL ? (const uint8_t *)"" : area->bytes, area->size, level);
}

/* ---- encode_batch ---------------------------------------------------------------------------- */

/* What encode_batch carries from record to record. */
typedef struct {
    byte_area area;
    batch_fields fields;
    int64_t delta; /* of the record before, -1: none */
    int64_t count;
    PyObject *base_offset_given;
    PyObject *base_timestamp_given; /* owned; NULL before the first record */
} encoder;

/* Adds one record, a tuple of five. */
static int encode_one(speed_state *state, encoder *to, PyObject *record)
{
    PyObject *time_given = PyTuple_GET_ITEM(record, 1);
    int64_t offset, timestamp;
    content found;
    if (to->base_timestamp_given == NULL) {
        Py_INCREF(time_given);
        to->base_timestamp_given = time_given;
        /* What is no timestamp is refused below, by the general way. */
        if (!plain_int(time_given, -1, TIMESTAMP_MAX, &to->fields.base_timestamp))
            to->fields.base_timestamp = 0;
    }
    if (plain_int(PyTuple_GET_ITEM(record, 0), 0, INT64_MAX, &offset)
        && plain_int(time_given, -1, TIMESTAMP_MAX, &timestamp)
        && to->fields.base_offset >= 0
        && offset - to->fields.base_offset > to->delta
        && look_at(state, PyTuple_GET_ITEM(record, 2), PyTuple_GET_ITEM(record, 3),
                   PyTuple_GET_ITEM(record, 4), &found)) {
        int64_t delta = offset - to->fields.base_offset;
        uint64_t time = zigzag(timestamp - to->fields.base_timestamp);
        size_t size = body_size(&found, time, zigzag(delta));
        if (append_record(&to->area, &found, time, zigzag(delta), size) < 0)
            return -1;
        to->delta = delta;
    } else {
        PyObject *made =
            placed(state, record, to->base_offset_given, to->delta, to->base_timestamp_given);
        if (made == NULL)
            return -1;
        long long delta = PyLong_AsLongLong(PyTuple_GET_ITEM(made, 0));
        timestamp = PyLong_AsLongLong(time_given);
        if (to->count == 0)
            to->fields.base_timestamp = timestamp;
        int failed = PyErr_Occurred() || append_bytes(&to->area, PyTuple_GET_ITEM(made, 1)) < 0;
        Py_DECREF(made);
        if (failed)
            return -1;
        to->delta = delta;
    }
    if (timestamp > to->fields.max_timestamp)
        to->fields.max_timestamp = timestamp;
    to->count++;
    return 0;
}

/* `record` as a tuple of five (a new reference), or NULL with ValueError or TypeError. */
static PyObject *as_five(PyObject *record)
{
    PyObject *tuple;
    if (PyTuple_Check(record)) {
        Py_INCREF(record);
        tuple = record;
    } else {
        tuple = PySequence_Tuple(record);
    }
    if (tuple != NULL && PyTuple_GET_SIZE(tuple) != 5) {
        PyErr_Format(PyExc_ValueError, "a record has five fields, not %zd",
                     PyTuple_GET_SIZE(tuple));
        Py_CLEAR(tuple);
    }
    return tuple;
}

static int encode_all(speed_state *state, encoder *to, PyObject *records)
{
    PyObject *iterator = PyObject_GetIter(records);
    if (iterator == NULL)
        return -1;
    PyObject *record;
    int failed = 0;
    while (!failed && (record = PyIter_Next(iterator)) != NULL) {
        PyObject *five = as_five(record);
        Py_DECREF(record);
        failed = five == NULL || encode_one(state, to, five) < 0;
        Py_XDECREF(five);
    }
    Py_DECREF(iterator);
    return failed || PyErr_Occurred() ? -1 : 0;
}

PyObject *speed_encode_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"records",     "base_offset",    "leader_epoch",
                                        "compression", "level",          "producer_id",
                                        "producer_epoch", "base_sequence"};
    speed_state *state = PyModule_GetState(module);
    PyObject *none = PyLong_FromLong(-1), *zero = PyLong_FromLong(0), *batch = NULL;
    PyObject *slots[8] = {NULL, zero, none, state->no_compression, Py_None, none, none, none};
    encoder to = {.delta = -1, .fields = {.max_timestamp = -1}};
    if (none == NULL || zero == NULL
        || speed_arguments("encode_batch", names, 8, 1, 1, args, nargs, kwnames, slots) < 0)
        goto done;
    if (!plain_int(slots[1], INT64_MIN / 2, INT64_MAX, &to.fields.base_offset)) {
        batch = PyObject_Vectorcall(state->pure_encode_batch, args, (size_t)nargs, kwnames);
        goto done;
    }
    to.base_offset_given = slots[1];
    if (encode_all(state, &to, slots[0]) < 0)
        goto done;
    PyObject *checked = PyObject_CallFunction(state->check_placed, "OL", slots[1],
                                              (long long)to.delta);
    if (checked == NULL)
        goto done;
    Py_DECREF(checked);
    to.fields.last_offset_delta = (int32_t)to.delta;
    to.fields.records_count = (int32_t)to.count;
    batch = finish_given(state, &to.fields, slots[2], slots[3], slots + 5, &to.area, slots[4]);
done:
    Py_XDECREF(to.base_timestamp_given);
    Py_XDECREF(none);
    Py_XDECREF(zero);
    speed_release(&to.area);
    return batch;
}

/* ---- the builder ----------------------------------------------------------------------------- */

/* `size_estimate` is always FIXED_BYTES + area.size. */
typedef struct {
    PyObject_HEAD
    speed_state *state; /* the type keeps the module, and the object the type */
    PyObject *compression;
    PyObject *level;
    byte_area area;
    int64_t bytes_max;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t count;
    int64_t size_estimate;
    int closed;
} builder;

static PyObject *builder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"compression", "bytes_max", "level", NULL};
    speed_state *state = PyType_GetModuleState(type);
    if (state == NULL)
        return NULL;
    PyObject *compression = state->no_compression, *bytes_max = NULL, *level = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO$O:BatchBuilder", names, &compression,
                                     &bytes_max, &level))
        return NULL;
    int64_t limit = state->batch_bytes_max;
    if (bytes_max != NULL) {
        int overflow;
        long long given = PyLong_AsLongLongAndOverflow(bytes_max, &overflow);
        if (given == -1 && PyErr_Occurred())
            return NULL;
        if (overflow < 0 || (!overflow && given < limit))
            limit = overflow ? INT64_MIN : given;
    }
    if (compression != state->no_compression || level != Py_None) {
        PyObject *done = PyObject_CallOneArg(state->check_supported, compression);
        Py_XDECREF(done);
        if (done != NULL && level != Py_None) {
            done = PyObject_CallFunction(state->compress, "y#OO", "", (Py_ssize_t)0, compression,
                                         level);
            Py_XDECREF(done);
        }
        if (done == NULL)
            return NULL;
    }
    builder *self = (builder *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(compression);
    Py_INCREF(level);
    self->state = state;
    self->compression = compression;
    self->level = level;
    self->bytes_max = limit;
    self->base_timestamp = -1;
    self->max_timestamp = -1;
    self->size_estimate = FIXED_BYTES;
    return (PyObject *)self;
}

static void builder_dealloc(builder *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->compression);
    Py_XDECREF(self->level);
    speed_release(&self->area);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Counts a record whose bytes are there; returns its index. */
static int64_t builder_added(builder *self, int64_t timestamp)
{
    if (self->count == 0)
        self->base_timestamp = self->max_timestamp = timestamp;
    else if (timestamp > self->max_timestamp)
        self->max_timestamp = timestamp;
    self->size_estimate = FIXED_BYTES + (int64_t)self->area.size;
    return self->count++;
}

static int builder_is_full(const builder *self, size_t more)
{
    return self->closed
           || (self->count > 0
               && (self->size_estimate + (int64_t)more > self->bytes_max
                   || self->count >= self->state->records_max));
}

/* The general way. Python code runs in it, so nothing that was read before it counts behind it. */
static PyObject *builder_append_any(builder *self, PyObject *const *slots)
{
    int64_t count = self->count;
    PyObject *zero = PyLong_FromLong(0);
    PyObject *record =
        Py_BuildValue("(LOOOO)", (long long)count, slots[0], slots[1], slots[2], slots[3]);
    PyObject *base = count == 0 ? Py_NewRef(slots[0]) : PyLong_FromLongLong(self->base_timestamp);
    PyObject *made = NULL, *index = NULL;
    if (zero != NULL && record != NULL && base != NULL)
        made = placed(self->state, record, zero, count - 1, base);
    if (made != NULL) {
        PyObject *bytes = PyTuple_GET_ITEM(made, 1);
        long long timestamp = PyLong_AsLongLong(slots[0]);
        if (timestamp == -1 && PyErr_Occurred())
            ;
        else if (self->count != count)
            PyErr_SetString(PyExc_RuntimeError, "the builder was changed by a record's own code");
        else if (builder_is_full(self, (size_t)PyBytes_GET_SIZE(bytes)))
            index = PyLong_FromLong(-1);
        else if (append_bytes(&self->area, bytes) == 0)
            index = PyLong_FromLongLong(builder_added(self, timestamp));
    }
    Py_XDECREF(zero);
    Py_XDECREF(record);
    Py_XDECREF(base);
    Py_XDECREF(made);
    return index;
}

/* Adds a record that was looked at; returns its index, -1: full, -2: MemoryError. */
static int64_t builder_append_plain(builder *self, int64_t timestamp, const content *record)
{
    uint64_t time = self->count == 0 ? 0 : zigzag(timestamp - self->base_timestamp);
    uint64_t offset = (uint64_t)self->count << 1;
    size_t size = body_size(record, time, offset);
    if (builder_is_full(self, varint_size(size << 1) + size))
        return -1;
    if (append_record(&self->area, record, time, offset, size) < 0)
        return -2;
    return builder_added(self, timestamp);
}

int64_t speed_builder_add(PyObject *object, int64_t timestamp, PyObject *value)
{
    builder *self = (builder *)object;
    content record;
    if (timestamp < -1 || !look_at(self->state, Py_None, value, NULL, &record))
        return -1;
    return builder_append_plain(self, timestamp, &record);
}

static PyObject *builder_append(builder *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const char *const names[] = {"timestamp", "key", "value", "headers"};
    PyObject *slots[4] = {NULL, NULL, NULL, self->state->empty_tuple};
    if (kwnames != NULL || nargs < 3 || nargs > 4) {
        if (speed_arguments("append", names, 4, 3, 4, args, nargs, kwnames, slots) < 0)
            return NULL;
        args = slots;
    }
    PyObject *headers = nargs == 4 || args == slots ? args[3] : slots[3];
    int64_t timestamp;
    content record;
    if (!plain_int(args[0], -1, TIMESTAMP_MAX, &timestamp)
        || !look_at(self->state, args[1], args[2], headers, &record)) {
        PyObject *all[4] = {args[0], args[1], args[2], headers};
        return builder_append_any(self, all);
    }
    int64_t index = builder_append_plain(self, timestamp, &record);
    return index < -1 ? NULL : PyLong_FromLongLong(index);
}

static PyObject *builder_extend(builder *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t start;
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "extend() takes 3 arguments, not %zd", nargs);
        return NULL;
    }
    start = PyNumber_AsSsize_t(args[2], PyExc_OverflowError);
    if (start < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "start is negative");
        return NULL;
    }
    PyObject *values = PySequence_Fast(args[1], "values is not a sequence");
    if (values == NULL)
        return NULL;
    Py_ssize_t at = start;
    int64_t index = 0;
    /* An odd timestamp has code of its own that may change the list, so its size is looked at each
     * time and a value is kept while it is added. */
    for (; at < PySequence_Fast_GET_SIZE(values); at++) {
        PyObject *value = PySequence_Fast_GET_ITEM(values, at);
        if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) > self->state->record_bytes_max)
            break;
        Py_INCREF(value);
        PyObject *record[3] = {args[0], Py_None, value};
        PyObject *found = builder_append(self, record, 3, NULL);
        Py_DECREF(value);
        index = found == NULL ? -1 : PyLong_AsLongLong(found);
        Py_XDECREF(found);
        if (index < 0)
            break;
    }
    Py_DECREF(values);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(at - start);
}

static PyObject *builder_build(builder *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const char *const names[] = {"producer_id", "producer_epoch", "base_sequence"};
    PyObject *none = PyLong_FromLong(-1), *batch = NULL;
    if (none == NULL)
        return NULL;
    PyObject *slots[3] = {none, none, none};
    if (speed_arguments("build", names, 3, 0, 0, args, nargs, kwnames, slots) == 0) {
        if (self->count == 0) {
            PyObject *never = PyObject_CallFunction(self->state->check_placed, "ii", 0, -1);
            Py_XDECREF(never);
            if (never != NULL)
                PyErr_SetString(PyExc_SystemError, "an empty batch was not refused");
        } else {
            batch_fields fields = {
                .base_timestamp = self->base_timestamp,
                .max_timestamp = self->max_timestamp,
                .last_offset_delta = (int32_t)(self->count - 1),
                .records_count = (int32_t)self->count,
            };
            batch = finish_given(self->state, &fields, none, self->compression, slots, &self->area,
                                 self->level);
        }
    }
    Py_DECREF(none);
    return batch;
}

static PyObject *builder_close(builder *self, PyObject *unused)
{
    (void)unused;
    self->closed = 1;
    return PyLong_FromLongLong(self->count);
}

static PyMethodDef builder_methods[] = {
    {"append", (PyCFunction)(void (*)(void))builder_append, METH_FASTCALL | METH_KEYWORDS,
     "append($self, timestamp, key, value, headers=())\n--\n\n"
     "Add a record and return its index, or return -1: full, and nothing was added."},
    {"extend", (PyCFunction)(void (*)(void))builder_extend, METH_FASTCALL,
     "extend($self, timestamp, values, start, /)\n--\n\n"
     "Add the values from index `start` on, as records that are nothing else; return how many."},
    {"build", (PyCFunction)(void (*)(void))builder_build, METH_FASTCALL | METH_KEYWORDS,
     "build($self, *, producer_id=-1, producer_epoch=-1, base_sequence=-1)\n--\n\n"
     "Return the batch, with base offset 0 and leader epoch -1; may be called again."},
    {"close", (PyCFunction)builder_close, METH_NOARGS,
     "close($self)\n--\n\nBe full from now on; return the number of records."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef builder_members[] = {
    {"count", T_LONGLONG, offsetof(builder, count), READONLY, "The number of records."},
    {"size_estimate", T_LONGLONG, offsetof(builder, size_estimate), READONLY,
     "The bytes that build() returns, an upper bound with compression."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot builder_slots[] = {
    {Py_tp_doc, "BatchBuilder(compression=Compression.NONE, bytes_max=..., *, level=None)\n\n"
                "A batch that grows record by record until it is full."},
    {Py_tp_new, builder_new},
    {Py_tp_dealloc, builder_dealloc},
    {Py_tp_methods, builder_methods},
    {Py_tp_members, builder_members},
    {0, NULL},
};

PyType_Spec speed_builder_spec = {
    .name = "logd_wire._speed.BatchBuilder",
    .basicsize = sizeof(builder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = builder_slots,
};

/* ---- the partitioner ------------------------------------------------------------------------- */

static int32_t murmur2(const uint8_t *data, size_t size)
{
    const uint32_t multiplier = 0x5BD1E995;
    uint32_t state = 0x9747B28Cu ^ (uint32_t)size;
    size_t whole = size & ~(size_t)3;
    for (size_t at = 0; at < whole; at += 4) {
        uint32_t word = (uint32_t)data[at] | (uint32_t)data[at + 1] << 8
                        | (uint32_t)data[at + 2] << 16 | (uint32_t)data[at + 3] << 24;
        word *= multiplier;
        word ^= word >> 24;
        state = state * multiplier ^ word * multiplier;
    }
    if (size & 3) {
        for (size_t at = size; at-- > whole;)
            state ^= (uint32_t)data[at] << 8 * (at - whole);
        state *= multiplier;
    }
    state ^= state >> 13;
    state *= multiplier;
    state ^= state >> 15;
    return (int32_t)state;
}

PyObject *speed_murmur2(PyObject *module, PyObject *data)
{
    if (!PyBytes_CheckExact(data)) {
        speed_state *state = PyModule_GetState(module);
        return PyObject_CallOneArg(state->pure_murmur2, data);
    }
    return PyLong_FromLong(
        murmur2((const uint8_t *)PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data)));
}

PyObject *speed_partition_for_key(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t partitions;
    if (nargs != 2 || !PyBytes_CheckExact(args[0])
        || !plain_int(args[1], 1, INT32_MAX, &partitions)) {
        speed_state *state = PyModule_GetState(module);
        return PyObject_Vectorcall(state->pure_partition_for_key, args, (size_t)nargs, NULL);
    }
    int32_t hash =
        murmur2((const uint8_t *)PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]));
    return PyLong_FromLongLong((hash & INT32_MAX) % partitions);
}
