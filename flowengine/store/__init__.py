"""Where everything is kept: projects, flows, numbers, calls and their journals.

In reading order: `tables`, `database` (SQLite or PostgreSQL), `schema` (upgrades), `scope` (one
project a session); then of calls (the port `ports.CallStore`): `rows` (what a row says), `writer`
(the one thread that writes), `calls` (the store), `memory` (the same, kept nowhere).
"""
