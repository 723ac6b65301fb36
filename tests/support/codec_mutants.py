"""Planted bugs in the compiled codec, and a run that shows that the tests see each of them.

`python -m tests.support.codec_mutants [NAME ...]` copies the client aside, plants one bug at a
time, builds the extension with gcc's sanitizers and runs the tests that compare the codecs. A bug
that no test sees is a failure. A unit test checks that every anchor is still there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support import codec_build
from tests.support.codec_build import ROOT
from tests.support.planting import first_failed, plant_in, report

#: Those of memory last: they take longest.
TESTS = (
    "tests/unit/wire/test_compiled.py",
    "tests/unit/wire/test_filter.py",
    "tests/unit/wire/test_intake.py",
    "tests/unit/wire/test_compiled_memory.py",
)


class Mutant(NamedTuple):
    """In `client/native/<file>.c`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    file: str
    anchor: str
    planted: str


MUTANTS = (
    # what is read beyond the end
    Mutant(
        "length-of-a-record-not-checked",
        "decode",
        "size < RECORD_BYTES_MIN - 1\n        || size > from->limit - at)",
        "size < RECORD_BYTES_MIN - 1)",
    ),
    Mutant(
        "empty-record-not-checked",
        "decode",
        "|| size < RECORD_BYTES_MIN - 1\n",
        "|| size < 0\n",
    ),
    Mutant(
        "length-of-a-value-not-checked",
        "decode",
        "    if (*size < 0 || *size > limit - *at)\n",
        "    if (*size < 0)\n",
    ),
    Mutant(
        "number-read-at-the-end",
        "decode",
        "    if (from < limit && from[0] <= 0x7F) {",
        "    if (from[0] <= 0x7F) {",
    ),
    Mutant(
        "negative-length-is-a-null",
        "decode",
        "    if (*size == -1) {",
        "    if (*size < 0) {",
    ),
    Mutant("batch-may-be-cut", "decode", "&& found->size <= available && ", "&& "),
    Mutant(
        "position-may-be-negative",
        "decode",
        "if (*position < 0 || *position > size\n",
        "if (*position > size\n",
    ),
    Mutant(
        "utf8-continues-beyond-the-name",
        "decode",
        "first > 0xF4 || end - at < more)",
        "first > 0xF4)",
    ),
    # what is accepted and wrong
    Mutant("surrogates-are-text", "decode", "first == 0xED ? 0x9F", "first == 0xED ? 0xBF"),
    Mutant(
        "number-of-ten-bytes-loses-its-top",
        "decode",
        "(unsigned __int128)*from++ << 7",
        "(unsigned __int128)(*from++ & 1) << 7",
    ),
    Mutant(
        "offsets-may-repeat",
        "decode",
        "        expected = found.offset_delta + 1;\n    }\n    return at == checked->limit;",
        "        expected = found.offset_delta;\n    }\n    return at == checked->limit;",
    ),
    Mutant(
        "offsets-may-leave-the-batch",
        "decode",
        "           && found->offset_delta <= from->fields.last_offset_delta;",
        "           ;",
    ),
    Mutant(
        "timestamps-wrap",
        "decode",
        "return at == end && found->timestamp == time && ",
        "return at == end && ",
    ),
    Mutant(
        "bytes-behind-the-last-record",
        "decode",
        "        *sound = at == from->limit;\n",
        "        *sound = at <= from->limit;\n",
    ),
    Mutant(
        "crc-not-compared",
        "decode",
        "else if (crc != (uint32_t)",
        "else if (0 && crc != (uint32_t)",
    ),
    Mutant(
        "broker-time-not-used",
        "decode",
        "from->fields.attributes & APPEND_TIME_BIT ? from->fields.max_timestamp",
        "from->fields.attributes & 0 ? from->fields.max_timestamp",
    ),
    Mutant(
        "headers-limit-off-by-one",
        "decode",
        "found->headers_count > state->headers_max\n",
        "found->headers_count > state->headers_max + 1\n",
    ),
    # objects
    Mutant(
        "key-tuple-reused-though-kept",
        "decode",
        "        && Py_REFCNT(self->reused) == 1) {",
        "        && Py_REFCNT(self->reused) >= 1) {",
    ),
    Mutant(
        "view-does-not-keep-its-batch",
        "decode",
        "    view->owner = Py_NewRef(self->from.owner);",
        "    view->owner = NULL;",
    ),
    Mutant(
        "answer-of-keep-leaks",
        "filter",
        "            Py_DECREF(answer);\n",
        "",
    ),
    Mutant(
        "timestamp-object-leaks",
        "decode",
        "    Py_XDECREF(times.object);\n",
        "",
    ),
    Mutant(
        "list-with-holes-is-seen",
        "decode",
        "    PyObject_GC_UnTrack(list);\n",
        "",
    ),
    Mutant(
        "row-that-may-be-cyclic-is-not-collected",
        "decode",
        "    if (how->cyclic)\n",
        "    if (0)\n",
    ),
    Mutant(
        "rows-are-collected",
        "decode",
        "    if (how->cyclic)\n",
        "    if (1)\n",
    ),
    Mutant(
        "what-stands-before-a-row-is-borrowed",
        "decode",
        "*to++ = Py_NewRef(PyTuple_GET_ITEM(how->before, i));",
        "*to++ = PyTuple_GET_ITEM(how->before, i);",
    ),
    # filtering
    Mutant(
        "filter-forgets-the-largest-timestamp",
        "filter",
        "        fields->max_timestamp = max_timestamp;\n",
        "        ;\n",
    ),
    Mutant(
        "horizon-leaves-the-deltas",
        "filter",
        "put_wide(time, (wide)found->timestamp - *horizon)",
        "put_wide(time, (wide)found->timestamp - 0 * *horizon)",
    ),
    # writing
    Mutant(
        "reserve-one-byte-short",
        "encode",
        "        capacity = area->size + more;\n",
        "        capacity = area->size + more - 11;\n",
    ),
    Mutant(
        "full-one-byte-late",
        "encode",
        "(self->size_estimate + (int64_t)more > self->bytes_max\n",
        "(self->size_estimate + (int64_t)more > self->bytes_max + 1\n",
    ),
    Mutant("closed-builder-takes-more", "encode", "    return self->closed\n", "    return 0\n"),
    Mutant(
        "list-of-values-had-the-size-of-before",
        "encode",
        "    for (; at < PySequence_Fast_GET_SIZE(values); at++) {",
        "    for (Py_ssize_t end = PySequence_Fast_GET_SIZE(values); at < end; at++) {",
    ),
    Mutant(
        "value-too-large-is-left-to-append",
        "encode",
        "PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) > self->state->record_bytes_max)",
        "PyBytes_CheckExact(value))",
    ),
    Mutant(
        "largest-timestamp-is-the-last",
        "encode",
        "    else if (timestamp > self->max_timestamp)\n        self->max",
        "    else\n        self->max",
    ),
    Mutant(
        "key-limit-ignored",
        "encode",
        "        || (int64_t)found->key_size > state->key_bytes_max)\n",
        "        )\n",
    ),
    Mutant(
        "null-header-value-is-empty",
        "encode",
        "    if (bytes == NULL) {\n        *to++ = 1;",
        "    if (bytes == NULL) {\n        *to++ = 0;",
    ),
    Mutant(
        "text-error-left-set",
        "encode",
        "    if (*name == NULL) {\n        PyErr_Clear();\n",
        "    if (*name == NULL) {\n",
    ),
    Mutant(
        "made-record-leaks",
        "encode",
        "    Py_XDECREF(made);\n    return index;",
        "    return index;",
    ),
    Mutant(
        "murmur2-tail-in-the-wrong-order",
        "encode",
        "(uint32_t)data[at] << 8 * (at - whole);",
        "(uint32_t)data[at] << 8 * (size - 1 - at);",
    ),
    # what is taken in
    Mutant(
        "receipt-borrows-its-batch",
        "intake",
        "    made->batch = Py_NewRef(self->batch);",
        "    made->batch = self->batch;",
    ),
    Mutant(
        "receipt-of-any-class",
        "intake",
        "if (!PyType_Check(args[1]) || !PyType_IsSubtype(type, self->state->receipt_type)) {",
        "if (!PyType_Check(args[1])) {",
    ),
    Mutant(
        "taken-in-by-any-builder",
        "intake",
        "    if (builder != NULL && !Py_IS_TYPE(builder, self->state->builder_type)) {",
        "    if (builder == NULL && args[0] != Py_None) {",
    ),
    Mutant(
        "receipt-of-what-is-refused",
        "intake",
        "    if (index < 0) {\n        Py_DECREF(made);",
        "    if (index < -1) {\n        Py_DECREF(made);",
    ),
    Mutant(
        "receipt-leads-nowhere-for-the-collector",
        "intake",
        "static int receipt_traverse(receipt *self, visitproc visit, void *arg)\n{\n"
        "    Py_VISIT(Py_TYPE(self));\n    Py_VISIT(self->batch);",
        "static int receipt_traverse(receipt *self, visitproc visit, void *arg)\n{\n"
        "    Py_VISIT(Py_TYPE(self));",
    ),
)


def source(file: str) -> Path:
    return Path("client") / "native" / f"{file}.c"


def plant(mutant: Mutant, client: Path) -> None:
    """Change the copy of the client; ValueError if the anchor is not there exactly once."""
    plant_in(client / "native" / f"{mutant.file}.c", mutant)


def caught_by(mutant: Mutant) -> str:
    """Run the tests against the planted bug; return the first that fails, '' if none does."""
    with tempfile.TemporaryDirectory() as directory:
        copy = codec_build.copy_client(Path(directory) / "client")
        plant(mutant, copy)
        codec_build.build(copy, flags=codec_build.SANITIZERS)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no"]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "-o", f"pythonpath={copy} .", *TESTS],
            cwd=ROOT,
            env=codec_build.sanitized(copy),
            capture_output=True,
            text=True,
            check=False,
        )
    failed = first_failed(run.stdout)
    if failed:
        return failed
    found = [
        line for line in run.stderr.splitlines() if "Sanitizer:" in line or "runtime e" in line
    ]
    if found or run.returncode < 0:
        return f"stopped: {found[0].strip() if found else run.returncode}"
    return "" if run.returncode == 0 else f"exit {run.returncode}"


def main(names: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    return report(MUTANTS, names, caught_by)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
