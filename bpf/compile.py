"""Compiles, loads and pins the programs; runs as a child process of its own.

    /usr/bin/python3 -I compile.py < job.json

This is the only file that imports bcc: LLVM costs 126 MB, which only the end of
the process gives back. It needs no other file of the project, as it runs under
Debian's interpreter, whose packages are not ours.

The job (JSON): `text`, the C source; `programs`, each with `name`, `type`,
`attach` (a number or null) and `pin`. Maps pin themselves, as the source says.
Quiet on success; on failure a reason on stderr and exit status 1.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

USER_HEADERS = Path("/usr/include")
SCRATCH = "clustermesh-bpf-"
SCRATCH_SECONDS = 600.0  # the loader waits 120 s for us

# What kernel headers offer beyond those for user space, as far as BCC's own preamble and
# networking programs need it. They read no structure of the kernel, so this is enough on
# every kernel version, and no package of kernel headers is needed.
KCONFIG = """
#ifndef STUB_KCONFIG_H
#define STUB_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef _Bool bool;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
#define true 1
#define false 0
#ifndef NULL
#define NULL ((void *)0)
#endif
#endif
"""
PAGE = "#define PAGE_SHIFT 12\n#define PAGE_SIZE (1UL << PAGE_SHIFT)\n"


def main() -> int:
    job = json.load(sys.stdin)
    try:
        remove_old_scratch(Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            use_headers(Path(scratch))
            compile_and_pin(job)
    except Exception as error:  # noqa: BLE001 (the boundary of a process)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def remove_old_scratch(folder: Path) -> None:
    """Who was killed while compiling could not remove its own."""
    for path in folder.glob(f"{SCRATCH}*"):
        try:
            if time.time() - path.stat().st_mtime > SCRATCH_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # another one was faster


def use_headers(scratch: Path) -> None:
    """Point BCC at a tree made from the headers for user space, or at the kernel's own if those lack."""
    if not (USER_HEADERS / "linux/bpf.h").exists():
        return  # BCC looks for the kernel's headers by itself, and says so if there are none
    build_stub_tree(scratch)
    os.environ["BCC_KERNEL_SOURCE"] = str(scratch)


def build_stub_tree(root: Path) -> None:
    include, uapi = root / "include", root / "include/uapi"
    for folder in (include / "linux", include / "asm", uapi / "linux"):
        folder.mkdir(parents=True)
    for header in (USER_HEADERS / "linux").iterdir():
        (uapi / "linux" / header.name).symlink_to(header)
    # BCC brings its own, with another guard: both would be a redefinition
    (uapi / "linux/bpf.h").unlink()
    (uapi / "linux/bpf.h").touch()
    (uapi / "asm").symlink_to(asm_headers())
    (include / "asm-generic").symlink_to(USER_HEADERS / "asm-generic")
    (include / "asm/page.h").write_text(PAGE)
    (include / "linux/log2.h").touch()
    (include / "linux/kconfig.h").write_text(KCONFIG)


def asm_headers() -> Path:
    """Debian keeps them below the architecture's name, others directly."""
    multiarch = getattr(sys.implementation, "_multiarch", "")
    for folder in (USER_HEADERS / multiarch / "asm", USER_HEADERS / "asm"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("no asm headers below /usr/include: install linux-libc-dev")


def compile_and_pin(job: "dict[str, Any]") -> None:
    from bcc import BPF  # noqa: PLC0415 (reads BCC_KERNEL_SOURCE and takes 73 MB)
    from bcc.libbcc import lib  # noqa: PLC0415

    module = BPF(text=job["text"].encode(), cflags=["-Wno-everything"])
    for program in job["programs"]:
        attach = -1 if program["attach"] is None else program["attach"]
        function = module.load_func(program["name"].encode(), program["type"], attach_type=attach)
        if lib.bpf_obj_pin(function.fd, program["pin"].encode()) != 0:
            raise OSError(f"cannot pin {program['name']} at {program['pin']}")


if __name__ == "__main__":
    sys.exit(main())
