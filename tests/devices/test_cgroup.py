"""Memory limits read from recorded /proc and /sys/fs/cgroup trees: version 1, version 2, hybrid and containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.devices import LocalMachine, Ram, Unknown
from mlguard_nb.devices.cgroup import _statistic, in_container, working_set
from mlguard_nb.testing import FakeClock

GIB = 2**30
LONG_MAX = "9223372036854771712"
MEMINFO = (
    "MemTotal:       67108864 kB\nMemFree:         1000 kB\nMemAvailable:   33554432 kB\n"  # 64 GiB, half available
)
Tree = Callable[[Mapping[str, str]], tuple[Path, Path]]


def v2(path: str, limit: int | str, used: int, cache: int = 0, high: int | str = "max") -> dict[str, str]:
    """One version 2 group, as the kernel shows it."""
    return {
        f"cgroup{path}/memory.max": f"{limit}\n",
        f"cgroup{path}/memory.high": f"{high}\n",
        f"cgroup{path}/memory.current": f"{used}\n",
        f"cgroup{path}/memory.stat": f"anon {used - cache}\nfile {cache}\ninactive_anon 5\ninactive_file {cache // 3}\nactive_file {cache - cache // 3}\n",
    }


def v1(path: str, limit: int | str, used: int, cache: int = 0, hierarchical: int | str = LONG_MAX) -> dict[str, str]:
    """One version 1 group."""
    return {
        f"cgroup/memory{path}/memory.limit_in_bytes": f"{limit}\n",
        f"cgroup/memory{path}/memory.usage_in_bytes": f"{used}\n",
        f"cgroup/memory{path}/memory.stat": (
            f"cache 1\ninactive_file 7\nhierarchical_memory_limit {hierarchical}\ntotal_inactive_file {cache // 3}\ntotal_active_file {cache - cache // 3}\n"
        ),
    }


ROOT_V1 = v1("", LONG_MAX, 40 * GIB)


def read(tree: Tree, files: Mapping[str, str], cgroup: str) -> Ram:
    """Host memory on that machine, for a process whose /proc/self/cgroup holds `cgroup`."""
    return machine(tree, files, cgroup)[0].ram()


def machine(tree: Tree, files: Mapping[str, str], cgroup: str) -> tuple[LocalMachine, Path]:
    """That machine, and the folder of its groups."""
    proc, root = tree({"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup, "proc/self/statm": "1 1 1", **files})
    return LocalMachine(proc=proc, cgroups=root, driver=NoDriver()), root


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """What the reader of limits takes for the system's clock."""
    found = FakeClock()
    monkeypatch.setattr("mlguard_nb.clock.SYSTEM", found)
    return found


class NoDriver:
    def gpus(self) -> Any:
        return Unknown("no driver in this test")

    processes = gpus


CONTROLLERS = {"cgroup/cgroup.controllers": "cpu memory pids\n"}


def test_version_2_counts_the_working_set(tree: Tree) -> None:
    """Inactive page cache is left out of what is used, and shown apart."""
    ram = read(tree, {**CONTROLLERS, **v2("/app", 8 * GIB, 5 * GIB, cache=2 * GIB)}, "0::/app\n")
    assert (ram.source, ram.limit_bytes, ram.used_bytes, ram.cache_bytes) == ("container", 8 * GIB, 3 * GIB, 2 * GIB)
    assert ram.total_bytes == 64 * GIB
    assert ram.headroom_bytes == 5 * GIB


def test_the_ancestor_with_the_least_room_binds(tree: Tree) -> None:
    """The leaf has the lower limit; the parent is nearly full because of a neighbour, so the parent is hit first."""
    files = {**CONTROLLERS, **v2("/pod", 16 * GIB, 15 * GIB), **v2("/pod/app", 8 * GIB, 2 * GIB)}
    ram = read(tree, files, "0::/pod/app\n")
    assert ram.headroom_bytes == 1 * GIB
    assert (ram.limit_bytes, ram.used_bytes) == (16 * GIB, 15 * GIB)
    assert {ceiling.name for ceiling in ram.ceilings} >= {"/pod", "/pod/app", "machine"}


def test_memory_high_is_a_limit_too(tree: Tree) -> None:
    """Above memory.high the kernel throttles a process to a standstill, so that is where the room ends."""
    ram = read(tree, {**CONTROLLERS, **v2("/app", "max", 1 * GIB, high=4 * GIB)}, "0::/app\n")
    assert ram.limit_bytes == 4 * GIB


