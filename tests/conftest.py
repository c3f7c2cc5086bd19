"""Settings for every test."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's greetings do not belong into a failed test's output

settings.register_profile("mastery", deadline=None)  # a busy machine is no failure
settings.load_profile("mastery")
