"""What the Spark source and sink are told and tell, without Spark, without I/O and without a clock.

`options` is the table of options, and their errors. `rows` makes Spark's rows. May import `ranges.core` and what is
below it; what it plans and reads is in the room `ranges`.
"""
