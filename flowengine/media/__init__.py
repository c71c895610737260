"""Audio and text on their way to and from the line: pure functions and small classes over bytes.

Phone audio is µ-law at 8000 Hz throughout. In reading order: `g711` (the codec), `gate` (when
somebody speaks), `clauses` (where a reply is cut for the voice), `tones` and `beep` (signals),
`recording` (both sides to a file), `resample` (needs numpy: only with the extra `local`).
"""
