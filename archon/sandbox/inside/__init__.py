"""What runs inside the sandbox: standard library only, imported as the package `inside` by a bare interpreter.

One worker serves one job and ends. It is two processes that share a socket and nothing else: the *candidate* holds the
untrusted program, the *examiner* holds the tests and the report to the parent. Both confine themselves before either
has read anything.
"""
