"""Names in a run directory, for those who write the files and those who read them."""

from typing import Final

METRICS_FILE: Final = "metrics.jsonl"
PROMETHEUS_FILE: Final = "metrics.prom"
HEARTBEAT_FILE: Final = "heartbeat"
"""Touched after every step."""
LOCK_FILE: Final = ".lock"
"""Locked by rank 0 while a run trains; says on which host that is."""
STOP_FILE: Final = "STOP"
"""A person makes it: save and leave."""
SAVE_FILE: Final = "SAVE"
"""A person makes it: save and go on."""

LOG_DIR: Final = "log"
"""Folder for what a person looks at; in it lie the files below."""
BAD_STEPS_FILE: Final = "bad_steps.jsonl"
EVENTS_FILE: Final = "events.jsonl"
