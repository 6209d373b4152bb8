# What gdb does not know of a Kiln guest: how the stack goes on from the kernel
# into the program, where programs and their libraries are loaded, and the
# kernel's own lists. kiln gdb loads this file; it reads everything from the
# guest's memory, and asks nothing of the guest's code.

import os
import struct

import gdb
import gdb.unwinder

SENTRY = "gvisor.dev/gvisor/pkg/sentry/"
UPPER = 1 << 63
KERNEL = 0xFFFFFFFFA0000000  # where the kernel program is linked (image/bootinfo)
DIRECT = 0xFFFF888000000000  # physical address 0 (docs/memory.md)
PAGE = 4096

# struct registers (kernel/metal/abi), which is Linux' user_regs_struct, too.
REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base"
).split()
REGISTERS_SIZE = 8 * len(REGISTERS)


class Unreadable(Exception):
    """An address of the guest's that nothing backs."""


# ---- memory ----------------------------------------------------------------


def read(address, size):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except gdb.MemoryError:
        raise Unreadable("%#x cannot be read" % address)


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def text_at(address, size):
    return read(address, size).decode("utf-8", "replace") if size else ""


def go_string(address):
    """The Go string whose header lies at address."""
    at, size = struct.unpack("<QQ", read(address, 16))
    return text_at(at, min(size, 4096))


# What the kernel's names mean is settled now, while no program's symbols are
# loaded: one in Go has a runtime.g and a main.main, too.
TYPES = {
    name: gdb.lookup_type(name)
    for name in (
        "runtime.g",
        SENTRY + "kernel.Task",
        SENTRY + "arch.Context64",
        SENTRY + "mm.MemoryManager",
        SENTRY + "vfs.FileDescription",
        SENTRY + "vfs.Dentry",
    )
}


class Variable:
    """A variable of the kernel's."""

    def __init__(self, name):
        value = gdb.parse_and_eval("'%s'" % name)
        self.address, self.type = int(value.address), value.type

    def value(self):
        return gdb.Value(self.address).cast(self.type.pointer()).dereference()


ALL_GOROUTINES = Variable("runtime.allgs")
WAIT_REASONS = Variable("runtime.waitReasonStrings")
CPUS = Variable("main.cpus")
THREADS = Variable("main.threads")
THREAD_TOP = Variable("main.threadTop")


def kernel_function(name):
    """The address of a function of the kernel program's."""
    for sal in gdb.decode_line("*'%s'" % name)[1] or ():
        if sal.pc >= KERNEL:
            return sal.pc
    raise gdb.error("the kernel has no function " + name)


SET_EXECUTABLE = kernel_function(SENTRY + "mm.(*MemoryManager).SetExecutable")
GOEXIT = kernel_function("runtime.goexit")


def offset(type_name, *path):
    """The offset of a field of a field … of a Go structure."""
    total, t = 0, TYPES.get(type_name) or gdb.lookup_type(type_name)
    for name in path:
        field = next(f for f in t.strip_typedefs().fields() if f.name == name)
        total += field.bitpos // 8
        t = field.type
    return total


class AddressSpace:
    """A program's memory, by the page table whose root is at a physical address."""

    def __init__(self, root):
        self.root = root

    def kernel_address(self, address):
        """Where the kernel sees the page of address."""
        table = self.root
        for level in (39, 30, 21, 12):
            entry = word(DIRECT + table + 8 * (address >> level & 511))
            if not entry & 1:
                if level == 12 and entry & 1 << 9:  # lazy: it names the kernel's address
                    return (entry & 0x0000FFFFFFFFF000 | 0xFFFF << 48) + address % PAGE
                raise Unreadable("%#x is not mapped" % address)
            table = entry & 0x000FFFFFFFFFF000
            if level != 12 and entry & 1 << 7:
                size = 1 << level
                return DIRECT + (table & ~(size - 1)) + address % size
        return DIRECT + table + address % PAGE

    def read(self, address, size):
        b = b""
        while len(b) < size:
            n = min(size - len(b), PAGE - (address + len(b)) % PAGE)
            b += read(self.kernel_address(address + len(b)), n)
        return b

    def word(self, address):
        return struct.unpack("<Q", self.read(address, 8))[0]

    def string(self, address):
        b = b""
        while b"\0" not in b and len(b) < PAGE:
            b += self.read(address + len(b), min(64, PAGE - (address + len(b)) % PAGE))
        return b.split(b"\0")[0].decode("utf-8", "replace")


