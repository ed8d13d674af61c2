# ruff: noqa: E501
"""Programs that try to do harm. Each defines `attack()`, which is True only where the harm was done.

Capitals between @ are filled in by the test: @PORT@ of a listener, @SOCKET@ and @DATAGRAMS@ of Unix sockets, @SECRET@ and @VICTIM@
files that every user may read or write, @PARENT@ the process that runs the tests. Bombs are bounded, so that a broken
sandbox fails a test and not the machine.
"""

from __future__ import annotations

PREAMBLE = """
import ctypes, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def done(*attempts):
    for attempt in attempts:
        try:
            if attempt() not in (False, -1):
                return True
        except (OSError, MemoryError, ValueError, RuntimeError, ImportError, AttributeError):
            pass
    return False
def syscall(number, *arguments):
    return libc.syscall(number, *arguments)
def write(path, text="x"):
    with open(path, "w") as file:
        file.write(text)
        file.flush()
"""

HOSTILE: dict[str, str] = {
    # --- resources
    "fork bomb": "def attack():\n return done(*[os.fork] * 100)",
    "thread bomb": """
def attack():
    import _thread
    _thread.stack_size(32768)
    made = 0
    try:
        for made in range(3000):
            _thread.start_new_thread(time.sleep, (60,))
    except (RuntimeError, MemoryError):
        pass
    return made >= 2999""",
    "memory bomb": "def attack():\n return done(lambda: len(bytearray(3 * 2**30)))",
    "memory bomb by small pieces": """
def attack():
    kept = []
    try:
        while len(kept) < 3 * 2**10:
            kept.append(bytearray(2**20))
    except MemoryError:
        return False
    return True""",
    "memory by mmap": "def attack():\n import mmap\n return done(lambda: bool(mmap.mmap(-1, 3 * 2**30)))",
    "memory by memfd": "def attack():\n return done(lambda: os.ftruncate(os.memfd_create('x'), 2**33) or True)",
    "shared memory": "def attack():\n return done(lambda: write('/dev/shm/archon-hostile') or True)",
    "System V shared memory": "def attack():\n return done(lambda: libc.shmget(0, 2**20, 0o1600))",
    "processor hog": "def attack():\n while True: pass",
    "processor hog deaf to signals": """
def attack():
    for number in range(1, 60):
        done(lambda: signal.signal(number, signal.SIG_IGN))
    while True: pass""",
    "endless sleep": "def attack():\n while True: time.sleep(1000)",
    "hang in C": "def attack():\n import re\n return bool(re.match('(a*)*b', 'a' * 40))",
    "endless output": "def attack():\n while True: os.write(1, b'x' * 65536); os.write(2, b'x' * 65536)",
    "endless answer": "def attack():\n return 'x' * (200 * 2**20)",
    "endless iterator": "def attack():\n import itertools\n return itertools.count()",
    "deep answer": "def attack():\n nest = []\n for _ in range(200_000): nest = [nest]\n return nest",
    "crash": "def attack():\n return ctypes.string_at(0)",
    "many open files": "def attack():\n return done(lambda: [os.dup(1) for _ in range(2000)] and True)",
    "raised limits": """
def attack():
    import resource
    return done(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) or True,
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)) or True)""",
    # --- network
    "TCP": "def attack():\n return done(lambda: socket.socket().connect(('127.0.0.1', @PORT@)) or True)",
    "UDP": """
def attack():
    return done(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@)))""",
    "DNS": "def attack():\n return done(lambda: socket.getaddrinfo('example.com', 80) and True)",
    "listener": "def attack():\n return done(lambda: socket.create_server(('127.0.0.1', 0)) and True)",
    "Unix socket": "def attack():\n return done(lambda: socket.socket(socket.AF_UNIX).connect('@SOCKET@') or True)",
    "datagram to a Unix socket": """
def attack():
    def sent(kind):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        return one.sendto(b'x', '@DATAGRAMS@') > 0
    def messaged():
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return one.sendmsg([b'x'], [], 0, '@DATAGRAMS@') > 0
    return done(lambda: sent(socket.SOCK_DGRAM), lambda: sent(socket.SOCK_STREAM), lambda: sent(socket.SOCK_SEQPACKET), messaged)""",
    "raw and netlink sockets": """
def attack():
    return done(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and True,
                lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and True,
                lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) and True)""",
    "socket by system call": "def attack():\n return syscall({'x86_64': 41, 'aarch64': 198}[os.uname().machine], 2, 1, 0) >= 0",
    # --- reading
    "/etc/passwd": "def attack():\n return done(lambda: bool(open('/etc/passwd').read()))",
    "/etc/shadow": "def attack():\n return done(lambda: bool(open('/etc/shadow').read()))",
    "a user's file": "def attack():\n return done(lambda: bool(open('@SECRET@').read()))",
    "keys in the environment": "def attack():\n return any('KEY' in name or 'canary' in os.environ[name] for name in os.environ)",
    "keys in the parent's environment": """
def attack():
    return done(*[lambda pid=pid: bool(open(f'/proc/{pid}/environ', 'rb').read())
                  for pid in (os.getppid(), @PARENT@, 'self', 1)])""",
    "memory of others": """
def attack():
    return done(*[lambda pid=pid: bool(open(f'/proc/{pid}/mem', 'rb')) for pid in (os.getppid(), @PARENT@, 1)])""",
    "files of other runs": """
def attack():
    other = os.path.dirname('@SECRET@')
    return done(*[lambda p=p: bool(os.listdir(p)) for p in ('/var/tmp', '/dev/shm', other, other + '/..')],
                lambda: os.path.basename(other) in os.listdir(os.path.dirname(other)),
                lambda: bool(open('@SECRET@')))""",
    "processes of other runs": "def attack():\n return done(lambda: bool(os.listdir('/proc')), lambda: bool(os.listdir('/proc/self/fd')))",
    "file by handle": "def attack():\n buffer = ctypes.create_string_buffer(200)\n return libc.open_by_handle_at(-100, buffer, 0) >= 0 or ctypes.get_errno() != 1",
    "descriptors left open": """
def attack():
    import stat
    for fd in range(3, 64):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if not stat.S_ISSOCK(mode):
            return True
    return False""",
    # --- writing
    "a file outside": "def attack():\n return done(lambda: write('@VICTIM@', 'changed') or True, lambda: write('/tmp/archon-hostile') or True)",
    "own library": "def attack():\n return done(lambda: write(os.__file__) or True, lambda: write(os.__file__ + '.new') or True)",
    "own worker": "def attack():\n import inside.worker as w\n return done(lambda: write(w.__file__) or True, lambda: os.unlink(w.__file__) or True)",
    "symbolic link": "def attack():\n return done(lambda: os.symlink('@VICTIM@', 'link') or write('link', 'changed') or True)",
    "hard link": "def attack():\n return done(lambda: os.link('@VICTIM@', '/tmp/archon-hostile-link') or True, lambda: os.link('@VICTIM@', 'link') or True)",
    "deletion": "def attack():\n return done(lambda: os.unlink('@VICTIM@') or True, lambda: os.rename('@VICTIM@', '@VICTIM@2') or True)",
    "truncation": "def attack():\n return done(lambda: os.truncate('@VICTIM@', 0) or True, lambda: open('@VICTIM@', 'r+').truncate(0) == 0)",
    "modes": "def attack():\n return done(lambda: os.chmod('@VICTIM@', 0o4777) or True, lambda: os.chown('@VICTIM@', 0, 0) or True)",
    "pipe in the file system": "def attack():\n return done(lambda: os.mkfifo('/tmp/archon-hostile-pipe') or True, lambda: os.mkfifo('pipe') or True)",
    # --- processes
    "killing the parent": "def attack():\n return done(*[lambda pid=pid: os.kill(pid, 9) or True for pid in (@PARENT@, os.getppid(), 1)])",
    "killing everybody": "def attack():\n return done(lambda: os.kill(-1, 9) or True, lambda: os.killpg(0, 9) or True)",
    "stopping the parent": "def attack():\n return done(lambda: os.kill(os.getppid(), signal.SIGSTOP) or True)",
    "signals by file owner": """
def attack():
    import fcntl
    ours, theirs = socket.socketpair()
    return done(lambda: fcntl.fcntl(ours, fcntl.F_SETOWN, @PARENT@) == 0)""",
    "ptrace": "def attack():\n return libc.ptrace(16, @PARENT@, 0, 0) == 0 or libc.ptrace(16, os.getppid(), 0, 0) == 0",
    "another process's memory": "def attack():\n buffer = ctypes.create_string_buffer(64)\n return libc.process_vm_readv(os.getppid(), buffer, 1, buffer, 1, 0) >= 0",
    "process handles": "def attack():\n return done(lambda: os.pidfd_open(@PARENT@), lambda: os.pidfd_open(os.getppid()))",
    "daemon": """
def attack():
    def leave():
        if os.fork() == 0:
            os.setsid()
            time.sleep(30)
            os._exit(0)
        return True
    return done(leave)""",
    "own session": "def attack():\n return done(lambda: os.setsid() is None, lambda: os.setpgid(0, 0) is None)",
    "shell": """
def attack():
    import subprocess
    return done(lambda: os.system('true') == 0, lambda: subprocess.run(['/bin/sh', '-c', 'true']) and True,
                lambda: os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {}) > 0)""",
    "exec": "def attack():\n return done(lambda: os.execv('/bin/sh', ['sh', '-c', 'true']))",
    "clone by system call": "def attack():\n return syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 17, 0, 0, 0, 0) >= 0",
    # --- privileges
    "root": "def attack():\n return done(lambda: os.setuid(0) or True, lambda: os.setgid(0) or True, lambda: os.setgroups([0]) or True)",
    "namespaces": "def attack():\n return libc.unshare(0x10000000) == 0 or libc.unshare(0x20000) == 0 or libc.setns(0, 0) == 0",
    "mount and chroot": "def attack():\n return libc.mount(b'none', b'/home', b'tmpfs', 0, None) == 0 or done(lambda: os.chroot('/') or True)",
    "kernel interfaces": """
def attack():
    numbers = {'x86_64': (321, 298, 250, 425, 323, 313, 175), 'aarch64': (280, 241, 219, 425, 282, 273, 105)}
    for number in numbers[os.uname().machine]:  # bpf, perf_event_open, keyctl, io_uring_setup, userfaultfd, modules
        if syscall(number, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() != 1:
            return True
    return False""",
    "typing into the terminal": "def attack():\n import fcntl\n return done(lambda: fcntl.ioctl(0, 0x5412, b'x') is not None)",
    "calls of another machine": """
def attack():
    import mmap
    if os.uname().machine != 'x86_64':
        return False
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20 (getpid of i386); int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() > 0""",
    "x32 calls": "def attack():\n return os.uname().machine == 'x86_64' and syscall(0x40000000 + 57) >= 0",
}
