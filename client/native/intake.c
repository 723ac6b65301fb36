/* What a producer does for each record: a value goes into the batch that is open, and whoever sent
 * it gets a receipt. */

#include "speed.h"

#include <structmember.h>
#include <time.h>

/* ---- receipts -------------------------------------------------------------------------------- */

/* One that leads to a batch whose error was raised is part of a cycle: hence the collector. */
typedef struct {
    PyObject_HEAD
    PyObject *batch;
    long long index;
    long long timestamp_ms;
} receipt;

static PyObject *receipt_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", NULL};
    PyObject *batch;
    long long index, timestamp_ms;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLL:Receipt", names, &batch, &index,
                                     &timestamp_ms))
        return NULL;
    receipt *self = (receipt *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->batch = Py_NewRef(batch);
    self->index = index;
    self->timestamp_ms = timestamp_ms;
    return (PyObject *)self;
}

static int receipt_traverse(receipt *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->batch);
    return 0;
}

static int receipt_clear(receipt *self)
{
    Py_CLEAR(self->batch);
    return 0;
}

static void receipt_dealloc(receipt *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->batch);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef receipt_members[] = {
    {"_batch", T_OBJECT_EX, offsetof(receipt, batch), READONLY, NULL},
    {"_index", T_LONGLONG, offsetof(receipt, index), READONLY, NULL},
    {"_timestamp_ms", T_LONGLONG, offsetof(receipt, timestamp_ms), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot receipt_slots[] = {
    {Py_tp_doc, "Receipt(batch, index, timestamp_ms, /)\n--\n\nWhere a record of a batch is."},
    {Py_tp_new, receipt_new},
    {Py_tp_traverse, receipt_traverse},
    {Py_tp_clear, receipt_clear},
    {Py_tp_dealloc, receipt_dealloc},
    {Py_tp_members, receipt_members},
    {0, NULL},
};

PyType_Spec speed_receipt_spec = {
    .name = "logd_wire._speed.Receipt",
    .basicsize = sizeof(receipt),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = receipt_slots,
};

/* ---- the intake ------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    speed_state *state; /* the type keeps the module, and the object the type */
    PyObject *builder;  /* of the module's type, or NULL */
    PyObject *batch;
} intake;

static PyObject *intake_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    speed_state *state = PyType_GetModuleState(type);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, ":Intake", names))
        return NULL;
    intake *self = (intake *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->state = state;
    return (PyObject *)self;
}

static int intake_traverse(intake *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->builder);
    Py_VISIT(self->batch);
    return 0;
}

static int intake_clear(intake *self)
{
    Py_CLEAR(self->builder);
    Py_CLEAR(self->batch);
    return 0;
}

static void intake_dealloc(intake *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    intake_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *intake_put(intake *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "put() takes 2 arguments, not %zd", nargs);
        return NULL;
    }
    PyObject *builder = args[0] == Py_None ? NULL : args[0];
    if (builder != NULL && !Py_IS_TYPE(builder, self->state->builder_type)) {
        PyErr_SetString(PyExc_TypeError, "put() takes a BatchBuilder, or None");
        return NULL;
    }
    PyObject *batch = Py_NewRef(args[1]);
    Py_XINCREF(builder);
    /* Both are there before anything old goes, whose end may run code that adds. */
    PyObject *old_builder = self->builder, *old_batch = self->batch;
    self->builder = builder;
    self->batch = batch;
    Py_XDECREF(old_builder);
    Py_XDECREF(old_batch);
    Py_RETURN_NONE;
}

/* Milliseconds since 1970 by a clock of nanoseconds; -1 with an error. The one of the machine is
 * read without a call. */
static int64_t now_ms(const speed_state *state, PyObject *time_ns)
{
    if (time_ns == state->time_ns) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    PyObject *found = PyObject_CallNoArgs(time_ns);
    if (found == NULL)
        return -1;
    long long ns = PyLong_AsLongLong(found);
    Py_DECREF(found);
    if (ns == -1 && PyErr_Occurred())
        return -1;
    return ns / 1000000 - (ns % 1000000 < 0);
}

static PyObject *intake_add(intake *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "add() takes 3 arguments, not %zd", nargs);
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)args[1];
    if (!PyType_Check(args[1]) || !PyType_IsSubtype(type, self->state->receipt_type)) {
        PyErr_SetString(PyExc_TypeError, "add() takes a class of receipts");
        return NULL;
    }
    if (self->builder == NULL || !PyBytes_CheckExact(args[0]))
        Py_RETURN_NONE;
    /* Making the receipt may run the collector, and the clock may be anybody's: code that puts
     * another builder here or adds to this one. Both come first, what they are for behind them. */
    receipt *made = (receipt *)type->tp_alloc(type, 0);
    if (made == NULL)
        return NULL;
    int64_t stamp = now_ms(self->state, args[2]);
    if (stamp < 0 && PyErr_Occurred()) {
        Py_DECREF(made);
        return NULL;
    }
    int64_t index = self->builder == NULL ? -1 : speed_builder_add(self->builder, stamp, args[0]);
    if (index < 0) {
        Py_DECREF(made);
        if (index < -1)
            return NULL;
        Py_RETURN_NONE;
    }
    made->batch = Py_NewRef(self->batch);
    made->index = index;
    made->timestamp_ms = stamp;
    return (PyObject *)made;
}

static PyMethodDef intake_methods[] = {
    {"put", (PyCFunction)(void (*)(void))intake_put, METH_FASTCALL,
     "put($self, builder, batch, /)\n--\n\n"
     "From now on add to `builder` (None: to nothing), which makes `batch`."},
    {"add", (PyCFunction)(void (*)(void))intake_add, METH_FASTCALL,
     "add($self, value, receipt, time_ns, /)\n--\n\n"
     "Add a record that is only a value, of now; return its receipt, of the class `receipt`.\n\n"
     "None, and nothing was added: no builder is there or it is full, or the value is no bytes or\n"
     "too large."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot intake_slots[] = {
    {Py_tp_doc, "Intake()\n--\n\nWhere values go that are all there is to a record."},
    {Py_tp_new, intake_new},
    {Py_tp_traverse, intake_traverse},
    {Py_tp_clear, intake_clear},
    {Py_tp_dealloc, intake_dealloc},
    {Py_tp_methods, intake_methods},
    {0, NULL},
};

PyType_Spec speed_intake_spec = {
    .name = "logd_wire._speed.Intake",
    .basicsize = sizeof(intake),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = intake_slots,
};
