"""The questions of ``probe.py`` for a sandbox that holds a shell and no Python: those that a POSIX shell can answer.

It uses nothing but what the shell has built in, so that its closure is enough. The kernel cannot be asked that way.
"""

import re
from collections.abc import Iterable

# One argument per question: its name, a colon, its operand. An answer ends with a NUL; an empty one is none.
TEXT = r"""
yes_or_no() { if "$@"; then printf y; else printf n; fi; }
for question; do
  operand=${question#*:}
  case $question in
  read:*) yes_or_no [ -r "$operand" ] ;;
  write:*) yes_or_no [ -w "$operand" ] ;;
  names:*)
    if [ -d "$operand" ]; then
      printf l
      for path in "$operand"/* "$operand"/.[!.]* "$operand"/..?*; do
        if [ -e "$path" ] || [ -L "$path" ]; then printf '%s/' "${path##*/}"; fi
      done
    else
      printf 0
    fi ;;
  processes:*)
    if [ -e /proc/self/stat ]; then
      count=0
      for path in /proc/[0-9]*; do
        case ${path#/proc/} in "$$" | "$PPID") ;; *) count=$((count + 1)) ;; esac
      done
      printf i%s "$count"
    fi ;;
  hostname:*) { read -r name </proc/sys/kernel/hostname && printf t%s "$name"; } 2>/dev/null ;;
  status:*)
    { while read -r field value; do
      if [ "$field" = "$operand:" ]; then printf t%s "$value"; fi
    done </proc/self/status; } 2>/dev/null ;;
  mounts:*)
    { while read -r _ _ _ _ place mode _; do
      printf '%s\t%s\n' "$place" "${mode%%,*}"
    done </proc/self/mountinfo; } 2>/dev/null ;;
  esac
  printf '\0'
done
"""
ASK = ("read", "write", "names", "processes", "hostname", "status", "mounts")


def arguments(questions: Iterable[list[object]]) -> list[str]:
    """The questions as the text reads them."""
    return [f"{name}:{''.join(map(str, operands))}" if name in ASK else "-" for name, *operands in questions]


def answers(said: bytes) -> list[list[object]]:
    """What the text printed: for each question the answer that ``probe.ask`` would give, or nothing."""
    return [_answer(piece) for piece in said.split(b"\0")[:-1]]


def _answer(piece: bytes) -> list[object]:
    sort, text = piece[:1], piece[1:].decode("utf-8", "surrogateescape")
    match sort:
        case b"y" | b"n":
            return [sort == b"y"]
        case b"0":
            return [None]
        case b"l":
            return [sorted(text.split("/")[:-1])]
        case b"i":
            return [int(text)]
        case b"t":
            return [text]
        case b"/":
            rows = (line.split("\t") for line in f"/{text}".splitlines())
            found = {re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place): mode for place, mode in rows}
            return [sorted([place, mode] for place, mode in found.items())]
        case _:
            return []
