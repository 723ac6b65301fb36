"""The compiled codec, in the words of the pure one."""

from logd_wire._pure_decode import decode_batch as decode_batch
from logd_wire._pure_decode import decode_records as decode_records
from logd_wire._pure_decode import decode_rows as decode_rows
from logd_wire._pure_decode import iter_keys as iter_keys
from logd_wire._pure_decode import iter_records as iter_records
from logd_wire._pure_encode import BatchBuilder as BatchBuilder
from logd_wire._pure_encode import encode_batch as encode_batch
from logd_wire._pure_filter import filter_batch as filter_batch
from logd_wire._pure_intake import Intake as Intake
from logd_wire._pure_intake import Receipt as Receipt
from logd_wire._pure_keymap import KeyMap as KeyMap
from logd_wire.partitioner import murmur2 as murmur2
from logd_wire.partitioner import partition_for_key as partition_for_key
