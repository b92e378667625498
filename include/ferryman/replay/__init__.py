"""Replay: a recorded stretch of time, lived in minutes through the same steps, with no Airflow."""

from ferryman.replay.report import ReplayReport
from ferryman.replay.running import replay_with_progress, run_replay

__all__ = ["ReplayReport", "replay_with_progress", "run_replay"]
