"""Kill a run at random moments, again and again, and compare its files with those of a run left alone.

    python tests/soak.py --kills 50 --seed 0 [--keep FOLDER]

Each run is Snakemake's or DVC's. Each kill is SIGKILL, of the engine alone, of a stage alone or of both at once. After
it the same command is given again, and nothing else but what docs/repair.md says of two files of DVC's. A run that is
killed five times is left to finish; its tables, weights, images and scores, all but what holds a clock's readings, must
then be the bytes of the undisturbed run.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from clones import cloned, differing, environment, run, steady

from diffbench.pipeline.engines import DVC_LIST, DVC_LOCK

HALF_WRITTEN = ("validation failed", "is invalid", "structure is corrupted")  # what DVC says of dvc.lock then
ENGINES = {"snakemake": ["snakemake", "--cores", "2", "smoke"], "dvc": ["dvc", "repro"]}


def start(clone: Path, engine: str) -> subprocess.Popen:
    """An engine at work in a clone, its output in a file beside the clone."""
    with (clone.parent / "output.txt").open("w") as output:
        return subprocess.Popen(
            ENGINES[engine], cwd=clone, env=environment(clone), stdout=output, stderr=output, start_new_session=True
        )


def stages(process: subprocess.Popen) -> list[psutil.Process]:
    """The jobs that an engine runs now."""
    found = []
    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            words = child.cmdline()
            if "diffbench" in words and "-m" in words:
                found.append(child)
    except psutil.NoSuchProcess:
        pass
    return found


def kill(process: subprocess.Popen, victim: str, chance: random.Random) -> str | None:
    """SIGKILL the victim; what was killed, or None if it had ended before."""
    running = stages(process)
    try:
        if victim == "stage":
            if not running:
                return None
            chosen = chance.choice(running)
            name = " ".join(chosen.cmdline()[3:])
            chosen.kill()
            return name
        if process.poll() is not None:
            return None
        process.send_signal(signal.SIGKILL)
        if victim == "both":
            for child in running:
                child.kill()
        return victim
    except psutil.NoSuchProcess:
        return None


def disturbed(clone: Path, engine: str, chance: random.Random, wanted: int, log: list[str]) -> int:
    """Run an engine to its end with up to ``wanted`` kills on the way; the number of kills.

    Raises:
        AssertionError: the run did not end well after the last kill.
    """
    done = 0
    while done < wanted:
        process = start(clone, engine)
        deadline = time.monotonic() + chance.uniform(2, 25)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        victim = chance.choice(["engine", "stage", "both"])
        killed = None if process.poll() is not None else kill(process, victim, chance)
        if killed is None and process.poll() is None and victim == "stage":
            killed = kill(process, "engine", chance)
        if killed:
            done += 1
            log.append(f"{engine}: killed {victim} ({killed})")
            print(log[-1], flush=True)
        code = process.wait(timeout=600)
        if code == 0:
            break
        assert killed or mended(clone), f"ended with {code} unkilled, after {log[-done:]}:\n{said(clone)}"
    code = start(clone, engine).wait(timeout=900)
    while code and mended(clone):  # each deletes one file, and there are two
        code = start(clone, engine).wait(timeout=900)
    assert code == 0, f"after {log[-done:]}:\n{said(clone)}"
    return done


def said(clone: Path) -> str:
    """The end of what the engine said last."""
    return (clone.parent / "output.txt").read_text()[-6000:]


def mended(clone: Path) -> bool:
    """Delete what DVC was killed in writing and can read no more, as docs/repair.md says; whether there was one."""
    output = said(clone)
    if f"Unable to read RWLock-file '{DVC_LIST}'" in output:
        broken = DVC_LIST
    elif f"{DVC_LOCK}'" in output and any(what in output for what in HALF_WRITTEN):
        broken = DVC_LOCK
    else:
        return False
    (clone / broken).unlink()
    print(f"{broken} was half written: deleted, as docs/repair.md says", flush=True)
    return True


def soak(folder: Path, kills: int, seed: int, a_run: int = 5) -> list[str]:
    """Kill runs in a folder until ``kills`` kills are done, each at most ``a_run`` times; what was killed.

    Raises:
        AssertionError: a run did not end well, or its files differ from those of a run left alone.
    """
    chance, log, total = random.Random(seed), [], 0
    (folder / "alone").mkdir(parents=True)
    alone = cloned(folder / "alone/clone")
    run("python", "-m", "diffbench", "params", "--preset", "smoke", "--write", cwd=alone)
    run("git", "commit", "-qam", "smoke is params.yaml", cwd=alone)
    pristine = folder / "pristine"
    shutil.copytree(alone, pristine)
    run(*ENGINES["snakemake"], cwd=alone)
    expected, number = steady(alone), 0
    while total < kills:
        engine = list(ENGINES)[number % 2]
        (folder / str(number)).mkdir()
        clone = folder / str(number) / "clone"
        shutil.copytree(pristine, clone)
        total += disturbed(clone, engine, chance, min(a_run, kills - total), log)
        wrong = differing(steady(clone), expected)
        assert not wrong, f"run {number} with {engine}: {wrong} differ"
        assert "agree" in run("python", "-m", "diffbench", "verify", "smoke", cwd=clone)
        print(f"run {number} with {engine}: the same bytes after {total} kills in all", flush=True)
        shutil.rmtree(folder / str(number))
        number += 1
    return log


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in; else a temporary one")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="soak"))
    log = soak(folder, arguments.kills, arguments.seed)
    print(f"{len(log)} kills, the same files after each run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
