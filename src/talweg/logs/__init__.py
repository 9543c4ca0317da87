"""What all readers of logs share: what a person gave, its lines, the numbers in them, and the way to a `Run`.

`given` is what stands at a path; `lines` takes the numbers out of a log's lines, `recipes` says where in a line they
stand, `prefix` what launchers put before it, `named` which numbers stand behind names; `digits` turns many printed
numbers into an array at once; `columns` decides which points are in force and `assemble` makes the `Run`.
"""