def test_without_a_limit_the_machine_counts(tree: Tree) -> None:
    """ "max" everywhere: the machine's own memory is the ceiling."""
    ram = read(tree, {**CONTROLLERS, **v2("/app", "max", 1 * GIB)}, "0::/app\n")
    assert (ram.source, ram.limit_bytes, ram.used_bytes) == ("machine", 64 * GIB, 32 * GIB)


def test_a_limit_above_the_machine_never_binds(tree: Tree) -> None:
    """A container allowed more than the machine has is bound by the machine."""
    ram = read(tree, {**CONTROLLERS, **v2("/app", 1000 * GIB, 1 * GIB)}, "0::/app\n")
    assert (ram.source, ram.limit_bytes) == ("machine", 64 * GIB)


def test_version_1_reads_the_whole_hierarchy(tree: Tree) -> None:
    """Version 1 tells its parents' limit in memory.stat, also where a container may not see its parents."""
    files = {**ROOT_V1, **v1("/docker/abc", LONG_MAX, 3 * GIB, cache=1 * GIB, hierarchical=6 * GIB)}
    ram = read(tree, files, "5:cpu,memory:/docker/abc\n0::/\n")
    assert (ram.source, ram.limit_bytes, ram.used_bytes) == ("container", 6 * GIB, 2 * GIB)


def test_version_1_without_a_limit_is_not_an_exbibyte(tree: Tree) -> None:
    """LONG_MAX cut to pages means no limit."""
    ram = read(tree, {**ROOT_V1, **v1("/app", LONG_MAX, 1 * GIB, cache=5)}, "5:memory:/app\n")
    assert (ram.source, ram.limit_bytes, ram.cache_bytes) == ("machine", 64 * GIB, 5)


def test_a_hybrid_machine_is_read_where_memory_is_controlled(tree: Tree) -> None:
    """Both trees are mounted; version 2 has no memory controller, so version 1 counts."""
    files = {**ROOT_V1, **v1("/app", 4 * GIB, 1 * GIB), "cgroup/unified/cgroup.controllers": "\n"}
    ram = read(tree, files, "9:memory:/app\n0::/system.slice/app.service\n")
    assert (ram.source, ram.limit_bytes) == ("container", 4 * GIB)


def test_a_container_sees_its_own_group_as_the_top(tree: Tree) -> None:
    """/proc names the path outside, the mount's top is the group itself."""
    ram = read(tree, v2("", 2 * GIB, 1 * GIB), "0::/kubepods/pod1/../../x\n")
    assert (ram.source, ram.limit_bytes, ram.used_bytes) == ("container", 2 * GIB, 1 * GIB)


def test_no_cgroup_at_all(tree: Tree) -> None:
    """A machine without cgroups is bound by itself, and says why the cache is not known."""
    ram = read(tree, {}, "")
    assert (ram.source, ram.limit_bytes) == ("machine", 64 * GIB)
    assert isinstance(ram.cache_bytes, Unknown)


def test_an_unreadable_group_is_passed_over(tree: Tree) -> None:
    """A usage file that holds no number: that level is left out, the machine still counts."""
    files = {**CONTROLLERS, **v2("/app", 2 * GIB, 1 * GIB), "cgroup/app/memory.current": "what\n"}
    assert read(tree, files, "0::/app\n").limit_bytes == 64 * GIB


def test_a_machine_that_tells_nothing_is_unknown_not_zero(tree: Tree) -> None:
    """No MemAvailable: used and limit are Unknown with the reason, never 0."""
    ram = read(tree, {"proc/meminfo": "MemTotal: 5 kB\n"}, "")
    assert isinstance(ram.used_bytes, Unknown)
    assert "MemAvailable" in ram.used_bytes.reason


def test_a_group_that_moves_is_followed(tree: Tree) -> None:
    """The numbers are read anew each time, through descriptors that stay open."""
    files = {**CONTROLLERS, **v2("/app", 8 * GIB, 5 * GIB)}
    here, root = machine(tree, files, "0::/app\n")
    assert here.ram().used_bytes == 5 * GIB
    (root / "app/memory.current").write_text(f"{6 * GIB}\n")
    assert here.ram().used_bytes == 6 * GIB