# ---- the kernel's structures ------------------------------------------------


def percpu():
    return CPUS.value()[0]


class Goroutine:
    STATUS = ["idle", "runnable", "running", "syscall", "waiting", "", "dead"]

    def __init__(self, g):
        self.address = int(g)
        self.id = int(g["goid"])
        self.low, self.high = int(g["stack"]["lo"]), int(g["stack"]["hi"])
        self.status = int(g["atomicstatus"]["value"]) & ~0x1000
        self.reason = int(g["waitreason"])
        self.start = int(g["startpc"])
        self.sp, self.pc, self.bp = (int(g["sched"][r]) for r in ("sp", "pc", "bp"))
        self.waits_in_call = int(g["syscallsp"])
        if self.waits_in_call:
            self.sp, self.pc, self.bp = int(g["syscallsp"]), int(g["syscallpc"]), int(g["syscallbp"])

    def state(self):
        name = self.STATUS[self.status] if self.status < len(self.STATUS) else str(self.status)
        if name == "waiting":
            r = WAIT_REASONS.value()[self.reason]
            name += ": " + text_at(int(r["str"]), int(r["len"]))
        return name

    def function(self):
        return function_name(self.start)


def function_name(pc):
    block = gdb.block_for_pc(pc)
    while block and not block.function:
        block = block.superblock
    if block:
        return block.function.name
    symbol = gdb.execute("info symbol %#x" % pc, to_string=True)
    return symbol.split(" + ")[0].split(" in section")[0].strip()


def goroutines():
    all_g = ALL_GOROUTINES.value()
    array, n = int(all_g["array"]), int(all_g["len"])
    g_type = TYPES["runtime.g"].pointer()
    found = []
    for i in range(n):
        g = gdb.Value(word(array + 8 * i)).cast(g_type)
        if int(g["atomicstatus"]["value"]) & ~0x1000 not in (0, 6):
            found.append(Goroutine(g))
    return found


class Task:
    """A thread of a program's: the Sentry's structure for it."""

    TYPE = SENTRY + "kernel.Task"

    def __init__(self, address, goroutine):
        self.goroutine = goroutine
        self.value = gdb.Value(address).cast(TYPES[self.TYPE].pointer())
        self.address = address

    def name(self):
        return go_string(self.address + offset(self.TYPE, "image", "Name"))

    def registers_at(self):
        return int(self.value["image"]["Arch"]) + offset(SENTRY + "arch.Context64", "State", "Regs")

    def memory_manager(self):
        return int(self.value["image"]["MemoryManager"])

    def group(self):
        return int(self.value["taskNode"]["tg"])

    def root_at(self):
        """Where the physical address of its page table's root lies (kernel/sentry/platform's
        space), 0 if it has none."""
        mm = self.memory_manager()
        return word(mm + offset(SENTRY + "mm.MemoryManager", "as") + 8) if mm else 0

    def registers(self):
        return dict(zip(REGISTERS, struct.unpack("<%dQ" % len(REGISTERS), read(self.registers_at(), REGISTERS_SIZE))))


