"""Which random number of a (seed, epoch, index) is meant: the last key of every draw. New slots go to the end."""

from __future__ import annotations

SCALE, RATIO, TOP, LEFT, FLIP, KERNEL, SWITCH, PARTNER, LAMBDA, BOX_Y, BOX_X = range(11)
