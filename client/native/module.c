/* The module: its functions, and what it finds in Python when it is imported. */

#include "speed.h"

#include <stddef.h>

static PyObject *ignore_all(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    (void)args;
    (void)nargs;
    Py_RETURN_NONE;
}

#define FAST_NAMED(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef speed_methods[] = {
    {"encode_batch", FAST_NAMED(speed_encode_batch),
     "encode_batch($module, records, *, base_offset=0, leader_epoch=-1,\n"
     "             compression=Compression.NONE, level=None, producer_id=-1,\n"
     "             producer_epoch=-1, base_sequence=-1)\n\n"
     "Encode records as one batch; offsets ascend from base_offset on, gaps are kept."},
    {"decode_batch", FAST_NAMED(speed_decode_batch),
     "decode_batch($module, buffer, position=0, *, verify=True)\n--\n\n"
     "Decode the batch at `position` into a list of WireRecord."},
    {"decode_records", FAST_NAMED(speed_decode_records),
     "decode_records($module, buffer, position, make, *, verify=True)\n--\n\n"
     "Decode the batch at `position`, make(offset, timestamp, key, value, headers) each record."},
    {"decode_rows", FAST_NAMED(speed_decode_rows),
     "decode_rows($module, buffer, position, row, before, after, *, verify=True)\n--\n\n"
     "Decode the batch at `position` into tuples of the class `row`."},
    {"iter_records", FAST_NAMED(speed_iter_records),
     "iter_records($module, buffer, position=0, *, verify=True)\n--\n\n"
     "Iterate over the batch at `position`; objects are made when they are asked for."},
    {"iter_keys", FAST_NAMED(speed_iter_keys),
     "iter_keys($module, buffer, position=0, *, verify=True)\n--\n\n"
     "Iterate over (offset, key, whether there is a value) of the batch at `position`."},
    {"filter_batch", FAST_NAMED(speed_filter_batch),
     "filter_batch($module, buffer, position, keep, *, delete_horizon=None, level=None,\n"
     "             verify=True)\n--\n\n"
     "Return the batch at `position` with those records for which keep(...) is true."},
    {"murmur2", speed_murmur2, METH_O,
     "murmur2($module, data, /)\n--\n\nReturn the 32-bit hash of `data` as a signed number."},
    {"partition_for_key", (PyCFunction)(void (*)(void))speed_partition_for_key, METH_FASTCALL,
     "partition_for_key($module, key, partitions, /)\n--\n\n"
     "Return the partition in 0 to `partitions` - 1 that the Java client would choose."},
    {"_ignore", (PyCFunction)(void (*)(void))ignore_all, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* An attribute of a module: a new reference, or NULL with ImportError. */
static PyObject *attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL)
        return NULL;
    PyObject *found = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ImportError, "%s has no %s: the extension was built for another version",
                     module_name, name);
    }
    return found;
}

