/* Copies of batches with fewer records: filter_batch. */

#include "decode.h"

/* Asks `keep` about a record: 1 or 0, -1 with an exception. */
static int asked(PyObject *keep, const batch *from, const record *found)
{
    PyObject *stack[4] = {
        NULL,
        PyLong_FromLongLong(from->fields.base_offset + found->offset_delta),
        speed_nullable_bytes(found->key, found->key_size),
        found->value == NULL ? Py_False : Py_True,
    };
    int kept = -1;
    if (stack[1] != NULL && stack[2] != NULL) {
        PyObject *answer =
            PyObject_Vectorcall(keep, stack + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (answer != NULL) {
            kept = PyObject_IsTrue(answer);
            Py_DECREF(answer);
        }
    }
    Py_XDECREF(stack[1]);
    Py_XDECREF(stack[2]);
    return kept;
}

/* A zigzag varint of up to 70 bits; returns where it ends. */
static uint8_t *put_wide(uint8_t *to, wide value)
{
    unsigned __int128 rest = (unsigned __int128)value << 1;
    if (value < 0)
        rest = ~rest;
    while (rest > 0x7F) {
        *to++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *to++ = (uint8_t)rest;
    return to;
}

/* Appends a record as it is, or with its timestamp told from `*horizon` on. */
static int copy_record(byte_area *area, const record *found, const int64_t *horizon)
{
    size_t rest = (size_t)(found->end - found->after_time);
    if (horizon == NULL) {
        size_t size = (size_t)(found->end - found->start);
        if (speed_reserve(area, size) < 0)
            return -1;
        memcpy(area->bytes + area->size, found->start, size);
        area->size += size;
        return 0;
    }
    uint8_t time[VARINT_BYTES_MAX];
    size_t time_size = (size_t)(put_wide(time, (wide)found->timestamp - *horizon) - time);
    if (speed_reserve(area, VARINT_BYTES_MAX + 1 + time_size + rest) < 0)
        return -1;
    uint8_t *to = put_varint(area->bytes + area->size, (1 + time_size + rest) << 1);
    *to++ = *found->body; /* attributes */
    memcpy(to, time, time_size);
    memcpy(to + time_size, found->after_time, rest);
    area->size = (size_t)(to + time_size + rest - area->bytes);
    return 0;
}

/* Gathers what is kept, and changes `fields` to fit; the number of survivors, or -1. */
static int64_t survivors(const speed_state *state, const batch *from, PyObject *keep,
                         const int64_t *horizon, byte_area *area, batch_fields *fields)
{
    const uint8_t *at = from->area;
    int64_t expected = 0, count = 0, max_timestamp = INT64_MIN;
    for (int32_t i = 0; i < from->fields.records_count; i++) {
        record found;
        if (!speed_read_record(state, from, at, expected, &found)) {
            PyErr_SetString(PyExc_SystemError, "a batch changed while it was filtered");
            return -1;
        }
        int kept = asked(keep, from, &found);
        if (kept < 0 || (kept && copy_record(area, &found, horizon) < 0))
            return -1;
        if (kept && found.timestamp > max_timestamp)
            max_timestamp = found.timestamp;
        count += kept;
        at = found.end;
        expected = found.offset_delta + 1;
    }
    if (count > 0 && !(fields->attributes & APPEND_TIME_BIT))
        fields->max_timestamp = max_timestamp;
    fields->records_count = (int32_t)count;
    if (horizon != NULL) {
        fields->base_timestamp = *horizon;
        fields->attributes |= DELETE_HORIZON_BIT;
    }
    return count;
}

/* The filtered batch; `whole` is how it lies in its buffer. */
static PyObject *filtered(speed_state *state, const batch *from, const uint8_t *whole,
                          PyObject *keep, const int64_t *horizon, PyObject *level)
{
    byte_area area = {NULL, 0, 0};
    batch_fields fields = from->fields;
    PyObject *made = NULL;
    int64_t count = survivors(state, from, keep, horizon, &area, &fields);
    if (count == from->fields.records_count && horizon == NULL)
        made = PyBytes_FromStringAndSize((const char *)whole, (Py_ssize_t)from->size);
    else if (count >= 0)
        made = speed_finish(state, &fields, area.bytes == NULL ? whole : area.bytes, area.size,
                            level);
    speed_release(&area);
    return made;
}

PyObject *speed_filter_batch(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "position", "keep",
                                        "delete_horizon", "level", "verify"};
    speed_state *state = PyModule_GetState(module);
    PyObject *slots[6] = {NULL, NULL, NULL, Py_None, Py_None, Py_True}, *bytes, *made;
    if (speed_arguments("filter_batch", names, 6, 3, 3, args, nargs, kwnames, slots) < 0)
        return NULL;
    batch found;
    int64_t offset, horizon = 0;
    int overflow = 0, opened = 0;
    int plain = slots[3] == Py_None || PyLong_CheckExact(slots[3]);
    if (plain && slots[3] != Py_None) {
        horizon = PyLong_AsLongLongAndOverflow(slots[3], &overflow);
        plain = !overflow && horizon >= 0 && horizon < INT64_MAX;
    }
    if (plain)
        opened = speed_open_batch(state, slots[0], slots[1], slots[5], &found, &bytes, &offset);
    if (opened < 0)
        return NULL;
    if (opened == 1) {
        int sound = speed_is_sound(state, &found);
        made = NULL;
        if (sound)
            made = filtered(state, &found, (const uint8_t *)PyBytes_AS_STRING(bytes) + offset,
                            slots[2], slots[3] == Py_None ? NULL : &horizon, slots[4]);
        Py_DECREF(found.owner);
        Py_DECREF(bytes);
        if (sound)
            return made;
    }
    return PyObject_Vectorcall(state->pure_filter_batch, args, (size_t)nargs, kwnames);
}
