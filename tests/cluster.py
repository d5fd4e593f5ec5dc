"""A Slurm cluster of one node on this machine, with accounting: Debian's packages as plain processes of one user.

    python tests/cluster.py start /tmp/cluster    # prints the line that makes sbatch and snakemake use it
    python tests/cluster.py stop /tmp/cluster

No systemd, no cgroups and no port but on the loopback. Everything it writes lies in the folder, and every process it
starts is named in the folder's ``pids``. The node claims two GPUs that do not exist, so that jobs can ask for one.
"""

import argparse
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "srun", "sacctmgr")
PACKAGES = "munge slurmctld slurmd slurmdbd slurm-client mariadb-server"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
ACCOUNT, PARTITION = "physics", "long"

SLURM = """
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
# A dead node is noticed in seconds, not in five minutes, and a job of it starts again without the two minutes' wait.
SlurmdTimeout=15
SchedulerParameters=sched_interval=2,requeue_delay=1
KillWait=2
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations
AccountingStorageTRES=gres/gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName={partition} Nodes=ALL MaxTime=INFINITE State=UP
"""
DBD = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=slurm
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""
SQL = """
CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
"""


def lacking() -> str:
    """Why no cluster can be started here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"{', '.join(absent)} not installed (Debian and Ubuntu: apt-get install {PACKAGES})" if absent else ""


def _ports(count: int) -> list[int]:
    """Ports that nothing listens on; they are let go together, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def _memory() -> int:
    """Memory of this machine in MiB, a tenth of it left to others."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9) >> 20


class Cluster:
    """The processes in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.host = socket.gethostname().split(".")[0]

    def environment(self) -> dict[str, str]:
        """Variables by which Slurm's commands find this cluster and no other."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{self.folder}/bin:{PATH}"}

    def call(self, *command: str, text: str | None = None) -> str:
        """What a command says.

        Raises:
            RuntimeError: it fails.
        """
        done = subprocess.run(command, env=self.environment(), input=text, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _spawn(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground of a session of its own, and write down its number."""
        with (self.folder / f"{name}.out").open("ab") as log:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process = subprocess.Popen(command, env=self.environment(), start_new_session=True, **quiet)
        (self.folder / "pids" / name).write_text(str(process.pid))

    def _until(self, name: str, ready: Callable[[], object], seconds: float = 180) -> None:
        end, why = time.monotonic() + seconds, ""
        while True:
            try:
                if ready():
                    return
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                why = str(error)
            process = self.folder / "pids" / name
            if time.monotonic() > end or not _alive(int(process.read_text())):
                logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob(f"{name}.[lo]*"))]
                raise RuntimeError(f"{name} did not come up within {seconds:.0f} s: {why}\n" + "\n".join(logs))
            time.sleep(0.1)

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs.

        Raises:
            RuntimeError: one does not come up; its log is in the message.
        """
        folder, user = self.folder, getpass.getuser()
        for name in ("pids", "state", "spool", "bin"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # Snakemake's plugin calls srun without any SLURM_ variable, and so it would look for the cluster in /etc.
        srun = folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"\n')
        srun.chmod(0o755)
        folder.chmod(0o755)  # munged refuses a socket that others could not reach
        ctld, slurmd, dbd, sql = _ports(4)
        values = {"name": "tests", "host": self.host, "user": user, "folder": folder, "partition": PARTITION}
        values |= {"ctld": ctld, "slurmd": slurmd, "dbd": dbd, "sql": sql}
        values |= {"cpus": os.cpu_count(), "memory": _memory()}
        for name, text in (
            ("slurm.conf", SLURM),
            ("slurmdbd.conf", DBD),
            (
                "cgroup.conf",
                "CgroupPlugin=cgroup/v1\n",
            ),  # so that slurmd does not look for systemd's cgroup; none is used
            ("gres.conf", "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"),
        ):
            (folder / name).write_text(text.format(**values))
            (folder / name).chmod(0o600)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

        files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        self._spawn("munged", "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        self._until("munged", (folder / "munge.socket").exists)

        own = (f"--datadir={folder}/sql", f"--user={user}")
        self.call("mariadb-install-db", "--no-defaults", *own, "--auth-root-authentication-method=normal")
        files = (f"--socket={folder}/sql.socket", f"--pid-file={folder}/sql.pid")
        net = ("--bind-address=127.0.0.1", f"--port={sql}", "--skip-name-resolve")
        small = ("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0")
        self._spawn("mariadbd", "mariadbd", "--no-defaults", *own, *files, *net, *small)
        client = ("mariadb", "--no-defaults", f"--socket={folder}/sql.socket", "--user=root")
        self._until("mariadbd", lambda: self.call(*client, "-e", "SELECT 1"))
        self.call(*client, text=SQL)

        self._spawn("slurmdbd", "slurmdbd", "-D")
        self._until("slurmdbd", lambda: self.call("sacctmgr", "-i", "show", "cluster"))
        self.call("sacctmgr", "-i", "add", "cluster", "tests")
        self.call("sacctmgr", "-i", "add", "account", ACCOUNT, "Description=tests", "Organization=tests")
        self.call("sacctmgr", "-i", "add", "user", user, f"Account={ACCOUNT}")
        self._spawn("slurmctld", "slurmctld", "-D", "-i")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon and wait until it takes jobs."""
        self._spawn("slurmd", "slurmd", "-D", "-N", self.host)
        self._until("slurmd", lambda: self.call("sinfo", "-h", "-o", "%t").strip() in ("idle", "mix", "alloc"))

    def _kill(self, name: str, number: signal.Signals) -> None:
        path = self.folder / "pids" / name
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(path.read_text()), number)

    def job_processes(self) -> Iterator[int]:
        """Processes of this cluster's jobs, and those that watch over them."""
        mine = (f"SLURM_CONF={self.folder}/slurm.conf".encode(), b"SLURM_JOB_ID=")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "environ").read_bytes().split(b"\0")
                in_job = mine[0] in words and any(word.startswith(mine[1]) for word in words)
                watching = mine[0] in words and (process / "comm").read_text().strip() == "slurmstepd"
                if in_job or watching:
                    yield int(process.name)

    def kill_node(self) -> None:
        """What a power cut does to the node: its daemon and all that its jobs run end at once."""
        self._kill("slurmd", signal.SIGKILL)
        for number in list(self.job_processes()):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def stop(self) -> None:
        """End every process of the cluster and of its jobs."""
        self.kill_node()
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._kill(name, signal.SIGTERM)
        for path in (self.folder / "pids").glob("*"):
            end = time.monotonic() + 20
            while _alive(int(path.read_text())) and time.monotonic() < end:
                time.sleep(0.05)
            self._kill(path.name, signal.SIGKILL)
            path.unlink()

    def jobs(self) -> list[dict[str, str]]:
        """Every job ever submitted, as the accounts have it; one that was started again is there twice."""
        names = ("JobID", "State", "Account", "Partition", "ReqTRES", "Timelimit")
        rows = self.call("sacct", "-X", "-a", "-n", "-P", "-D", "-S", "2020-01-01", "-o", ",".join(names)).splitlines()
        return [dict(zip(names, row.split("|"), strict=True)) for row in rows]


def _alive(process: int) -> bool:
    with suppress(OSError):
        os.waitpid(process, os.WNOHANG)  # a child that has ended stays until it is asked
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster for a block."""
    own = Cluster(folder)
    try:
        own.start()
        yield own
    finally:
        own.stop()


def main() -> int:
    """Start or stop one from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    own = Cluster(options.folder)
    if options.what == "stop":
        own.stop()
        return 0
    if absent := lacking():
        print(f"error: {absent}", file=sys.stderr)
        return 2
    own.start()
    print(f"export SLURM_CONF={own.folder}/slurm.conf PATH={own.folder}/bin:$PATH")
    print(f"# account {ACCOUNT}, partition {PARTITION}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
