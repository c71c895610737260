"""The kit that ships: a simulated phone, scripted and fake providers, for our tests and yours.

The phone, in reading order: `phone` (a call as a script sees it), `phone_stream` (the carrier's
side of the media), `phone_playout`, `phone_measures`, `phone_group` (many calls side by side).
"""
