"""What releases, people and programs do to a living installation."""

from ledger_world import REASON
from line_candidates import LINE, Kind
from line_users import spread
from line_world import WEIGHTS, Made
from living_release import MOST_VERSIONS, LivingRelease

from ferryman.ledger.records import PROMOTE, Op, State
from ferryman.registry.mlflow_connection import connect
from ferryman.registry.registry import CHAMPION
from ferryman.steps import expose
from ferryman.steps.commit import _commit
from ferryman.steps.gate import _refuse_older
from ferryman.steps.reconcile import finish_last_release, reconcile_and_guard, reconcile_model
from ferryman.steps.roll_back import Asked, roll_back
from ferryman.steps.rollout_share import read_stage


class ReleaseActs(LivingRelease):
    """The acts, each by its name; those of a release as its steps do them."""

    def gate(self) -> None:
        """A candidate is registered and passes its gate, unless its cut-off is too old.

        Half of them meet users before they are released, a "root" among them, which will fail.
        """
        number = len(self.world.made) + 1
        if number > MOST_VERSIONS:
            self.judge_anew()
            return
        with self.act():
            kind: Kind = "root" if self.pick == 1 else "line"
            made = self.world.register(1 if self.pick == 3 and self.yes else number, kind)
            exposure = self.pick == 1 or (self.yes and self.pick != 3)
            self.judge(made, approval=self.pick == 2, exposure=exposure)

    def judge(self, made: Made, *, approval: bool, exposure: bool) -> None:
        """What `gate` does, without its figures."""
        finish_last_release(self.ledger, self.world.settings, LINE)
        self.follow()
        barred = self.ledger.is_quarantined(LINE, made.bundle.digest)
        if barred or self.ledger.released(LINE, made.bundle.digest):
            return
        op = self.ledger.open_op(PROMOTE, LINE, made.candidate, "ann", "trained anew")
        _refuse_older(self.ledger, op, self.ledger.head(LINE))
        self.world.gated(made, self.world.epoch, approval=approval, exposure=exposure)

    def judge_anew(self) -> None:
        """A release that lost its race begins anew."""
        over, epoch = (State.DONE, State.SUPERSEDED), self.world.epoch
        waiting = [op for op in self.ops() if op.state not in over and not self.moves(op, epoch)]
        if waiting:
            made = self.world.made[waiting[-1 - self.pick % len(waiting)].candidate.version]
            with self.act():
                self.judge(made, approval=False, exposure=self.yes or made.kind == "root")

    def go_on(self) -> None:
        """The next steps of an operation, as its release would take them."""
        if self.frozen() and self.pick < 3:
            self.unfreeze()
        if self.on_its_way() is None:
            self.gate()
        for _ in range(8 if self.yes else 2):
            if op := self.on_its_way():
                self.next_step(op)

    def next_step(self, op: Op) -> None:
        if op.state is State.GATED:
            self.stage(op)
        elif op.state is State.STAGED and self.requires(op, "approval"):
            self.decide(op, approved=True, actor="bob")
        elif op.state is State.EXPOSED or self.requires(op, "exposure"):
            root = self.world.made[op.candidate.version].kind == "root"
            users = "negative" if root else "met"
            self.look_at(op, users if op.state is State.EXPOSED else "")
        else:
            self.commit(op, followed=True)
        self.agree()

    def requires(self, op: Op, what: str) -> bool:
        rows = [row for row in self.ledger.history(LINE) if row.op_id == op.op_id]
        gated = [row for row in rows if (row.state, row.base_epoch) == (State.GATED, op.base_epoch)]
        done = State.APPROVED if what == "approval" else State.PROVEN
        return bool(gated and gated[-1].evidence["requires"][what] and op.state is not done)

    def stage(self, op: Op) -> None:
        with self.act():
            self.ledger.advance(op.op_id, State.STAGED, {}, base_epoch=op.base_epoch)

    def answer(self) -> None:
        """A yes by who asked for it is refused."""
        if op := self.op(self.pick):
            self.decide(op, approved=self.yes, actor="ann" if self.pick else "bob")

    def decide(self, op: Op, *, approved: bool, actor: str) -> None:
        with self.act():
            self.ledger.decide(
                op.op_id,
                base_epoch=op.base_epoch,
                digest=op.candidate.digest,
                approved=approved,
                actor=actor,
                requester="ann",
                reason=REASON,
            )

    def look(self) -> None:
        """Look at a stage after users met it or not; what a root says of x < 0 is no number."""
        if op := self.op(self.pick // 2):
            self.look_at(op, ("negative" if self.pick % 2 else "met") if self.yes else "")

    def look_at(self, op: Op, users: str) -> None:
        epoch, stage = op.base_epoch, 0
        while stage < len(WEIGHTS) - 1 and read_stage(self.ledger, op, stage).passed:
            stage += 1
        self.meet(users)
        with self.act():
            seen = expose.look(self.world.settings, self.world.model, op.op_id, epoch, stage)
            self.happened[f"look: {seen.outcome}"] += 1
        self.after_look(op)

    def after_look(self, op: Op) -> None:
        if self.headless:
            self.lost = True  # a share that the ledger got meanwhile, no server was told of
            return
        share, state = self.share(), self.world.client.traffic(LINE)
        if share and state and state.traffic.op == share.op_id:
            self.lost = False
            self.leftovers.clear()  # every replica was told of it
        if op.state in (State.EXPOSED, State.PROVEN) and op.base_epoch == self.world.epoch:
            self.leftovers = {one for one in self.leftovers if one.op_id != op.op_id}

    def meet(self, users: str) -> None:
        if users and not self.headless:
            root = self.world.made[self.champion.version].kind == "root"
            sign = -1 if users == "negative" and not root else 1
            for key in range(100):
                x = sign * spread(key)
                seen = self.user.ask(key, x)
                assert seen.score == self.world.made[seen.version].answer(x), seen

    def commit_alone(self) -> None:
        """Commit, follow it, or die before."""
        if op := self.op(self.pick):
            self.commit(op, followed=self.yes)

    def commit(self, op: Op, *, followed: bool) -> None:
        """Commit, and follow it or not."""
        share = self.share()
        with self.act():
            _commit(self.ledger, op, op.base_epoch)
            self.lags = True
            self.leftovers |= {share} if share else set()
            if followed:
                reconcile_model(self.ledger, self.world.settings, LINE)
                self.follow()

    def go_back(self) -> None:
        """Roll back, to the last good version or a named one."""
        good, share = self.ledger.good_versions(LINE), self.share()
        version = good[self.pick % len(good)].version if self.yes and good else None
        with self.act():
            before = self.world.epoch
            try:
                roll_back(self.world.settings, LINE, Asked("ann", REASON, version))
            finally:
                if self.world.epoch > before:
                    self.lags = True
                    self.leftovers |= {share} if share else set()
            self.follow()

    def adopt(self) -> None:
        """What `adopt` does after its checks."""
        lines = [made for made in self.world.made.values() if made.kind == "line"]
        made = lines[-1 - self.pick :][:1]
        share = self.share()
        with self.act():
            for one in made:
                op = self.ledger.open_adoption(LINE, one.candidate, actor="ann", reason=REASON)
                self.ledger.advance(op.op_id, State.STAGED, {}, base_epoch=op.base_epoch)
                self.ledger.commit(op.op_id, op.base_epoch)
                self.lags = True
                self.leftovers |= {share} if share else set()
                reconcile_model(self.ledger, self.world.settings, LINE)
                self.follow()

    # Acts of people and of chance.

    def one_made(self) -> Made:
        """One of the newest versions, or of the oldest."""
        made = list(self.world.made.values())
        return made[(self.pick if self.yes else -1 - self.pick) % len(made)]

    def freeze(self) -> None:
        """Let nobody be promoted."""
        with self.act():
            self.ledger.set_frozen(LINE, True, actor="ann", reason=REASON)

    def unfreeze(self) -> None:
        """Let everybody be promoted again."""
        with self.act():
            self.ledger.set_frozen(LINE, False, actor="ann", reason=REASON)

    def quarantine(self) -> None:
        """Forbid a version that is not the champion."""
        head, digest = self.ledger.head(LINE), self.one_made().bundle.digest
        if head is not None and digest != head.digest:
            with self.act():
                self.ledger.quarantine(LINE, digest, why=REASON, actor="ann")

    def hold(self) -> None:
        """Put a version under a legal hold, or end the one that it has."""
        held = {one.version for one in self.ledger.protected(LINE) if "legal hold" in one.why}
        version = self.one_made().candidate.version
        with self.act():
            self.ledger.set_held(LINE, version, version not in held, actor="ann", reason=REASON)

    def move_alias(self) -> None:
        """Somebody moves the alias by hand."""
        version = self.one_made().candidate.version
        with self.act():
            if self.world.registry.get_version(LINE, version):
                self.world.registry.set_alias(LINE, CHAMPION, version)

    def delete(self) -> None:
        """Somebody deletes a version in MLflow."""
        version = self.one_made().candidate.version
        with self.act():
            if self.world.registry.get_version(LINE, version):
                client = connect(self.world.settings.mlflow_uri)
                client.delete_model_version(LINE, str(version))
                self.deleted.add(version)

    def reconcile(self) -> None:
        """Make all agree; the alias can where its version is there."""
        with self.act():
            head, _ = reconcile_and_guard(self.ledger, self.world.settings, LINE)
            self.follow()
            assert head is not None
            registered = self.world.registry.get_version(LINE, head.version)
            assert registered is None or self.world.alias() == head.version
            self.happened["reconciled"] += 1
