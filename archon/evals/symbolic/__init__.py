"""Whether two answers in LaTeX are equal as mathematics: a restricted reader, a comparison, a process to run it in.

Candidate text is untrusted: nothing is ever evaluated as Python, sizes are bounded, and the comparison runs in a
process of its own that has no secrets in its environment and is killed when its time is over.
"""