def test_a_process_that_is_moved_is_bound_by_its_new_group_within_a_second(tree: Tree, times: FakeClock) -> None:
    """A supervisor puts it into another group; a group that begins to account memory is found within ten seconds."""
    files = {**CONTROLLERS, **v2("/one", 8 * GIB, 5 * GIB), **v2("/two/app", 4 * GIB, 1 * GIB)}
    here, root = machine(tree, files, "0::/one\n")
    assert here.ram().limit_bytes == 8 * GIB
    (root.parent / "proc/self/cgroup").write_text("0::/two/app\n")
    times.sleep(1.1)
    assert here.ram().limit_bytes == 4 * GIB
    tree(v2("/two", 2 * GIB, 1 * GIB))
    times.sleep(10.1)
    assert here.ram().limit_bytes == 2 * GIB


def test_a_limit_that_changes_is_seen_within_a_second(tree: Tree, times: FakeClock) -> None:
    """An orchestrator may resize a running container."""
    files = {**CONTROLLERS, **v2("/app", 8 * GIB, 5 * GIB)}
    here, root = machine(tree, files, "0::/app\n")
    assert here.ram().limit_bytes == 8 * GIB
    (root / "app/memory.max").write_text(f"{6 * GIB}\n")
    times.sleep(1.1)
    assert here.ram().limit_bytes == 6 * GIB


def test_a_limit_that_an_ancestor_gets_is_seen_within_a_second(tree: Tree, times: FakeClock) -> None:
    """Though ancestors without one are not read in between, since that would be most of what a reading costs."""
    files = {**CONTROLLERS, **v2("/pod", "max", 9 * GIB), **v2("/pod/app", 8 * GIB, 1 * GIB)}
    here, root = machine(tree, files, "0::/pod/app\n")
    assert here.ram().headroom_bytes == 7 * GIB
    (root / "pod/memory.max").write_text(f"{10 * GIB}\n")
    times.sleep(1.1)
    assert here.ram().headroom_bytes == 1 * GIB
    (root / "pod/memory.current").write_text(f"{5 * GIB}\n")
    assert here.ram().headroom_bytes == 5 * GIB


def test_the_page_cache_of_a_group_without_a_limit_is_at_most_a_second_old(tree: Tree, times: FakeClock) -> None:
    files = {**CONTROLLERS, **v2("/app", "max", 4 * GIB, cache=3 * GIB)}
    here, root = machine(tree, files, "0::/app\n")
    assert here.ram().cache_bytes == 3 * GIB
    (root / "app/memory.stat").write_text(f"inactive_file 0\nactive_file {2 * GIB}\n")
    times.sleep(0.9)
    assert here.ram().cache_bytes == 3 * GIB
    times.sleep(0.2)
    assert here.ram().cache_bytes == 2 * GIB


@pytest.mark.parametrize(
    "text",
    [
        b"a 1\ninactive_file 7\nb 2\n",
        b"inactive_file 7\n",
        b"inactive_file 7",
        b"total_inactive_file 1\ninactive_file 7\n",
    ],
)
def test_a_statistic_is_found_by_its_whole_name(text: bytes) -> None:
    """First, last or after a longer name that ends alike."""
    stat = b"\n%b\n" % text
    assert _statistic(stat, b"\ninactive_file ") == 7
    assert _statistic(stat, b"\nactive_file ") is None
    assert _statistic(b"\n\n", b"\ninactive_file ") is None


def test_the_working_set_is_never_negative() -> None:
    """Usage and cache come from two reads, so the cache can be ahead."""
    assert working_set(5, 9) == 0


def test_this_machine_can_be_read() -> None:
    """The real kernel files of this machine give a limit, a use below it, and some headroom."""
    ram = LocalMachine(driver=NoDriver()).ram()  # type: ignore[arg-type]
    assert not isinstance(ram.limit_bytes, Unknown)
    assert not isinstance(ram.used_bytes, Unknown)
    assert 0 < ram.used_bytes <= ram.limit_bytes


def test_a_container_is_known_by_its_marks(tmp_path: Path) -> None:
    """Docker and Podman leave a file, systemd and Kubernetes a variable; a plain machine has none of them."""
    assert not in_container(tmp_path, {})
    assert in_container(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert in_container(tmp_path, {"container": "podman"})
    (tmp_path / ".dockerenv").touch()
    assert in_container(tmp_path, {})
