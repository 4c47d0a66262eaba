"""A worker in a fleet that a leader shares the leases out to: what it reports, whether it leads, and what it does then.

Decisions only. `member` says which way of sharing holds, `election` who leads, `leading` what a leader decides.
"""
