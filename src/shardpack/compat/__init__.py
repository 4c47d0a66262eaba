"""Stand-ins for other packages: the same names, signatures and shapes, without the defects."""
