"""What traffic loses beside a cleaner is told by pairs of rounds."""

from __future__ import annotations

from bench.cleaner import loss_in_words


def test_one_disturbed_pair_does_not_decide() -> None:
    pairs = [(100.0, 90.0), (50.0, 45.0), (100.0, 20.0), (80.0, 76.0), (90.0, 81.0)]
    assert loss_in_words("read", pairs) == "read 90 -> 76 MB/s, +10 % lost (+5 to +80)"
