"""A real Slurm in a folder: munge, a controller and two node daemons on this machine, with ports and sockets of their own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=made
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=100000,bf_interval=2,defer_batch
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmdTimeout=6
InactiveLimit=0
KillWait=10
MinJobAge=300
MaxArraySize={largest_array}
PreemptType=preempt/none
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port}-{last_port}] CPUs=2 RealMemory=4000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60 State=UP
"""


def lacking() -> str:
    """Why no Slurm can be started here; '' if one can."""
    if absent := [name for name in NEEDED if shutil.which(name, path=search_path()) is None]:
        return f"no Slurm to start here: {', '.join(absent)} not found (Debian: slurm-wlm and munge)"
    return "" if getpass.getuser() == "root" else "a Slurm of one's own can be started by root only"


def search_path() -> str:
    """Where daemons are looked for besides PATH."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """Two nodes of two cores each under a controller.

    Arguments:
        folder: where everything is kept, with a short path since sockets are in it.
        largest_array: the cluster's MaxArraySize.
    """

    def __init__(self, folder: Path, largest_array: int = 1001) -> None:
        self.folder, self.daemons = folder, dict[str, subprocess.Popen[bytes]]()
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o400)
        self.configuration = folder / "slurm.conf"
        ports = free_ports(3)
        text = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            controller_port=ports[0],
            first_port=ports[1],
            last_port=ports[2],
            largest_array=largest_array,
        )
        self.configuration.write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration), "PATH": search_path()}

    def start(self) -> None:
        """Start every daemon and wait until both nodes take jobs."""
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        options = [f"--{name}{'' if name == 'socket' else '-file'}={path}" for name, path in files.items()]
        self.launch("munged", "--foreground", "--force", f"--key-file={self.folder / 'key'}", *options)
        wait_until(lambda: files["socket"].exists(), "munge's socket")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.states() == dict.fromkeys(NODES, "idle"), "both nodes")

    def start_controller(self) -> None:
        """Start the controller, which continues from its saved state."""
        self.launch("slurmctld", "-D")

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self.launch(node, "-D", "-N", node, program="slurmd")

    def launch(self, name: str, *arguments: str, program: str = "") -> None:
        """Start a daemon in the foreground of a process of its own."""
        path = shutil.which(program or name, path=search_path())
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [path, *arguments], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a daemon."""
        process = self.daemons.pop(name)
        process.send_signal(how)
        process.wait(timeout=30)

    def lose(self, node: str) -> None:
        """Let a node die, its jobs with it."""
        self.end(node, signal.SIGKILL)
        ours = {f"SLURM_CONF={self.configuration}", f"SLURMD_NODENAME={node}"}
        tasks = [pid for pid in Path("/proc").glob("[0-9]*") if ours <= variables(pid)]
        parents = {Path("/proc", pid.joinpath("stat").read_text().rpartition(")")[2].split()[1]) for pid in tasks}
        steps = [pid for pid in parents if b"slurmstepd" in pid.joinpath("cmdline").read_bytes()]
        for pid in (*steps, *tasks):  # steps first, which would tell the controller of their tasks' deaths
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.name), signal.SIGKILL)

    def hurry(self) -> None:
        """Let requeued jobs start now; Slurm holds them back for two minutes."""
        for line in self.command("squeue", "--noheader", "--array", "--format=%F_%K %r").splitlines():
            number, _, reason = line.partition(" ")
            if reason == "BeginTime":
                self.command("scontrol", "update", f"JobId={number.removesuffix('_N/A')}", "StartTime=now")

    def stop(self) -> None:
        """End all jobs and daemons."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.command("scancel", "--user=root")
            wait_until(lambda: not self.command("squeue", "--noheader"), "the queue's end", seconds=20)
        for name in reversed(list(self.daemons)):
            self.end(name)

    def command(self, *words: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """The nodes' states, none while the controller does not answer."""
        try:
            lines = self.command("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        except subprocess.SubprocessError:
            return {}
        return {line.split()[0]: line.split()[1] for line in lines}


def variables(process: Path) -> set[str]:
    """The environment of a process; empty if it is gone."""
    try:
        return {*process.joinpath("environ").read_text(errors="replace").split("\0")}
    except OSError:
        return set()


def free_ports(count: int) -> list[int]:
    """Neighbouring ports that nobody listens on."""
    for first in range(20_000, 60_000, 10):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return list(range(first, first + count))
    raise OSError("no free ports")


def wait_until(true: object, what: str, seconds: float = 60.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: naming what did not come.
    """
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)