def task_of(goroutine):
    """The task that a goroutine runs. It is found on the goroutine's stack: the
    word that leads to a task which says that it is this goroutine's."""
    if "kernel.(*Task).Start" not in goroutine.function():
        return None
    goid, image = offset(Task.TYPE, "goid"), offset(Task.TYPE, "image", "Arch")
    low = max(goroutine.low, goroutine.high - 4096)
    stack = read(low, goroutine.high - low)
    for (candidate,) in reversed(list(struct.iter_unpack("<Q", stack))):
        if candidate % 8 or not 0xFFFFA00000000000 <= candidate < 0xFFFFB00000000000:
            continue
        try:
            if word(candidate + goid) == goroutine.id and word(candidate + image) >= UPPER:
                return Task(candidate, goroutine)
        except Unreadable:
            continue
    return None


def tasks():
    found = [task_of(g) for g in goroutines()]
    return [t for t in found if t]


# ---- the stack goes on ------------------------------------------------------


class FrameID:
    """What tells a frame from others."""

    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Entry(gdb.unwinder.Unwinder):
    """Goes on where the Go linker's frame information ends: at the end of a
    task's goroutine, with the program that it serves; in metal's entries, with
    what was interrupted or made the call. Each leads to a structure of
    registers, which kiln.debug describes as the frame of kiln.entry."""

    # Functions of metal's that call Go, and where they leave the registers.
    ENTRIES = ("syscallEntry", "pageFault", "trapped", "fatal")

    def __init__(self):
        super().__init__("kiln")
        self.cache = {}
        self.ranges = {"goexit": (GOEXIT, GOEXIT + 16)}
        for name in self.ENTRIES:
            symbol = gdb.lookup_static_symbol(name)
            if symbol:
                block = gdb.block_for_pc(int(symbol.value().address))
                self.ranges[name] = (block.start, block.end)

    def __call__(self, pending):
        pc = int(pending.read_register("rip")) & (1 << 64) - 1
        if pc < UPPER:
            return None
        for name, (low, high) in self.ranges.items():
            if low <= pc < high:
                try:
                    return self.unwind(pending, name, pc)
                except (Unreadable, gdb.error, StopIteration):
                    return None
        return None

    def unwind(self, pending, name, pc):
        sp = int(pending.read_register("rsp")) & (1 << 64) - 1
        if name == "goexit":
            registers = self.program(sp)
        elif name in ("syscallEntry", "trapped"):
            if not int(percpu()["inHandler"]):
                return None
            registers = int(percpu()["cur"]["regs"].address)
        elif name == "pageFault":
            registers = word(sp + 72)  # behind CALL_GO's spill space and the saved RBP
        else:
            registers = sp + 64
        if not registers:
            return None
        info = pending.create_unwind_info(FrameID(pending.read_register("rsp"), pending.read_register("rip")))
        for reg, value in (("rip", ENTRY_PC), ("rsp", registers)):
            t = pending.read_register(reg).type
            info.add_saved_register(reg, gdb.Value(value).cast(t))
        return info

    def program(self, sp):
        """The registers of the program that the goroutine with the stack around
        sp serves."""
        if sp not in self.cache:
            self.cache[sp] = 0
            for g in goroutines():
                if g.low < sp <= g.high:
                    task = task_of(g)
                    if task:
                        self.cache[sp] = task.registers_at()
        return self.cache[sp]


ENTRY_PC = 0xFFFFFFFF80000808  # within kiln.entry (image/debuginfo)

entry = Entry()
gdb.unwinder.register_unwinder(None, entry, replace=True)


def forget(_event):
    entry.cache.clear()


for events in (gdb.events.stop, gdb.events.cont, gdb.events.memory_changed):
    events.connect(forget)


# ---- programs' symbols ------------------------------------------------------


