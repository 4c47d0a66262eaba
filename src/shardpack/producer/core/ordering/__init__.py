"""Order per key: what `ordering="key"` does in place of the aggregator.

User records and the fate of Kinesis records come in; the Kinesis records that may go now come out. `lanes` is the
whole, `turn` fills the Kinesis records of one turn, `keys` remembers where keys must go that are not at home. May
import what `producer.core` may.
"""
