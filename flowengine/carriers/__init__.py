"""Phone companies: one file for a carrier's control and line, its wire's parsing pure beside it.

In reading order: `discovery` (which carriers there are), `twilio_wire` (messages in and out, pure),
`twilio_line` (the media of one call), `twilio` (webhooks, signatures, TwiML).
"""
