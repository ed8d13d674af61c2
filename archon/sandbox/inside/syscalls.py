"""Numbers of the system calls that a computing Python needs, by machine; nothing else is let through.

Left out on purpose: everything that makes or runs processes (fork, vfork, execve), opens a socket, looks into another
process (ptrace, process_vm_*, pidfd_*), changes files (mkdir, unlink, rename, chmod, truncate, …), mounts, loads, keys,
io_uring, bpf, memfd, shared memory of System V. The kernel's tables: asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

_X86_64 = """
read=0 write=1 close=3 fstat=5 newfstatat=262 stat=4 lstat=6 poll=7 ppoll=271 lseek=8 mmap=9 mprotect=10
munmap=11 brk=12 mremap=25 madvise=28 msync=26 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 sigaltstack=131
pread64=17 pwrite64=18 readv=19 writev=20 access=21 faccessat=269 faccessat2=439 pipe=22 pipe2=293 select=23
pselect6=270 sched_yield=24 sched_getaffinity=204 dup=32 dup2=33 dup3=292 nanosleep=35 clock_nanosleep=230
getitimer=36 setitimer=38 alarm=37 getpid=39 getppid=110 gettid=186 getuid=102 geteuid=107 getgid=104
getegid=108 getgroups=115 getpgrp=111 exit=60 exit_group=231 uname=63 fsync=74 fdatasync=75 getdents64=217 getcwd=79
chdir=80 fchdir=81 readlink=89 readlinkat=267 gettimeofday=96 time=201 getrlimit=97 getrusage=98 sysinfo=99 times=100
futex=202 set_tid_address=218 set_robust_list=273 epoll_create=213 epoll_create1=291 epoll_ctl=233 epoll_wait=232
epoll_pwait=281 clock_gettime=228 clock_getres=229 open=2 openat=257 statx=332 close_range=436 socketpair=53 sendto=44
recvfrom=45 sendmsg=46 recvmsg=47 shutdown=48 eventfd2=290 getrandom=318 rseq=334 membarrier=324 restart_syscall=219
arch_prctl=158 statfs=137 fstatfs=138 pause=34 rt_sigtimedwait=128 rt_sigpending=127 rt_sigsuspend=130
ioctl=16 fcntl=72 prlimit64=302 clone=56 clone3=435 kill=62 tgkill=234
"""
_AARCH64 = """
read=63 write=64 close=57 fstat=80 newfstatat=79 ppoll=73 lseek=62 mmap=222 mprotect=226 munmap=215 brk=214
mremap=216 madvise=233 msync=227 rt_sigaction=134 rt_sigprocmask=135 rt_sigreturn=139 sigaltstack=132 pread64=67
pwrite64=68 readv=65 writev=66 faccessat=48 faccessat2=439 pipe2=59 pselect6=72 sched_yield=124
sched_getaffinity=123 dup=23 dup3=24 nanosleep=101 clock_nanosleep=115 getitimer=102 setitimer=103 getpid=172
getppid=173 gettid=178 getuid=174 geteuid=175 getgid=176 getegid=177 getgroups=158 exit=93 exit_group=94 uname=160
fsync=82 fdatasync=83 getdents64=61 getcwd=17 chdir=49 fchdir=50 readlinkat=78 gettimeofday=169 getrlimit=163
getrusage=165 sysinfo=179 times=153 futex=98 set_tid_address=96 set_robust_list=99 epoll_create1=20 epoll_ctl=21
epoll_pwait=22 clock_gettime=113 clock_getres=114 openat=56 statx=291 close_range=436 socketpair=199 sendto=206
recvfrom=207 sendmsg=211 recvmsg=212 shutdown=210 eventfd2=19 getrandom=278 rseq=293 membarrier=283
restart_syscall=128 statfs=43 fstatfs=44 rt_sigtimedwait=137 rt_sigpending=136 rt_sigsuspend=133
ioctl=29 fcntl=25 prlimit64=261 clone=220 clone3=435 kill=129 tgkill=131
"""

AUDIT: dict[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's name of each machine's calling convention (linux/audit.h)."""

_TEXTS = {"x86_64": _X86_64, "aarch64": _AARCH64}


def numbers(machine: str) -> dict[str, int]:
    """Name → number on `machine`. Raises KeyError for a machine without a table."""
    pairs = (entry.split("=") for entry in _TEXTS[machine].split())
    return {name: int(number) for name, number in pairs}
