"""``python -m shardpack``."""

from .cli import main

main()