static int limit(const char *name, int64_t *value)
{
    PyObject *found = attribute("logd_wire.limits", name);
    if (found == NULL)
        return -1;
    *value = PyLong_AsLongLong(found);
    Py_DECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

static int find_objects(PyObject *module, speed_state *state)
{
    const struct {
        PyObject **to;
        const char *module_name;
        const char *name;
    } wanted[] = {
        {&state->wire_record, "logd_wire.records", "WireRecord"},
        {&state->batch_header, "logd_wire.batch", "BatchHeader"},
        {&state->crc32c, "crc32c", "crc32c"},
        {&state->check_supported, "logd_wire.compression", "check_supported"},
        {&state->compress, "logd_wire.compression", "compress"},
        {&state->decompress, "logd_wire.compression", "decompress"},
        {&state->pure_decode_records, "logd_wire._pure_decode", "decode_records"},
        {&state->pure_decode_rows, "logd_wire._pure_decode", "decode_rows"},
        {&state->pure_iter_records, "logd_wire._pure_decode", "iter_records"},
        {&state->pure_iter_keys, "logd_wire._pure_decode", "iter_keys"},
        {&state->pure_filter_batch, "logd_wire._pure_filter", "filter_batch"},
        {&state->pure_encode_batch, "logd_wire._pure_encode", "encode_batch"},
        {&state->encode_placed, "logd_wire._pure_encode", "encode_placed"},
        {&state->check_placed, "logd_wire._pure_encode", "check_placed"},
        {&state->finish, "logd_wire._pure_encode", "finish"},
        {&state->pure_murmur2, "logd_wire.partitioner", "murmur2"},
        {&state->pure_partition_for_key, "logd_wire.partitioner", "partition_for_key"},
        {&state->urandom, "os", "urandom"},
        {&state->time_ns, "time", "time_ns"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].to = attribute(wanted[i].module_name, wanted[i].name);
        if (*wanted[i].to == NULL)
            return -1;
    }
    PyObject *compression = attribute("logd_wire.compression", "Compression");
    if (compression == NULL)
        return -1;
    state->no_compression = PyObject_GetAttrString(compression, "NONE");
    Py_DECREF(compression);
    state->empty_tuple = PyTuple_New(0);
    state->ignore = PyObject_GetAttrString(module, "_ignore");
    if (!state->no_compression || !state->empty_tuple || !state->ignore)
        return -1;
    /* decode_batch fills a WireRecord as the tuple that it is. */
    if (!speed_is_plain_tuple(state->wire_record)) {
        PyErr_SetString(PyExc_ImportError, "WireRecord is not a plain tuple");
        return -1;
    }
    return 0;
}

static int speed_exec(PyObject *module)
{
    speed_state *state = PyModule_GetState(module);
    if (find_objects(module, state) < 0 || limit("BATCH_BYTES_MAX", &state->batch_bytes_max) < 0
        || limit("BATCH_RECORDS_MAX", &state->records_max) < 0
        || limit("DECOMPRESSED_BYTES_MAX", &state->decompressed_bytes_max) < 0
        || limit("HEADERS_MAX", &state->headers_max) < 0
        || limit("HEADER_BYTES_MAX", &state->header_bytes_max) < 0
        || limit("KEY_BYTES_MAX", &state->key_bytes_max) < 0
        || limit("RECORD_BYTES_MAX", &state->record_bytes_max) < 0)
        return -1;
    state->builder_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_builder_spec, NULL);
    state->iterator_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_iterator_spec, NULL);
    state->view_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_view_spec, NULL);
    state->key_map_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_key_map_spec, NULL);
    state->receipt_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_receipt_spec, NULL);
    state->intake_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &speed_intake_spec, NULL);
    if (!state->builder_type || !state->iterator_type || !state->view_type
        || !state->key_map_type || !state->receipt_type || !state->intake_type
        || PyModule_AddType(module, state->key_map_type) < 0
        || PyModule_AddType(module, state->receipt_type) < 0
        || PyModule_AddType(module, state->intake_type) < 0)
        return -1;
    return PyModule_AddType(module, state->builder_type);
}

static int speed_traverse(PyObject *module, visitproc visit, void *arg)
{
    speed_state *state = PyModule_GetState(module);
    if (state == NULL)
        return 0;
    PyObject **objects = (PyObject **)state;
    for (size_t i = 0; i < offsetof(speed_state, batch_bytes_max) / sizeof(PyObject *); i++)
        Py_VISIT(objects[i]);
    return 0;
}

static int speed_clear(PyObject *module)
{
    speed_state *state = PyModule_GetState(module);
    if (state == NULL)
        return 0;
    PyObject **objects = (PyObject **)state;
    for (size_t i = 0; i < offsetof(speed_state, batch_bytes_max) / sizeof(PyObject *); i++)
        Py_CLEAR(objects[i]);
    return 0;
}

static void speed_free(void *module)
{
    speed_clear((PyObject *)module);
}

static PyModuleDef_Slot speed_slots[] = {
    {Py_mod_exec, speed_exec},
    {0, NULL},
};

static struct PyModuleDef speed_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "logd_wire._speed",
    .m_doc = "The compiled batch codec; see docs/decisions/0011-compiled-codec.md.",
    .m_size = sizeof(speed_state),
    .m_methods = speed_methods,
    .m_slots = speed_slots,
    .m_traverse = speed_traverse,
    .m_clear = speed_clear,
    .m_free = speed_free,
};

PyMODINIT_FUNC PyInit__speed(void)
{
    return PyModuleDef_Init(&speed_module);
}