class Programs:
    """Which files' symbols are loaded, and where."""

    AT_PHDR, AT_BASE, AT_ENTRY = 3, 7, 9

    def __init__(self):
        self.folder = os.environ.get("KILN_GDB_FILES", "")
        self.loaded = set()
        self.links = {}  # Linked, by address

    def path(self, name):
        """The file on this machine with the symbols of the guest's file name."""
        path = os.path.realpath(os.path.join(self.folder, name.lstrip("/")))
        inside = path.startswith(os.path.realpath(self.folder) + "/")
        return path if self.folder and inside and os.path.isfile(path) else ""

    def add(self, name, bias):
        path = self.path(name)
        if not path or (path, bias) in self.loaded:
            return path
        self.loaded.add((path, bias))
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        gdb.execute('add-symbol-file "%s" -o %#x' % (quoted, bias), to_string=True)
        return path

    def add_program(self, name, auxv):
        """A program with its interpreter. Returns the interpreter's base and file."""
        path = self.path(name)
        if not path:
            return 0, ""
        elf = ELF(path)
        self.add(name, auxv.get(self.AT_ENTRY, elf.entry) - elf.entry)
        base = auxv.get(self.AT_BASE, 0)
        if base and elf.interpreter:
            return base, self.add(elf.interpreter, base)
        return 0, ""

    def add_libraries(self, space, base, interpreter):
        """What the interpreter at base says that it has loaded (struct r_debug,
        struct link_map of link.h)."""
        at = ELF(interpreter).symbol("_r_debug")
        if at is None:
            at = ELF(interpreter).symbol("_dl_debug_addr")
            if at is None:
                return
            debug = space.word(base + at)
        else:
            debug = base + at
        link = space.word(debug + 8)
        for _ in range(4096):
            if not link:
                return
            bias, name, _, following = struct.unpack("<4Q", space.read(link, 32))
            if name:
                file = space.string(name)
                if file and bias != base:
                    self.add(file, bias)
            link = following


