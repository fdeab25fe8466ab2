"""A real Slurm of one node on this machine, for the tests that ask for `slurm`. A pytest plugin, loaded by tests/conftest.py."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = """
ClusterName=lake
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MaxArraySize=3
KillWait=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A Slurm of one node with 2 CPUs, 2 GPUs in name and arrays of at most 3 jobs, found through SLURM_CONF."""
    if missing := [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name, path=_PATH)]:
        pytest.skip(f"no {missing[0]} here: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a Slurm daemon is started by root only")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munge's user passes through
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", _PATH)
        services = _start_slurm(folder)
        try:
            _wait_for_node(folder)
            yield
        finally:
            for service in reversed(services):
                service.terminate()
                service.wait(30)
            shutil.rmtree(folder)


_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def _start_slurm(folder: Path) -> list[subprocess.Popen]:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    munge = folder / "munge"
    munge.mkdir(mode=0o755)
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o400)
    for path in (munge, munge / "key"):
        shutil.chown(path, "munge", "munge")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, ports=ports))
    (folder / "gres.conf").write_text("AutoDetect=off\nName=gpu File=/dev/null\nName=gpu File=/dev/zero\n")  # stand-ins
    files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
    user = ("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups")
    commands = [
        (*user, "munged", "--foreground", f"--socket={munge / 'socket'}", *files),
        ("slurmctld", "-D"),
        ("slurmd", "-D"),
    ]
    started = []
    for command in commands:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.3)
    return started


def _wait_for_node(folder: Path) -> None:
    for _ in range(300):
        told = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False).stdout
        if told.strip() == "idle":
            return
        time.sleep(0.1)
    logs = [log.read_text().splitlines()[-1:] for log in folder.glob("*.log")]
    pytest.skip(f"Slurm does not come up here: {logs}")
