/* The cleaner's map: for each key the last offset, in a fixed amount of memory.
 *
 * A slot holds 128 bits of SipHash-2-4 under a key of the process's own, and the offset. Equal
 * hashes stand for equal keys: with 10^8 keys one chance in 10^22 of a mistake, and none that
 * somebody who chooses the keys could improve. Slots are probed one behind the other; a fifth of
 * them stays free.
 */

#include "speed.h"

enum { SEED_BYTES = 16 };

typedef struct {
    uint64_t high, low;
    int64_t behind; /* the offset + 1; 0: the slot is free */
} slot;

typedef struct {
    PyObject_HEAD
    slot *slots;
    uint64_t slots_count;
    long long used;
    long long capacity;
    uint64_t seed[2];
} key_map;

static inline uint64_t rotated(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] = rotated(v[2], 32);
}

static inline uint64_t little_endian(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | from[i];
    return value;
}

/* SipHash-2-4 with 128 bits of output. */
static void hash_of(const key_map *self, const uint8_t *key, size_t size, slot *found)
{
    uint64_t v[4] = {
        self->seed[0] ^ 0x736f6d6570736575, self->seed[1] ^ 0x646f72616e646f6d ^ 0xee,
        self->seed[0] ^ 0x6c7967656e657261, self->seed[1] ^ 0x7465646279746573,
    };
    size_t whole = size & ~(size_t)7;
    for (size_t at = 0; at <= whole; at += 8) {
        uint64_t word = at < whole ? little_endian(key + at, 8)
                                   : little_endian(key + at, size - whole) | (uint64_t)size << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    found->high = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    found->low = v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot of a hash, or the free one where it belongs: there always is one. */
static slot *place_of(const key_map *self, const slot *wanted)
{
    uint64_t at = (uint64_t)((unsigned __int128)wanted->high * self->slots_count >> 64);
    for (;;) {
        slot *found = &self->slots[at];
        if (found->behind == 0 || (found->high == wanted->high && found->low == wanted->low))
            return found;
        if (++at == self->slots_count)
            at = 0;
    }
}

static int check_key(PyObject *key)
{
    if (PyBytes_CheckExact(key))
        return 0;
    PyErr_Format(PyExc_TypeError, "a key is bytes, not %.100s", Py_TYPE(key)->tp_name);
    return -1;
}

static PyObject *map_put(key_map *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "put() takes a key and an offset");
        return NULL;
    }
    if (check_key(args[0]) < 0)
        return NULL;
    long long offset = PyLong_AsLongLong(args[1]);
    if (offset == -1 && PyErr_Occurred())
        return NULL;
    if (offset < 0 || offset == INT64_MAX) {
        PyErr_SetString(PyExc_ValueError, "an offset is from 0 to 2**63 - 2");
        return NULL;
    }
    slot wanted;
    hash_of(self, (const uint8_t *)PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]),
            &wanted);
    slot *found = place_of(self, &wanted);
    if (found->behind == 0) {
        if (self->used == self->capacity)
            Py_RETURN_FALSE;
        self->used++;
        found->high = wanted.high;
        found->low = wanted.low;
    }
    if (offset + 1 > found->behind)
        found->behind = offset + 1;
    Py_RETURN_TRUE;
}

static PyObject *map_get(key_map *self, PyObject *key)
{
    if (check_key(key) < 0)
        return NULL;
    slot wanted;
    hash_of(self, (const uint8_t *)PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key), &wanted);
    return PyLong_FromLongLong(place_of(self, &wanted)->behind - 1);
}

static int take_seed(PyTypeObject *type, key_map *self)
{
    speed_state *state = PyType_GetModuleState(type);
    PyObject *seed = PyObject_CallFunction(state->urandom, "i", SEED_BYTES);
    if (seed == NULL)
        return -1;
    if (!PyBytes_CheckExact(seed) || PyBytes_GET_SIZE(seed) != SEED_BYTES) {
        Py_DECREF(seed);
        PyErr_SetString(PyExc_SystemError, "os.urandom() does not return bytes");
        return -1;
    }
    self->seed[0] = little_endian((const uint8_t *)PyBytes_AS_STRING(seed), 8);
    self->seed[1] = little_endian((const uint8_t *)PyBytes_AS_STRING(seed) + 8, 8);
    Py_DECREF(seed);
    return 0;
}

static PyObject *map_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"memory_bytes", NULL};
    long long memory_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "L:KeyMap", names, &memory_bytes))
        return NULL;
    long long slots_count = memory_bytes / (long long)sizeof(slot);
    if (slots_count < 5) {
        PyErr_SetString(PyExc_ValueError, "a map needs memory for a few keys");
        return NULL;
    }
    key_map *self = (key_map *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->slots_count = (uint64_t)slots_count;
    self->capacity = slots_count / 5 * 4;
    self->slots = PyMem_RawCalloc((size_t)slots_count, sizeof(slot));
    if (self->slots == NULL)
        PyErr_NoMemory();
    if (self->slots == NULL || take_seed(type, self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void map_dealloc(key_map *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_RawFree(self->slots);
    type->tp_free(self);
    Py_DECREF(type);
}

static Py_ssize_t map_length(key_map *self)
{
    return (Py_ssize_t)self->used;
}

static PyMethodDef map_methods[] = {
    {"put", (PyCFunction)(void (*)(void))map_put, METH_FASTCALL,
     "put($self, key, offset, /)\n--\n\n"
     "Remember the offset of a key, unless a higher one is known; False: full, nothing changed."},
    {"get", (PyCFunction)map_get, METH_O,
     "get($self, key, /)\n--\n\nReturn the highest offset of a key, -1 if it is not known."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot map_slots[] = {
    {Py_tp_doc, "KeyMap(memory_bytes)\n--\n\nThe highest offset of each key, in bounded memory."},
    {Py_tp_new, map_new},
    {Py_tp_dealloc, map_dealloc},
    {Py_tp_methods, map_methods},
    {Py_sq_length, map_length},
    {0, NULL},
};

PyType_Spec speed_key_map_spec = {
    .name = "logd_wire._speed.KeyMap",
    .basicsize = sizeof(key_map),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = map_slots,
};
