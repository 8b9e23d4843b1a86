"""What a policy is worth: tasks, accuracy, fine-tuning, size; and, in ``hardware``, what it costs on a device."""

from __future__ import annotations
