"""The system calls that code in a box may not make, as a classic BPF program for seccomp (seccomp(2), Linux).

A list of what is refused, not of what is allowed: PyTorch and polars call what their next versions need, and namespaces
or Landlock bound what the rest can reach. Refused is what reaches past those: other processes, the kernel's larger
surfaces, new namespaces, sockets, and new processes. Threads may be started.
"""

import errno
import struct
from collections.abc import Iterable
from typing import Final

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 40
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _ABSENT = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_X32_BIT: Final = 0x40000000
_THREAD: Final = 0x00010000
_NEW_NAMESPACES: Final = 0x7E020000
_SHARED, _ANONYMOUS = 0x01, 0x20

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's AUDIT_ARCH of each machine that numbers are listed for."""

Number = int | None

# Name: (x86_64, aarch64), None where the machine has none. A test compares them with libseccomp's.
_CALLS: Final[dict[str, tuple[Number, Number]]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # keys, files by handle, mounts, namespaces
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # the kernel's larger surfaces
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    # the network, and memory that no limit counts
    "socket": (41, 198),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # new processes; clone is looked at more closely
    "fork": (57, None),
    "vfork": (58, None),
}

# Without a mount namespace, the owner's files lie in reach of what Landlock does not rule: their modes and attributes.
_METADATA: Final[dict[str, tuple[Number, Number]]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}

_OWN_PROCESS: Final[dict[str, tuple[Number, Number]]] = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}
_MAP: Final[dict[str, tuple[Number, Number]]] = {"mmap": (9, 222)}
_CLONE: Final[dict[str, tuple[Number, Number]]] = {"clone": (56, 220), "clone3": (435, 435)}


def numbers(machine: str) -> dict[str, int]:
    """Every listed call's number on ``machine``, as ``os.uname().machine`` has it. Raises ``KeyError`` for others."""
    place = list(ARCHITECTURES).index(machine) if machine in ARCHITECTURES else None
    if place is None:
        raise KeyError(machine)
    every = {**_CALLS, **_METADATA, **_OWN_PROCESS, **_MAP, **_CLONE}
    return {name: number for name, pair in every.items() if (number := pair[place]) is not None}


def program(machine: str, process: int, keeps_metadata: bool) -> bytes:
    """``struct sock_filter`` after ``struct sock_filter`` (8 bytes each), for the process of id ``process``.

    With ``keeps_metadata`` the modes, owners, times and attributes of files are out of reach too. A process of another
    architecture than ``machine``'s is killed at its first call.
    """
    number = numbers(machine)
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_EQUAL, ARCHITECTURES[machine], 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [_line(_AT_LEAST, _X32_BIT, 0, 1), _line(_RETURN, _REFUSE)]
    refused = [*_CALLS, *(_METADATA if keeps_metadata else ())]
    lines += _each((number[name] for name in refused if name in number), _REFUSE)
    # glibc starts threads by clone where there is no clone3, whose flags can't be seen from here.
    lines += _each([number["clone3"]], _ABSENT)
    lines += _threads_only(number["clone"])
    lines += _no_shared_memory(number["mmap"])
    for name in ("kill", "tgkill"):
        lines += _on_itself(number[name], (process,))
    lines += _on_itself(number["prlimit64"], (0, process))
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _each(refused: Iterable[int], answer: int) -> list[bytes]:
    return [line for one in refused for line in (_line(_EQUAL, one, 0, 1), _line(_RETURN, answer))]


def _threads_only(clone: int) -> list[bytes]:
    return [
        _line(_EQUAL, clone, 0, 5),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_ANY_BIT, _NEW_NAMESPACES, 1, 0),
        _line(_ANY_BIT, _THREAD, 1, 0),
        _line(_RETURN, _REFUSE),
        _line(_RETURN, _ALLOW),
    ]


def _no_shared_memory(mmap: int) -> list[bytes]:
    """RLIMIT_DATA does not count memory that is shared and belongs to no file."""
    return [
        _line(_EQUAL, mmap, 0, 5),
        _line(_LOAD, _FOURTH_ARGUMENT),
        _line(_ANY_BIT, _ANONYMOUS, 0, 2),
        _line(_ANY_BIT, _SHARED, 0, 1),
        _line(_RETURN, _REFUSE),
        _line(_RETURN, _ALLOW),
    ]


def _on_itself(call: int, processes: tuple[int, ...]) -> list[bytes]:
    """``call`` is allowed where its first argument is one of ``processes``."""
    known = [line for one in processes for line in (_line(_EQUAL, one, 0, 1), _line(_RETURN, _ALLOW))]
    body = [_line(_LOAD, _FIRST_ARGUMENT), *known, _line(_RETURN, _REFUSE)]
    return [_line(_EQUAL, call, 0, len(body)), *body]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
