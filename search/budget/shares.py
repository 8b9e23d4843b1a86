"""How the time of a search is shared out: every share stands here, and nowhere else.

Of a budget, making ready comes first: widths are tried alone, losses are trained on, the machine is calibrated. Of what
is left when candidates begin, the nested path gets most and refinement nearly all the rest.
"""

from __future__ import annotations

PATH_SHARE = 0.65
"""Of the time left once all is made ready, for the nested path: every later candidate inherits that."""
REFINEMENT_SHARE = 0.32
"""Of that time, for training on what is on the front by then."""
EVEN_SHARE = 0.2
"""Of the path's training, this much is shared alike: losses are told roughly."""

PROBE_SHARE = 0.04
PROBE_SECONDS = 60.0
PROBE_SECONDS_PER_TRIAL = 0.2
"""Trying widths alone ends after this share of the budget, or a fifth of a second for each trial where there is no
budget, and after a minute at most; each group is tried once whatever that takes."""
TRAINED_SHARE = 0.06
"""Of all training, this much finds out how losses recover."""

CALIBRATION_SECONDS = 45.0
CALIBRATION_SHARE = 0.05
CANDIDATES_SHARE = 0.25
LEAST_TRIALS = 40
LEAST_SECONDS = 15.0
"""A calibration unasked for takes 45 s, or a twentieth of the budget if that is less; where most of the budget goes to
the path and refinement, a quarter of what is left for the candidates that it judges. Runs of fewer than 40 trials,
or whose budget leaves it less than 15 s, do without: it would cost more than it saves."""
