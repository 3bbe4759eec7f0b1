"""Classic BPF as seccomp runs it, written from linux/bpf_common.h, linux/seccomp.h and the checks of seccomp(2)."""

import struct
from dataclasses import dataclass

ALLOW, KILL_PROCESS, KILL_THREAD = "allow", "kill", "kill the thread"
_ACTIONS = {0x7FFF0000: ALLOW, 0x80000000: KILL_PROCESS, 0: KILL_THREAD}
_ERRNO = {1: "EPERM", 38: "ENOSYS", 93: "EPROTONOSUPPORT", 95: "EOPNOTSUPP", 97: "EAFNOSUPPORT"}

LOAD_WORD, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_AT_LEAST, JUMP_BITS, RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
AND = 0x54
_CONDITIONAL = {JUMP_EQUAL, JUMP_GREATER, JUMP_AT_LEAST, JUMP_BITS}
_DATA_SIZE = 64  # struct seccomp_data
_LONGEST = 4096  # BPF_MAXINSNS


@dataclass(frozen=True, slots=True)
class Instruction:
    """One struct sock_filter."""

    code: int
    jt: int
    jf: int
    k: int


def load(program: bytes) -> tuple[Instruction, ...]:
    """The instructions, after the checks the kernel makes before it accepts them; ValueError says which one failed."""
    if not program or len(program) % 8 or len(program) > 8 * _LONGEST:
        raise ValueError(f"a program of {len(program)} bytes")
    instructions = tuple(Instruction(*fields) for fields in struct.iter_unpack("<HBBI", program))
    for at, op in enumerate(instructions):
        if op.code == LOAD_WORD:
            if op.k % 4 or op.k >= _DATA_SIZE:
                raise ValueError(f"{at}: load outside struct seccomp_data")
        elif op.code in _CONDITIONAL or op.code == JUMP:
            farthest = op.k if op.code == JUMP else max(op.jt, op.jf)
            if at + 1 + farthest >= len(instructions):
                raise ValueError(f"{at}: jump past the end")
        elif op.code not in (RETURN, AND):
            raise ValueError(f"{at}: opcode {op.code:#x}")
    if instructions[-1].code != RETURN:
        raise ValueError("the last instruction does not return")
    return instructions


def run(program: tuple[Instruction, ...], *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """The verdict on one call; arguments are 64-bit values, missing ones 0. Any other action is a ValueError."""
    padded = [value & (2**64 - 1) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number & (2**32 - 1), audit, 0, *padded)
    accumulator = at = 0
    while True:
        op = program[at]
        at += 1
        if op.code == LOAD_WORD:
            (accumulator,) = struct.unpack_from("<I", data, op.k)
        elif op.code == JUMP:
            at += op.k
        elif op.code == AND:
            accumulator &= op.k
        elif op.code == RETURN:
            return _verdict(op.k)
        else:
            taken = {
                JUMP_EQUAL: accumulator == op.k,
                JUMP_GREATER: accumulator > op.k,
                JUMP_AT_LEAST: accumulator >= op.k,
                JUMP_BITS: bool(accumulator & op.k),
            }[op.code]
            at += op.jt if taken else op.jf


def _verdict(value: int) -> str:
    if value in _ACTIONS:
        return _ACTIONS[value]
    if value >> 16 == 5:
        return _ERRNO[value & 0xFFFF]
    raise ValueError(f"action {value:#x}")
