"""What all readers of logs share: what a person gave, its lines, the numbers in them, and the way to a `Run`.

`given` is what stands at a path; `lines` takes the numbers out of a log's lines; `digits` turns many printed numbers
into an array at once; `columns` decides which points are in force and makes the `Run`.
"""
