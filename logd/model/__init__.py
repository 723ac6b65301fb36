"""The vocabulary of logd: ids, units, names and configuration, validated once and then frozen."""
