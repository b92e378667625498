"""What breaks in a living installation: leases run out, fronts and replicas are killed."""

import os
import signal
import time

from line_candidates import LINE
from living_release import LEASE, MOST_KILLS
from release_acts import ReleaseActs

from ferryman.ledger.records import Op
from ferryman.steps import expose, rollout_share


class ReleaseFaults(ReleaseActs):
    """The faults, each by its name, beside all other acts."""

    def lease_runs_out(self) -> None:
        """Nobody looks after the share: the server takes it back by itself."""
        self.bring_to_users()
        share = self.share()
        op = self.ledger.op(share.op_id) if share else None
        if share is None or op is None or self.headless or self.lags or self.lost:
            return
        with self.act():
            rollout_share.LEASE = 0.3
            try:
                self.look_for_the_last_time(op)
            finally:
                rollout_share.LEASE = LEASE
            self.lost = self.share() is not None
        self.happened["a lease ran out"] += self.lost

    def bring_to_users(self) -> None:
        """Have a candidate get its share, where none has one."""
        if self.share() is None and self.on_its_way() is None:
            self.pick, self.yes = 0, True
            self.gate()
        for _ in range(3):
            op = self.on_its_way()
            if op is not None and self.share() is None:
                self.next_step(op)

    def look_for_the_last_time(self, op: Op) -> None:
        standing = rollout_share.standing_share(self.ledger, op)
        stage = int(standing.evidence["stage"]) if standing else 0
        expose.look(self.world.settings, self.world.model, op.op_id, op.base_epoch, stage)
        until = time.monotonic() + 5
        while self.world.client.traffic(LINE) is not None and time.monotonic() < until:
            time.sleep(0.05)

    def kill_front(self) -> None:
        """kill -9; replicas answer on."""
        if self.headless or not self.may_kill():
            return
        share = self.share()
        with self.act(rough=True):
            front = self.world.deployer.status().process
            os.kill(int(front), signal.SIGKILL)
            self.headless = True
            if share and not self.lost:
                self.leftovers.add(share)
            self.lost = True
            while self.world.deployer.status().process == front:
                time.sleep(0.02)
            self.happened["front killed"] += 1
        if self.yes:
            self.start_front()

    def may_kill(self) -> bool:
        """Whether one more is in time: each costs seconds."""
        self.kills += 1
        return self.kills <= MOST_KILLS

    def start_front(self) -> None:
        """Start what was killed."""
        if self.headless:
            with self.act(rough=True):
                self.world.deployer.start()
                self.headless = False

    def kill_replica(self) -> None:
        """kill -9; it is replaced, and brought to the share that stands."""
        if not self.headless and self.may_kill():
            with self.act(rough=True):
                name, pid = sorted(self.world.pids().items())[0]
                os.kill(pid, signal.SIGKILL)
                self.happened["replica killed"] += 1
                self.await_replica(name, pid)

    def await_replica(self, name: str, pid: int) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.world.pids().get(name, pid) != pid and not self.world.deployer.status().detail:
                return
            time.sleep(0.05)
        raise AssertionError(f"replica {name} was not replaced")

    def restart_all(self) -> None:
        """An orderly end of front and replicas; a share is not remembered."""
        if not self.may_kill():
            return
        with self.act(rough=True):
            self.world.deployer.stop()
            self.leftovers.clear()
            self.world.deployer.start()
            self.headless, self.lost = False, True
            self.happened["restarted"] += 1