class ELF:
    """What is wanted of an ELF file of 64 bits."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.entry, phoff, self.shoff = struct.unpack_from("<3Q", self.data, 24)
        phsize, phnum, self.shsize, self.shnum = struct.unpack_from("<4H", self.data, 54)
        self.interpreter = ""
        for i in range(phnum):
            kind, _, off, _, _, size = struct.unpack_from("<IIQQQQ", self.data, phoff + i * phsize)
            if kind == 3:  # PT_INTERP
                self.interpreter = self.data[off : off + size].rstrip(b"\0").decode()

    def symbol(self, name):
        for i in range(self.shnum):
            _, kind, _, _, off, size, link = struct.unpack_from("<IIQQQQI", self.data, self.shoff + i * self.shsize)
            if kind not in (2, 11):  # SHT_SYMTAB, SHT_DYNSYM
                continue
            names = struct.unpack_from("<Q", self.data, self.shoff + link * self.shsize + 24)[0]
            for at in range(off, off + size, 24):
                n, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", self.data, at)
                if section and self.data.startswith(name.encode() + b"\0", names + n):
                    return value
        return None


def auxv_of(mm):
    at, n = struct.unpack("<QQ", read(mm + offset(SENTRY + "mm.MemoryManager", "auxv"), 16))
    return dict(struct.iter_unpack("<QQ", read(at, 16 * min(n, 64)))) if n else {}


def file_name(description):
    """The path of an open file, a vfs.FileDescription: its dentries' names, of
    whichever file system."""
    if not description:
        return ""
    dentry = word(description + offset(SENTRY + "vfs.FileDescription", "vd", "dentry"))
    tab, data = struct.unpack("<QQ", read(dentry + offset(SENTRY + "vfs.Dentry", "impl"), 16))
    # go:itab.*TYPE,INTERFACE
    itab = function_name(tab)
    if not itab.startswith("go:itab.*"):
        return ""
    kind = itab[len("go:itab.*") :].split(",")[0]
    try:
        name_at, parent_at = offset(kind, "name"), offset(kind, "parent")
    except (gdb.error, StopIteration):
        return ""
    names = []
    while data and len(names) < 64:
        name = go_string(data + name_at)
        if name:
            names.append(name)
        data = word(data + parent_at)
    return "/" + "/".join(reversed(names))


programs = Programs()


class Started(gdb.Breakpoint):
    """Stops nowhere: where the Sentry has loaded a program, its symbols are
    loaded, so that breakpoints in it are set before its first instruction."""

    def __init__(self):
        super().__init__("*%#x" % SET_EXECUTABLE, internal=True)
        self.silent = True

    def stop(self):
        mm, description = register("rax"), register("rdi")
        try:
            load_program(file_name(description), auxv_of(mm))
        except (Unreadable, gdb.error, OSError) as e:
            print("kiln: a program's symbols are not loaded: %s" % e)
        return False


class Linked(gdb.Breakpoint):
    """Stops nowhere: where a program's dynamic linker has mapped or unmapped
    libraries, their symbols are loaded."""

    def __init__(self, address, base, interpreter):
        super().__init__("*%#x" % address, internal=True)
        self.silent = True
        self.base, self.interpreter = base, interpreter

    def stop(self):
        try:
            programs.add_libraries(AddressSpace(int(percpu()["cr3"])), self.base, self.interpreter)
        except (Unreadable, gdb.error, OSError):
            pass  # in the middle of its work: it comes here again
        return False


def register(name):
    return int(gdb.selected_frame().read_register(name)) & (1 << 64) - 1


def load_program(name, auxv):
    base, interpreter = programs.add_program(name, auxv)
    if not interpreter:
        return base, interpreter
    at = ELF(interpreter).symbol("_dl_debug_state")
    if at is not None and base + at not in programs.links:
        programs.links[base + at] = Linked(base + at, base, interpreter)
    return base, interpreter


def load_running():
    """Loads the symbols of the programs that run now."""
    seen = set()
    for task in tasks():
        mm, root_at = task.memory_manager(), task.root_at()
        if not mm or mm in seen:
            continue
        seen.add(mm)
        description = word(mm + offset(SENTRY + "mm.MemoryManager", "executable"))
        try:
            base, interpreter = load_program(file_name(description), auxv_of(mm))
            if interpreter and root_at:
                programs.add_libraries(AddressSpace(word(root_at)), base, interpreter)
        except (Unreadable, OSError) as e:
            print("kiln: symbols of %s are not loaded: %s" % (task.name(), e))


# ---- commands ---------------------------------------------------------------


class Command(gdb.Command):
    def __init__(self, name, **kind):
        super().__init__(name, gdb.COMMAND_STATUS, **kind)

    def invoke(self, argument, from_tty):
        try:
            self.run(gdb.string_to_argv(argument))
        except Unreadable as e:
            raise gdb.GdbError(str(e))


class Kiln(Command):
    """Look into a Kiln guest: kiln tasks, kiln goroutines, kiln threads, kiln task, kiln goroutine, kiln symbols."""

    def run(self, argv):
        gdb.execute("help kiln")


class Tasks(Command):
    """List the programs' threads: TASK, the number of its goroutine, by which kiln task takes it, what the goroutine does, and where the program was when it came into the kernel."""

    def run(self, argv):
        print("%-6s %-16s %-28s %s" % ("TASK", "NAME", "STATE", "PROGRAM AT"))
        for t in tasks():
            rip = t.registers()["rip"]
            where = function_name(rip)
            where = "%#x" % rip if where.startswith("No symbol") else "%#x %s" % (rip, where)
            print("%-6d %-16s %-28s %s" % (t.goroutine.id, t.name(), t.goroutine.state(), where))


class Goroutines(Command):
    """List the kernel's goroutines: number, state, where it is, where it began."""

    def run(self, argv):
        print("%-6s %-28s %s" % ("ID", "STATE", "AT / BEGAN IN"))
        for g in goroutines():
            print("%-6d %-28s %s / %s" % (g.id, g.state(), function_name(g.pc), g.function()))


