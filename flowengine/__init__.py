"""flowengine: phone calls that run as graphs of nodes written in JSON.

Reading order: `events` → `flow/document` → `nodes/say` → `runtime/turns` → `runtime/actor` →
`runtime/call`.
"""

__version__ = "0.1.0"