class Threads(Command):
    """List metal's threads, on which the kernel's goroutines run: number, state, where it is in the kernel."""

    STATE = ["free", "runnable", "running", "blocked"]
    WAIT = ["", "sleep", "futex", "epoll", "read", "write"]

    def run(self, argv):
        cpu = percpu()
        print("%-6s %-18s %s" % ("ID", "STATE", "AT"))
        threads = THREADS.value()
        for i in range(int(THREAD_TOP.value())):
            t = threads[i]
            if not int(t) or not int(t["state"]):
                continue
            state = self.STATE[int(t["state"])]
            if state == "blocked":
                state += ": " + self.WAIT[int(t["wait"])]
            where = "in the CPU" if int(t) == int(cpu["cur"]) else function_name(int(t["regs"]["RIP"]))
            print("%-6d %-18s %s" % (int(t["tid"]), state, where))


class Elsewhere(Command):
    """What commands of a goroutine or task have in common: gdb's command is run
    with its registers in the CPU's place."""

    def run(self, argv):
        if not argv or not argv[0].isdigit():
            raise gdb.GdbError("usage: %s NUMBER [COMMAND]" % self.usage)
        g = next((g for g in goroutines() if g.id == int(argv[0])), None)
        if g is None:
            raise gdb.GdbError("there is no goroutine %s" % argv[0])
        command = " ".join(argv[1:]) or "backtrace"
        task = task_of(g)
        if self.wants_task and task is None:
            raise gdb.GdbError("goroutine %s runs no program" % argv[0])
        root_at = task.root_at() if task else 0
        on_cpu = g.low < register_now("rsp") <= g.high
        if not on_cpu and g.status == 2:
            # Its registers are the program's: the thread is in ring 3.
            regs = task.registers() if task else {}
            in_program = register_now("rip") < UPPER or not regs
            if in_program:
                gdb.execute(command)
                return
            saved = {r: regs[r] for r in ("rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15")}
        elif on_cpu:
            saved = {}
        else:
            saved = {"rip": g.pc, "rsp": g.sp, "rbp": g.bp}
        with Registers(saved, root_at):
            gdb.execute(command)


def register_now(name):
    return int(gdb.newest_frame().read_register(name)) & (1 << 64) - 1


class Registers:
    """Puts values into the CPU's registers, and into CR3 what lies at root_at
    unless that is 0, and takes them out again."""

    def __init__(self, values, root_at):
        self.values, self.root_at = values, root_at

    def __enter__(self):
        gdb.newest_frame().select()
        self.old = {name: register_now(name) for name in self.values}
        self.put(self.values, self.root_at)

    def put(self, values, root_at):
        for name, value in values.items():
            self.set(name, "%#x" % value)
        if root_at:
            # A register of flags takes no number, only what lies in memory.
            self.set("cr3", "*(unsigned long *) %#x" % root_at)
        forget(None)

    def set(self, name, value):
        gdb.newest_frame().select()
        gdb.execute("with language c -- set $%s = %s" % (name, value), to_string=True)

    def __exit__(self, *_):
        self.put(self.old, self.root_at and int(percpu()["cr3"].address))


class OneGoroutine(Elsewhere):
    """Run a command of gdb's, backtrace if none is named, in a goroutine: kiln goroutine NUMBER [COMMAND]."""

    usage, wants_task = "kiln goroutine", False


class OneTask(Elsewhere):
    """Run a command of gdb's, backtrace if none is named, in a program's thread, with the program's memory: kiln task TASK [COMMAND]."""

    usage, wants_task = "kiln task", True


class Symbols(Command):
    """Load the symbols of the programs that run now, and of the libraries that they have loaded."""

    def run(self, argv):
        load_running()
        for path, bias in sorted(programs.loaded):
            print("%#-18x %s" % (bias, path))


Kiln("kiln", prefix=True)
Tasks("kiln tasks")
Goroutines("kiln goroutines")
Threads("kiln threads")
OneGoroutine("kiln goroutine")
OneTask("kiln task")
Symbols("kiln symbols")


def attached():
    """Called once gdb is connected."""
    Started()
    try:
        if int(ALL_GOROUTINES.value()["len"]) > 0:
            load_running()
    except (Unreadable, gdb.error):
        pass  # the kernel has not begun: nothing is mapped where it will be
